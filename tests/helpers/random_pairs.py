"""Data sets of random tiles, for tests that need pictures of no meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_pairs(root: Path, *, seed: int = 0, tiles: int = 5, tile: int = 8, **splits: int) -> Path:
    """Write side-by-side pairs, so many a split, each picture `tiles` x `tiles` flat tiles."""
    rng = np.random.default_rng(seed)
    for split, count in splits.items():
        (root / split).mkdir(parents=True)
        for index in range(count):
            colours = rng.integers(0, 256, (tiles, 2 * tiles, 3), dtype=np.uint8)
            pixels = colours.repeat(tile, 0).repeat(tile, 1)
            Image.fromarray(pixels).save(root / split / f"{index}.png")
    return root
