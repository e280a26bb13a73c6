"""A facades-like paired data set drawn wholly by program: what the demo trains on.

The label of a house fixes where its windows, doors, shops and ornaments are; colour and texture
of the wall, light, reflections and the fine parts are drawn anew for every house. The mean over
all that is grey, so an L1 loss alone blurs and an adversarial one has something to add.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner import files
from limner.data.facades.canvas import CLASSES, Canvas
from limner.data.facades.house import house
from limner.data.facades.scene import develop, light, passers_by, surroundings
from limner.errors import DataError

__all__ = ["CLASSES", "draw_facade", "draw_facades", "label_colours"]

SPLITS = ("train", "val", "test")


def draw_facades(
    folder: Path,
    *,
    train: int = 400,
    val: int = 50,
    test: int = 100,
    size: int = 128,
    seed: int = 0,
    on_drawn: Callable[[int], None] | None = None,
) -> None:
    """Write a paired data set of drawn facades: photo left, label colours right, one PNG a pair.

    Writes `train/`, `val/` and `test/` with that many images of size x 2*size pixels (height x
    width) and a `dataset.yaml` with the classes and `direction: BtoA` (label to photo). A split
    of 0 images gets no folder. Image number i of a split depends on (seed, split, i, size) and
    on nothing else, so a longer set begins with the shorter one. `on_drawn` is told how many
    images are drawn so far, after each (for a progress bar).

    Raises DataError where `folder` holds something already, `size` is under 32 or a count is
    negative.
    """
    _check_size(size)
    counts = dict(zip(SPLITS, (train, val, test), strict=True))
    for name, count in counts.items():
        if count < 0:
            raise DataError(f"{name} is {count}: the number of facades to draw cannot be negative")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not an empty folder: name a new one for the drawn facades")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "dataset.yaml", describe())
    drawn = 0
    for name, count in counts.items():
        if count:
            (folder / name).mkdir()
        for index in range(count):
            photo, label = draw_facade(index, split=name, size=size, seed=seed)
            pair = np.concatenate([photo, label_colours(label)], axis=1)
            Image.fromarray(pair).save(folder / name / f"{index + 1:04d}.png", compress_level=3)
            drawn += 1
            if on_drawn is not None:
                on_drawn(drawn)


def _check_size(size: int) -> None:
    if size < 32:
        raise DataError(f"size is {size}: facades are drawn at 32 pixels or more")


def describe() -> str:
    """Return the text of `dataset.yaml`: the direction, the classes and their colours."""
    lines = [
        "# Facades drawn by Limner: photo on the left, label colours on the right.",
        "direction: BtoA",
        f"classes: [{', '.join(CLASSES)}]",
        "colours:",
    ]
    lines += [f"  - [{r}, {g}, {b}]  # {name}" for name, (r, g, b) in CLASSES.items()]
    return "\n".join(lines) + "\n"


def label_colours(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colours (uint8, H x W x 3) of class ids (H x W), by the order of `CLASSES`."""
    return np.array(list(CLASSES.values()), dtype=np.uint8)[label]


def draw_facade(
    index: int, *, split: str = "train", size: int = 128, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return one house: its photo (size x size x 3) and its class ids (size x size).

    Drawn at twice the size and averaged down, so that edges are smooth as in a photo.
    Raises DataError where `size` is under 32 or `split` is not train, val or test.
    """
    _check_size(size)
    if split not in SPLITS:
        raise DataError(f"split is {split!r}: known are {', '.join(SPLITS)}")
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    n = 2 * size
    canvas = Canvas(
        photo=np.zeros((n, n, 3), dtype=np.float32),
        label=np.zeros((n, n), dtype=np.uint8),
        grain=1 + 0.10 * (rng.random((n, n, 1), dtype=np.float32) - 0.5),
        unit=n / 256,
        side=int(rng.choice([-1, 1])),
        sun=float(rng.random()),
        rng=rng,
    )
    box = surroundings(canvas)
    house(canvas, box)
    light(canvas)
    passers_by(canvas, box[3])
    return develop(canvas)
