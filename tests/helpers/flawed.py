"""Drawn data sets for the checks: photos with texture and their label maps, sound but for what a
test plants in them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

COLOURS = np.array([(70, 130, 180), (60, 60, 60), (90, 140, 40), (200, 60, 50), (220, 220, 60)])


def labels(seed: int, *, side: int = 96, classes: int = 5) -> np.ndarray:
    """Return ids H x W with smooth borders: the largest of a few smooth fields."""
    rng = np.random.default_rng(seed)
    fields = zoom(rng.normal(size=(classes, 6, 6)), (1, side / 6, side / 6), order=1)
    return fields[:, :side, :side].argmax(axis=0).astype(np.uint8)


def photo(ids: np.ndarray, seed: int) -> np.ndarray:
    """Return a picture H x W x 3 of a label map, with the texture that photos have."""
    rng = np.random.default_rng(seed + 10_000)
    height, width = ids.shape
    texture = sum(
        gaussian_filter(rng.normal(size=(height, width)), sigma) * sigma * weight
        for sigma, weight in ((0.4, 22), (1.5, 30), (4, 40))
    )
    base = COLOURS[ids % len(COLOURS)] + rng.normal(0, 12, 3)
    return (base + np.asarray(texture)[..., None]).clip(0, 255).astype(np.uint8)


def pair(seed: int, *, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Return a label map and its photo."""
    ids = labels(seed, side=side)
    return ids, photo(ids, seed)


def write(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write an image in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def labelled(root: Path, *, side: int = 96, **counts: int) -> Path:
    """Write `train=20, test=8` pairs as `train/label/3.png`, `train/photo/3.png`."""
    seed = 0
    for split, count in counts.items():
        for number in range(count):
            ids, picture = pair(seed, side=side)
            write(root / split / "label" / f"{number}.png", ids)
            write(root / split / "photo" / f"{number}.png", picture)
            seed += 1
    return root


def pictures(root: Path, *, side: int = 96, **counts: int) -> Path:
    """Write pairs of pictures as `train/source/3.png`, `train/target/3.png`."""
    seed = 500
    for split, count in counts.items():
        for number in range(count):
            _, picture = pair(seed, side=side)
            write(root / split / "source" / f"{number}.png", picture[..., ::-1].copy() // 2 + 30)
            write(root / split / "target" / f"{number}.png", picture)
            seed += 1
    return root
