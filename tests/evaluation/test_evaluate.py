"""A run measured on a split: the figures are those of the files it leaves behind."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_runs import draw_data, make_run, save_weights

from limner import files
from limner.data import decode
from limner.data.pairs import Pair, side_by_side
from limner.errors import CheckpointError, ConfigError, DataError, WeightsError
from limner.evaluation.evaluate import evaluate, picture_names
from limner.evaluation.measure import compare_folders
from limner.evaluation.provenance import Evaluation, pairs_digest
from limner.files import listed
from limner.inference import Translator
from limner.reporting.run_page import write_report


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_data(tmp_path / "data", test=5)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_the_figures_are_those_of_the_files(run: Path, data: Path) -> None:
    results = evaluate(run, data, metrics=["l1", "psnr", "ssim"], command="limner evaluate ...")
    folder = run / "evaluation" / "test"
    again = compare_folders(folder / "target", folder / "images", metrics=["l1", "psnr", "ssim"])
    assert results.scores.values == again.values
    assert results.images == 5
    assert results.names == ["0", "1", "2", "3", "4"]
    assert json.loads((folder / "results.json").read_text()) == json.loads(
        json.dumps(results.to_json())
    )
    for value in results.scores.per_image.values():
        assert len(value) == 5


def test_the_files_are_what_the_run_makes_of_the_sources(run: Path, data: Path) -> None:
    evaluate(run, data, metrics=["l1"])
    folder = run / "evaluation" / "test"
    translator = Translator.load(run)
    for name in "01234":
        source = decode(folder / "source" / f"{name}.png").float()[None] / 127.5 - 1
        expected = ((translator(source)[0] + 1) * 127.5).round()
        made = decode(folder / "images" / f"{name}.png").float()
        assert float((made - expected).abs().max()) <= 1
        # BtoA: the right half is the source, the left one the target.
        pair = np.asarray(Image.open(data / "test" / f"{name}.png").resize((64, 32), 0))
        left = decode(folder / "target" / f"{name}.png").permute(1, 2, 0).numpy()
        assert abs(left.astype(int) - pair[:, :32].astype(int)).mean() < 30


def test_a_second_evaluation_replaces_the_first_whole(run: Path, data: Path) -> None:
    evaluate(run, data, metrics=["l1"])
    (data / "test" / "4.png").unlink()
    evaluate(run, data, metrics=["l1"])
    folder = run / "evaluation" / "test"
    assert len(list((folder / "images").iterdir())) == 4
    assert [path.name for path in listed(run / "evaluation")] == ["test"]


def test_a_failure_leaves_the_evaluation_before(run: Path, data: Path) -> None:
    evaluate(run, data, metrics=["l1"])
    before = (run / "evaluation" / "test" / "results.json").read_text()
    path = data / "test" / "3.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"3\.png"):
        evaluate(run, data, metrics=["l1"])
    assert (run / "evaluation" / "test" / "results.json").read_text() == before
    assert [path.name for path in listed(run / "evaluation")] == ["test"]


def test_missing_weights_are_said_before_anything_is_translated(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("LIMNER_WEIGHTS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    monkeypatch.setattr("limner.networks.pretrained.urlopen", _no_network, raising=False)
    with pytest.raises(WeightsError, match="--weights"):
        evaluate(run, data, metrics=["fid"], weights=tmp_path / "none")
    assert not (run / "evaluation").exists()


def _no_network(*arguments: object, **keywords: object) -> None:
    raise OSError("no network")


def test_no_run_no_checkpoint_no_split_are_each_one_sentence(
    run: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="is no folder"):
        evaluate(tmp_path / "nowhere", data, metrics=["l1"])
    with pytest.raises(CheckpointError, match="has no checkpoint 7"):
        evaluate(run, data, metrics=["l1"], checkpoint="7")
    with pytest.raises(DataError, match="val"):
        evaluate(run, data, split="val", metrics=["l1"])


def test_the_report_shows_what_was_measured(run: Path, data: Path) -> None:
    results = evaluate(run, data, metrics=["l1", "ssim"])
    page = write_report(run).read_text()
    for value in results.scores.values.values():
        assert f"{value:.3f}"[:5] in page


def test_everything_that_decides_a_figure_is_recorded(run: Path, data: Path) -> None:
    results = evaluate(run, data, metrics=["l1", "ssim"], seed=5, command="limner evaluate ...")
    basis = results.provenance
    assert basis["asked"] == {
        "metrics": ["l1", "ssim"], "split": "test", "seed": 5, "device": "cpu"
    }  # fmt: skip
    assert {"limner", "python", "torch", "numpy", "pillow", "scipy"} <= set(basis["versions"])
    weights = run / "checkpoints" / "00000000" / "generator.safetensors"
    assert basis["generator"] == {
        "file": "00000000/generator.safetensors",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    assert basis["preparation"]["size"] == [32, 32]
    assert basis["preparation"]["direction"] == "BtoA"
    assert len(basis["preparation"]["interpolation"]) == 2
    assert basis["pairs"]["count"] == 5
    assert basis["threads"] == torch.get_num_threads()
    assert results.command == "limner evaluate ..."


def test_the_hash_of_the_pairs_is_that_of_their_contents(data: Path, tmp_path: Path) -> None:
    before = pairs_digest(split_pairs(data))
    copy = tmp_path / "elsewhere"
    shutil.copytree(data, copy)
    assert pairs_digest(split_pairs(copy)) == before
    pixels = np.array(Image.open(copy / "test" / "3.png"))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(copy / "test" / "3.png")
    assert pairs_digest(split_pairs(copy)) != before
    (data / "test" / "3.png").rename(data / "test" / "7.png")
    assert pairs_digest(split_pairs(data)) != before


def split_pairs(root: Path) -> list[Pair]:
    return side_by_side(root / "test")


def first(run: Path, data: Path) -> None:
    evaluate(run, data, metrics=["l1"], seed=1, command="first")


def serves(run: Path, data: Path, *, metrics: Sequence[str] = ("l1",), seed: int = 1) -> bool:
    """Whether the first evaluation is taken for this one; if not, this one replaces it."""
    results = evaluate(run, data, metrics=metrics, seed=seed, command="second", reuse=True)
    return results.command == "first"


def test_an_earlier_evaluation_serves_only_where_nothing_has_changed(
    run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run / "evaluation" / "test"
    weights = run / "checkpoints" / "00000000" / "generator.safetensors"
    first(run, data)
    assert serves(run, data)
    assert not serves(run, data, metrics=["l1", "ssim"])
    first(run, data)
    assert not serves(run, data, seed=2)
    first(run, data)
    picture = folder / "images" / "2.png"
    picture.write_bytes((folder / "images" / "1.png").read_bytes())
    assert not serves(run, data)
    first(run, data)
    save_weights({name: value * 1.01 for name, value in load_file(weights).items()}, weights)
    assert not serves(run, data)
    first(run, data)
    pixels = np.array(Image.open(data / "test" / "3.png"))
    Image.fromarray(255 - pixels).save(data / "test" / "3.png")
    assert not serves(run, data)
    first(run, data)
    monkeypatch.setattr("limner.evaluation.measure.__version__", "9.9")
    assert not serves(run, data)
    (folder / "results.json").write_text("[1]")
    assert not serves(run, data)


def test_metrics_measured_later_stand_beside_those_of_before(run: Path, data: Path) -> None:
    folder = run / "evaluation" / "test"
    first = evaluate(run, data, metrics=["l1"], command="first")
    second = evaluate(run, data, metrics=["ssim"], command="second")
    kept = Evaluation.from_json(json.loads((folder / "results.json").read_text()))
    assert list(second.scores.values) == ["ssim"]
    assert kept.scores.values == first.scores.values | second.scores.values
    assert kept.scores.per_image == first.scores.per_image | second.scores.per_image
    assert kept.metrics == ["l1", "ssim"]
    # Either alone, or both, are there to be taken again.
    for metrics in (["l1"], ["ssim"], ["l1", "ssim"]):
        assert serves_again(run, data, metrics)
    assert evaluate(run, data, metrics=["l1"]).scores == first.scores


def serves_again(run: Path, data: Path, metrics: list[str]) -> bool:
    found = evaluate(run, data, metrics=metrics, command="third", reuse=True)
    return found.command != "third" and list(found.scores.values) == metrics


@pytest.mark.parametrize("what", ["seed", "weights", "pair"])
def test_figures_of_other_pictures_are_not_kept(run: Path, data: Path, what: str) -> None:
    evaluate(run, data, metrics=["l1"], seed=1)
    if what == "weights":
        weights = run / "checkpoints" / "00000000" / "generator.safetensors"
        save_weights({name: value * 1.01 for name, value in load_file(weights).items()}, weights)
    if what == "pair":
        pixels = np.array(Image.open(data / "test" / "3.png"))
        Image.fromarray(255 - pixels).save(data / "test" / "3.png")
    evaluate(run, data, metrics=["ssim"], seed=2 if what == "seed" else 1)
    kept = json.loads((run / "evaluation" / "test" / "results.json").read_text())
    assert list(kept["scores"]["values"]) == ["ssim"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda results: results["scores"]["values"].update(l1=float("nan")),
        lambda results: results["scores"]["per_image"]["l1"].pop(),
        lambda results: results["provenance"].clear(),
        lambda results: results.pop("scores"),
    ],
)
def test_damaged_results_are_measured_anew(
    run: Path, data: Path, damage: Callable[[dict[str, Any]], object]
) -> None:
    whole = evaluate(run, data, metrics=["l1"])
    path = run / "evaluation" / "test" / "results.json"
    results = json.loads(path.read_text())
    damage(results)
    path.write_text(json.dumps(results))
    assert evaluate(run, data, metrics=["l1"], reuse=True).scores == whole.scores
    path.write_text(json.dumps(results))
    evaluate(run, data, metrics=["ssim"])
    assert list(json.loads(path.read_text())["scores"]["values"]) == ["ssim"]


def test_two_evaluations_at_once_wait_for_each_other_and_both_stay(run: Path, data: Path) -> None:
    waiting, told = threading.Event(), []

    def progress(done: int, total: int, what: str) -> None:
        told.append(what)
        if what.startswith("waiting"):
            waiting.set()

    with ThreadPoolExecutor(1) as pool:
        with files.lock(run / "evaluation" / ".lock"):
            later = pool.submit(evaluate, run, data, metrics=["l1"], progress=progress)
            waiting.wait()
            assert not (run / "evaluation" / "test").exists()
        later.result()
    assert "translating" in told
    evaluate(run, data, metrics=["ssim"])
    kept = json.loads((run / "evaluation" / "test" / "results.json").read_text())
    assert list(kept["scores"]["values"]) == ["l1", "ssim"]


def test_what_a_kill_left_is_swept_by_the_next_evaluation(run: Path, data: Path) -> None:
    left = run / "evaluation" / f"{files.TEMPORARY}killed" / "images"
    left.mkdir(parents=True)
    (left / "0.png").write_bytes(b"half")
    evaluate(run, data, metrics=["l1"])
    assert {path.name for path in (run / "evaluation").iterdir()} == {"test", ".lock"}


def test_names_of_data_cannot_leave_the_evaluation(run: Path, data: Path, tmp_path: Path) -> None:
    # An ordinary manifest: cameras number their frames alike, and paths are absolute.
    root = tmp_path / "manifest"
    root.mkdir()
    lines = ["source,target,split"]
    for camera in ("cam1", "cam2"):
        for frame in ("0001", "0002"):
            for side in ("source", "target"):
                picture = root / camera / side / f"{frame}.png"
                picture.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng(int(frame)).integers(0, 256, (32, 32, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(picture)
            folder = root / camera
            lines.append(f"{folder}/source/{frame}.png,{folder}/target/{frame}.png,test")
    (root / "manifest.csv").write_text("\n".join(lines))
    before = {path for path in tmp_path.rglob("*") if run not in path.parents}
    results = evaluate(run, root, metrics=["l1"])
    assert {path for path in tmp_path.rglob("*") if run not in path.parents} == before
    folder = run / "evaluation" / "test"
    for kind in ("source", "target", "images"):
        names = [path.stem for path in files.listed(folder / kind)]
        assert sorted(names) == sorted(results.names)
        assert len(set(names)) == 4


@pytest.mark.parametrize(
    "names",
    [
        ["../../../outside", "/etc/outside"],
        ["a/b", "a-b", "A-B"],
        ["n" * 300, "n" * 301],
        ["line\nbreak", "bell\x07", "not \udce9 text"],
    ],
)
def test_picture_names_are_plain_and_apart(names: list[str]) -> None:
    class Named:
        pairs = tuple(Pair(name, Path("s.png"), Path("t.png")) for name in names)

    called = picture_names(Named())  # pyright: ignore[reportArgumentType]
    assert len({name.casefold() for name in called}) == len(names)
    for name in called:
        assert Path(name).name == name
        assert name.isprintable()
        assert len(f"{name}.png".encode()) <= 200
    assert picture_names(Named()) == called  # pyright: ignore[reportArgumentType]


def test_four_bands_are_measured_by_pixels_and_refused_otherwise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for side, channels in (("source", 3), ("target", 4)):
        for index in range(3):
            path = tmp_path / "data" / "test" / side / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (32, 32, channels), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    run = make_run(tmp_path / "bands", "data.channels=[3,4]", "data.direction=AtoB")
    with pytest.raises(ConfigError, match="lpips"):
        evaluate(run, tmp_path / "data", metrics=["l1", "lpips"])
    assert not (run / "evaluation").exists()
    results = evaluate(run, tmp_path / "data", metrics=["l1", "psnr", "ssim", "edge-f"])
    assert len(results.scores.values) == 4


def test_dropout_and_statistics_may_be_said_and_are_recorded(data: Path, tmp_path: Path) -> None:
    deep = ("data.size=64", "data.load_size=66", "generator.depth=6", "inference.dropout=false")
    run = make_run(tmp_path / "deep", *deep)
    plain = evaluate(run, data, metrics=["l1"])
    live = evaluate(run, data, metrics=["l1"], dropout=True)
    assert live.scores.per_image != plain.scores.per_image
    assert evaluate(run, data, metrics=["l1"], dropout=True).scores == live.scores
    assert live.provenance["asked"]["dropout"] is True
    assert "dropout" not in plain.provenance["asked"]
    run = make_run(tmp_path / "batch", "generator.norm=batch")
    plain = evaluate(run, data, metrics=["l1"])
    # Figures of other pictures do not stand beside these.
    alone = evaluate(run, data, metrics=["ssim"], statistics="batch")
    assert alone.pictures != plain.pictures
    kept = json.loads((run / "evaluation" / "test" / "results.json").read_text())
    assert kept["scores"]["values"] == alone.scores.values
    assert alone.provenance["asked"]["statistics"] == "batch"


def test_each_picture_has_a_mask_of_its_own(data: Path, tmp_path: Path) -> None:
    deep = ("data.size=64", "data.load_size=66", "generator.depth=6", "inference.dropout=true")
    run = make_run(tmp_path / "deep", *deep)
    shutil.copy(data / "test" / "0.png", data / "test" / "1.png")
    evaluate(run, data, metrics=["l1"])
    images = run / "evaluation" / "test" / "images"
    before = [(images / f"{name}.png").read_bytes() for name in "012"]
    assert before[0] != before[1]
    # Whatever else is translated: the name and the seed decide.
    (data / "test" / "0.png").unlink()
    evaluate(run, data, metrics=["l1"])
    assert [(images / f"{name}.png").read_bytes() for name in "12"] == before[1:]


def test_a_broken_generator_is_not_scored(run: Path, data: Path) -> None:
    weights = run / "checkpoints" / "00000000" / "generator.safetensors"
    state = load_file(weights)
    next(iter(state.values())).view(-1)[0] = float("nan")
    save_weights(state, weights)
    with pytest.raises(CheckpointError):
        evaluate(run, data, metrics=["l1"])
    assert not (run / "evaluation" / "test").exists()
