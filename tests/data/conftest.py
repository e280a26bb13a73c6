"""Small drawn images and data folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.data import PairedDataset, find_pairs, scan

DrawnImage = Callable[..., np.ndarray]
SideBySide = Callable[..., Path]


def drawn(height: int, width: int, channels: int = 3, *, seed: int = 0) -> np.ndarray:
    """Noise: no two windows of it are alike."""
    rng = np.random.default_rng(seed)
    shape = (height, width) if channels == 1 else (height, width, channels)
    return rng.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="session")
def noise() -> DrawnImage:
    return drawn


@pytest.fixture
def side_by_side(tmp_path: Path) -> SideBySide:
    """Make a data folder of `count` images of height x 2 width; returns its path."""

    def make(count: int = 6, *, height: int = 24, width: int = 24, name: str = "set") -> Path:
        folder = tmp_path / name / "train"
        folder.mkdir(parents=True)
        for number in range(count):
            Image.fromarray(drawn(height, 2 * width, seed=number)).save(folder / f"{number}.png")
        return folder.parent

    return make


@pytest.fixture
def open_plainly() -> Callable[..., PairedDataset]:
    """Open the train split without checks, with small settings that keywords replace."""

    def make(root: Path, *, cache: Path | None = None, limit: int = 10**8, **given: Any):
        settings: dict[str, Any] = {
            "mode": "resize_crop",
            "size": (16, 16),
            "load_size": (20, 20),
            "flip": True,
            "channels": (3, 3),
            "convert": False,
            "interpolation": ("bicubic", "bicubic"),
            "cache": None,
            "seed": 0,
            "augment": True,
        }
        pairs = find_pairs(root, "train", direction=None)
        dataset = PairedDataset(pairs, **(settings | given))
        if cache is not None:
            dataset.cache = dataset.planned_cache(cache, scan(pairs), limit_bytes=limit)
        return dataset

    return make
