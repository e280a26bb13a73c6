"""What a training says and draws before its first step, and the folder of a run without a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import SMALL, small
from tiny_runs import draw_data

import limner
from limner.cli import main
from limner.errors import ConfigError
from limner.files import read_events
from limner.run import run_folder
from limner.training.datasets import open_training_data


def photos_beside_labels(root: Path, *, train: int = 3) -> Path:
    """Write pairs whose left half is noise as a photo has it, whose right half is flat colours."""
    rng = np.random.default_rng(0)
    (root / "train").mkdir(parents=True)
    for number in range(train):
        smooth = rng.normal(128, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        flat = rng.integers(0, 2, (4, 4, 1), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        pair = np.concatenate([smooth, flat * np.array([200, 30, 90], np.uint8)], axis=1)
        Image.fromarray(pair).save(root / "train" / f"{number}.png")
    return root


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_the_introduction_says_what_becomes_what(tmp_path: Path, direction: str) -> None:
    root = photos_beside_labels(tmp_path / "pairs")
    data = open_training_data(small(f"data.root={root}", f"data.direction={direction}"))
    words = {"AtoB": "pictures -> label colours", "BtoA": "label colours -> pictures"}[direction]
    told = data.introduction()
    assert told.startswith("3 pairs side by side")
    assert f"{direction}: {words}" in told


def test_an_untrained_sheet_stands_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = draw_data(tmp_path / "data", test=1)
    sets = [word for key in (*SMALL, "training.steps=1") for word in ("--set", key)]
    assert main(["train", str(root), "--out", str(tmp_path / "run"), *sets]) == 0
    events = read_events(tmp_path / "run")
    order = [event["event"] for event in events]
    assert order.index("start") < order.index("samples") < order.index("train")
    sheets = [event["step"] for event in events if event["event"] == "samples"]
    assert sheets == [0, 1]
    assert (tmp_path / "run" / "samples" / "00000000.jpg").is_file()
    told = capsys.readouterr().err
    for line in events[0]["introduction"]:
        assert line in told
    assert str(root) in told
    assert "pix2pix" in told


def test_the_untrained_sheet_draws_no_random_numbers(tmp_path: Path) -> None:
    root = draw_data(tmp_path / "data", test=1)
    config = small(f"data.root={root}", "training.steps=2")
    weights = []
    for name, every in (("with", 1), ("without", None)):
        drawn = limner.replace(config, {"training.samples_every": every})
        state = limner.train(drawn, out=tmp_path / name)
        weights.append(state.generator.plain.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_runs_without_a_name_are_numbered(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = Path("my pairs/drive.csv")
    assert run_folder(data, "pix2pix", resume=False) == Path("runs/drive-pix2pix-1")
    assert run_folder(data, "pix2pix", resume=True) == Path("runs/drive-pix2pix-1")
    for number in (1, 2):
        Path(f"runs/drive-pix2pix-{number}").mkdir(parents=True)
    assert run_folder(data, "pix2pix", resume=False).name == "drive-pix2pix-3"
    assert run_folder(data, "pix2pix", resume=True).name == "drive-pix2pix-2"
    assert run_folder(data, "../../x", resume=False).parent == Path("runs")


def test_python_names_data_preset_and_everyday_settings(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = draw_data(tmp_path / "data", test=1)
    state = limner.train(
        str(root),
        preset="pix2pix-small",
        epochs=1,
        size=32,
        direction="BtoA",
        seed=3,
        lr=1e-3,
        batch_size=2,
    )
    assert state.step == 1
    config = limner.read_config(Path("runs/data-pix2pix-small-1/config.yaml"))
    assert (config.data.size, config.data.direction, config.seed) == ((32, 32), "BtoA", 3)
    assert (config.training.lr, config.training.batch_size) == (1e-3, 2)
    with pytest.raises(ConfigError, match="preset"):
        limner.train(config, preset="pix2pix-small")
