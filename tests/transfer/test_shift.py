"""How far data lies from a run: nothing for its own, more for others, in the order of the harm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from batch_norm_run import make_run
from PIL import Image
from tiny import SMALL

from limner.api import train
from limner.cli import main
from limner.config import parse_overrides, replace
from limner.presets import preset
from limner.transfer.run_statistics import REFERENCE, Seen, dissimilarity
from limner.transfer.shift import LayerShift, recommended, shift

CLASSES = ["sky", "road", "tree"]


def draw(root: Path, *, classes: list[str] = CLASSES, bright: float = 1.0, seed: int = 0) -> Path:
    """Label maps of blocks, and pictures with a grey for each class, `bright` times as light."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", 6), ("test", 3)):
        for folder in ("label", "photo"):
            (root / split / folder).mkdir(parents=True)
        for index in range(count):
            ids = rng.integers(0, len(classes), (4, 4), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            ids.flat[: len(classes)] = range(len(classes))
            order = [CLASSES.index(name) if name in CLASSES else 3 for name in classes]
            grey = np.array([40, 110, 170, 230])[np.array(order)[ids]] * bright
            photo = np.repeat(grey[..., None], 3, 2) + rng.normal(0, 6, (32, 32, 3))
            Image.fromarray(ids).save(root / split / "label" / f"{index}.png")
            clipped = photo.clip(0, 255).astype(np.uint8)
            Image.fromarray(clipped).save(root / split / "photo" / f"{index}.png")
    (root / "dataset.yaml").write_text(json.dumps({"classes": classes}))
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt which grey each class has."""
    folder = tmp_path_factory.mktemp("run")
    data = draw(folder / "data")
    few = ("training.steps=60", "training.samples_every=null", "validation.every=null")
    own = ("data.labels={}", "training.lr=0.005", "objective.gan_weight=0.01", "data.flip=false")
    plain = parse_overrides([*SMALL, *few, *own, "data.load_size=32", "generator.width=8"])
    config = replace(preset("pix2pix-small"), {**plain, "data.root": str(data)})
    train(config, out=folder / "run", cache_folder=folder / "cache")
    return folder / "run"


def test_its_own_pairs_are_near_and_others_further(run: Path, tmp_path: Path) -> None:
    own = shift(run, run.parent / "data")
    darker = shift(run, draw(tmp_path / "dark", bright=0.4, seed=1))
    strange = shift(run, draw(tmp_path / "strange", classes=["a", "b", "c"], seed=1))
    assert own.recommendation == "use"
    assert own.labels == {"new": [], "missing": [], "renumbered": {}}
    assert all(layer.mean_sigmas < 0.01 for layer in own.layers if not layer.stored)
    assert own.distance < darker.distance < strange.distance
    assert darker.recommendation == "fine-tune"
    assert "target-values" in [finding.name for finding in darker.findings]
    assert "target-values" not in [finding.name for finding in own.findings]
    assert strange.recommendation == "train-anew"


def test_renumbered_classes_cost_nothing_and_are_told(run: Path, tmp_path: Path) -> None:
    data = draw(tmp_path / "data", classes=["road", "tree", "sky"], seed=1)
    told = shift(run, data)
    assert told.labels == {
        "new": [],
        "missing": [],
        "renumbered": {"road": [1, 0], "tree": [2, 1], "sky": [0, 2]},
    }
    same = shift(run, draw(tmp_path / "same", seed=1))
    assert told.distance < same.distance + 0.1
    more = shift(run, draw(tmp_path / "more", classes=["sky", "road", "lake"], seed=1))
    assert (more.labels or {})["new"] == ["lake"]
    assert (more.labels or {})["missing"] == ["tree"]
    assert any(finding.name == "labels" for finding in more.findings)


def test_pairs_of_another_task_ask_for_a_training_anew(run: Path, tmp_path: Path) -> None:
    """The same label maps and pictures, but none belongs to its partner."""
    data = draw(tmp_path / "data", seed=1)
    for split, count in (("train", 6), ("test", 3)):
        photos = [data / split / "photo" / f"{index}.png" for index in range(count)]
        contents = [path.read_bytes() for path in photos]
        for path, content in zip(photos, contents[1:] + contents[:1], strict=True):
            path.write_bytes(content)
    assert shift(run, data).recommendation == "train-anew"
    assert shift(run, draw(tmp_path / "same", seed=1)).recommendation == "use"


def test_a_few_pairs_are_enough_to_know_the_same_data(run: Path, tmp_path: Path) -> None:
    data = draw(tmp_path / "data", seed=5)
    for path in [*data.rglob("train/*/*.png")]:
        if int(path.stem) > 0:
            path.unlink()
    alone = shift(run, data)
    assert alone.recommendation == "use"
    (short,) = [finding for finding in alone.findings if finding.name == "recommendation"]
    assert "error_other_pairs" not in short.evidence


def test_what_its_own_pairs_gave_is_kept_in_the_run(run: Path, tmp_path: Path) -> None:
    new = draw(tmp_path / "new", seed=2)
    before = shift(run, new)
    assert (run / REFERENCE).exists()
    alone = tmp_path / "copy"
    shutil.copytree(run, alone)
    shutil.move(run.parent / "data", run.parent / "away")
    try:
        assert shift(alone, new).to_json() == before.to_json() | {
            "findings": shift(alone, new).to_json()["findings"]
        }
        (alone / REFERENCE).unlink()
        forgotten = shift(alone, new)
    finally:
        shutil.move(run.parent / "away", run.parent / "data")
    assert forgotten.discriminator is not None
    assert forgotten.discriminator["real_old"] is None
    assert all(layer.stored for layer in forgotten.layers)


def test_json_has_the_contract_s_fields_and_nothing_else_changes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    new = draw(tmp_path / "new", seed=3)
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["shift", str(run), str(new), "--split", "test", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [
        *("distance", "layers", "discriminator", "labels", "recommendation", "findings")
    ]
    assert list(told["layers"][0]) == ["name", "mean_sigmas", "std_ratio", "stored"]
    assert list(told["discriminator"]) == ["real_new", "fake_new", "real_old", "fake_old"]
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert after.keys() - files.keys() <= {run / REFERENCE}
    assert all(after[path] == content for path, content in files.items() if path.name != REFERENCE)
    out = tmp_path / "page"
    assert main(["shift", str(run), str(new), "--out", str(out)]) == 0
    assert told["findings"][-1]["cure"] in capsys.readouterr().out
    assert "data:image/jpeg" in (out / "index.html").read_text(encoding="utf-8")
    assert main(["shift", str(tmp_path / "none"), str(new)]) == 2
    assert main(["shift", str(run), str(new), "--split", "nope"]) == 2


def test_the_cure_for_other_statistics_works_when_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path)
    before = shift(run, tmp_path / "dark", split="val")
    assert before.recommendation == "re-estimate"
    (short,) = [finding for finding in before.findings if finding.name == "recommendation"]
    assert main(short.cure.split()[1:]) == 0
    after = shift(tmp_path / "runs" / "dark-run-1", tmp_path / "dark", split="val")
    assert after.recommendation == "use"
    assert after.distance < before.distance
    assert shift(run, tmp_path / "data", split="val").recommendation == "use"


def seen(
    error: float,
    *,
    estimated: float | None = None,
    strangers: float | None = 0.8,
    pairs: int = 40,
) -> Seen:
    return Seen({}, error, 0.01, estimated, strangers, 0.0, {}, None, None, pairs)


@pytest.mark.parametrize(
    ("moved", "new", "known", "lost", "expected"),
    [
        (0.1, seen(0.41), seen(0.4), 0.0, "use"),
        (0.9, seen(0.41), seen(0.4), 0.0, "fine-tune"),
        (0.9, seen(0.7, estimated=0.45), seen(0.4), 0.0, "re-estimate"),
        (0.9, seen(0.7, estimated=0.68), seen(0.4), 0.0, "fine-tune"),
        (0.1, seen(0.41), seen(0.4), 0.8, "train-anew"),
        (0.1, seen(0.45), seen(0.4), 0.0, "fine-tune"),
        (0.1, seen(0.45, pairs=4), seen(0.4, pairs=3), 0.0, "use"),  # it may be chance
        (0.9, seen(0.79), seen(0.4), 0.0, "train-anew"),
        (0.9, seen(0.79), None, 0.0, "train-anew"),
        (0.9, seen(0.6, estimated=0.5), None, 0.0, "re-estimate"),
        (0.9, seen(0.6, estimated=0.59), None, 0.0, "fine-tune"),
        (0.9, seen(0.79, strangers=None), seen(0.4), 0.0, "fine-tune"),
        (0.1, seen(0.41), None, 0.0, "use"),
        (0.9, seen(0.41), None, 0.0, "fine-tune"),
    ],
)
def test_the_recommendation_follows_from_what_was_seen(
    moved: float, new: Seen, known: Seen | None, lost: float, expected: str
) -> None:
    layers = [LayerShift("norm", moved, 1.0, True)]
    assert recommended(layers, new, known, lost=lost) == expected


def test_dissimilarity_orders_pictures_as_they_are_harmed() -> None:
    rng = torch.Generator().manual_seed(0)
    target = torch.nn.functional.interpolate(
        torch.rand(1, 3, 8, 8, generator=rng) * 2 - 1, scale_factor=8
    )[0]
    noise = torch.randn(target.shape, generator=rng)
    harmed = [dissimilarity(target, (target + s * noise).clamp(-1, 1)) for s in (0, 0.1, 0.3, 1)]
    assert harmed[0] == pytest.approx(0, abs=1e-6)
    assert harmed == sorted(harmed)
    assert dissimilarity(target, torch.zeros_like(target)) > harmed[1]
