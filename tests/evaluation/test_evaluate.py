"""A run measured on a split: the figures are those of the files it leaves behind."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_runs import draw_data, make_run

from limner.data import decode
from limner.data.pairs import Pair, side_by_side
from limner.errors import CheckpointError, DataError, WeightsError
from limner.evaluation.evaluate import evaluate, pairs_digest
from limner.evaluation.measure import compare_folders
from limner.evaluation.report import write_report
from limner.inference import Translator


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
    assert [path.name for path in (run / "evaluation").iterdir()] == ["test"]


def test_a_failure_leaves_the_evaluation_before(run: Path, data: Path) -> None:
    evaluate(run, data, metrics=["l1"])
    before = (run / "evaluation" / "test" / "results.json").read_text()
    path = data / "test" / "3.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"3\.png"):
        evaluate(run, data, metrics=["l1"])
    assert (run / "evaluation" / "test" / "results.json").read_text() == before
    assert [path.name for path in (run / "evaluation").iterdir()] == ["test"]


def test_missing_weights_are_said_before_anything_is_translated(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("LIMNER_WEIGHTS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    monkeypatch.setattr("limner.networks.weights.urlopen", _no_network, raising=False)
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
    save_file({name: value * 1.01 for name, value in load_file(weights).items()}, weights)
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
