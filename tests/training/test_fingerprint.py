"""What tells one set of training pairs from another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.config import replace
from limner.presets import preset
from limner.training.datasets import TrainingData, open_training_data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for side in ("source", "target"):
        (tmp_path / "data" / "train" / side).mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / "train" / side / f"{number}.bmp")
    return tmp_path / "data"


def opened(root: Path) -> TrainingData:
    settings = {"data.root": str(root), "data.size": 32, "training.batch_size": 1}
    config = replace(preset("pix2pix-small"), settings)
    return open_training_data(config, cache_folder=root.parent / "cache")


def test_other_contents_of_the_same_size_are_other_pairs(root: Path) -> None:
    before = opened(root).fingerprint
    assert opened(root).same_pairs(before)
    path = root / "train" / "target" / "1.bmp"
    size = path.stat().st_size
    with Image.open(path) as image:
        inverted = 255 - np.array(image)
    Image.fromarray(inverted).save(path)
    assert path.stat().st_size == size
    assert not opened(root).same_pairs(before)


def test_a_record_from_before_contents_counted_still_fits(root: Path) -> None:
    data = opened(root)
    recorded = {key: data.fingerprint[key] for key in ("pairs", "sha256")}
    assert data.same_pairs(recorded)
    assert not data.same_pairs(recorded | {"pairs": 3})


def test_what_was_decided_and_left_out_is_said(root: Path) -> None:
    (root / "train" / "source" / "2.heic").touch()
    assert any("2.heic" in note for note in opened(root).notes)
