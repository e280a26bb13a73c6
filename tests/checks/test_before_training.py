"""Training looks at its data first: it stops at what would make it fail, and says the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import flawed
import numpy as np
import pytest
import tiny
from PIL import Image

from limner.api import looked_at, train
from limner.checks.before_training import LINES, lines
from limner.config import Config, replace
from limner.errors import ConfigError, DataError
from limner.files import read_events


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flawed.pictures(tmp_path_factory.mktemp("clean"), side=48, train=5, val=2)


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "set"))


def settings(root: Path) -> Config:
    return replace(tiny.small(), {"data.root": str(root), "training.steps": 1})


def test_a_file_that_ends_early_stops_it_unless_that_is_allowed(root: Path, tmp_path: Path) -> None:
    config = settings(root)
    assert looked_at(config, memory=tmp_path / "memory", allowed=()) == []
    path = root / "train" / "target" / "3.png"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="truncated") as refusal:
        looked_at(config, memory=tmp_path / "memory", allowed=())
    assert "3.png" in str(refusal.value)
    assert "--allow-findings truncated" in str(refusal.value)
    found = looked_at(config, memory=tmp_path / "memory", allowed=("truncated",))
    assert [finding.name for finding in found] == ["truncated"]
    with pytest.raises(ConfigError, match="truncated"):
        looked_at(config, memory=tmp_path / "memory", allowed=("truncatd",))


def test_what_does_not_stop_it_stands_in_the_log(root: Path, tmp_path: Path) -> None:
    for role in ("source", "target"):
        held = root / "val" / role / "1.png"
        shutil.copy(held, root / "train" / role / "2.png")
    train(settings(root), out=tmp_path / "run", accelerator="cpu", cache_folder=tmp_path / "cache")
    events = read_events(tmp_path / "run")
    (checked,) = (event for event in events if event["event"] == "check")
    assert [finding["name"] for finding in checked["findings"]] == ["leak"]
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert any("leak" in note for note in notes)


def test_it_says_at_most_five_lines(root: Path, tmp_path: Path) -> None:
    for number, size in enumerate((20, 24, 28, 30)):
        for split in ("train", "val"):
            path = root / split / "target" / f"{number % 2}.png"
            Image.fromarray(np.full((size, size, 3), number, np.uint8)).save(path)
    found = looked_at(settings(root), memory=None, allowed=("unmatched",)) * 4
    assert len(lines(found)) == LINES
