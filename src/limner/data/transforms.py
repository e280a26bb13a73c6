"""One random draw a sample, applied alike to all its fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limner.errors import ConfigError, DataError, unknown_name


@dataclass(frozen=True)
class Mode:
    """How images come to their size: whether they are resized first, whether they are cropped."""

    resize: bool
    crop: bool


MODES = {
    "resize_crop": Mode(resize=True, crop=True),  # to load_size, then a crop of size (pix2pix)
    "crop": Mode(resize=False, crop=True),  # a crop of size out of the image as it is
    "resize": Mode(resize=True, crop=False),  # to size
    "none": Mode(resize=False, crop=False),  # as the image is
}


@dataclass(frozen=True)
class Draw:
    """What was drawn for one sample: the window, in pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def checked_mode(name: str, *, size: tuple[int, int], load_size: tuple[int, int]) -> Mode:
    """Return the mode of that name; raises `ConfigError` for an unknown one or sizes that clash."""
    if name not in MODES:
        raise unknown_name("data.mode", name, MODES)
    mode = MODES[name]
    if mode.resize and mode.crop and (load_size[0] < size[0] or load_size[1] < size[1]):
        raise ConfigError(
            f"data.load_size {load_size[0]}x{load_size[1]} is smaller than data.size "
            f"{size[0]}x{size[1]} (height x width): crops are taken from images of load_size, so "
            "make it the larger one"
        )
    return mode


def resized_to(
    mode: Mode, *, size: tuple[int, int], load_size: tuple[int, int], augment: bool
) -> tuple[int, int] | None:
    """Return the (height, width) that images are resized to before the crop, None for as they are.

    Without augmentation what would be cropped at random is resized to `size` itself.
    """
    if not mode.resize:
        return None
    return load_size if mode.crop and augment else size


def draw(
    rng: np.random.Generator, *, height: int, width: int, size: tuple[int, int], flip: bool
) -> Draw:
    """Draw a window of `size` (height, width) in an image, and with `flip` a mirroring, p = 0.5.

    The generator is used alike whatever `flip` says, so that it changes nothing else.
    """
    _fits(height, width, size)
    top = int(rng.integers(height - size[0] + 1))
    left = int(rng.integers(width - size[1] + 1))
    mirrored = bool(rng.random() < 0.5)
    return Draw(top, left, size[0], size[1], flip and mirrored)


def central(*, height: int, width: int, size: tuple[int, int]) -> Draw:
    """Return the window of `size` (height, width) in the middle, never mirrored."""
    _fits(height, width, size)
    return Draw((height - size[0]) // 2, (width - size[1]) // 2, size[0], size[1], flip=False)


def apply(draw: Draw, image: Tensor) -> Tensor:
    """Cut the window of `draw` out of an image (..., H, W) and mirror it left to right if drawn."""
    bottom, right = draw.top + draw.height, draw.left + draw.width
    window = image[..., draw.top : bottom, draw.left : right]
    if not draw.flip:
        return window
    if image.dtype == torch.uint16:  # torch mirrors no uint16
        return window.view(torch.int16).flip(-1).view(torch.uint16)
    return window.flip(-1)


def _fits(height: int, width: int, size: tuple[int, int]) -> None:
    if height < size[0] or width < size[1]:
        raise DataError(
            f"an image of {width}x{height} has no room for a crop of {size[1]}x{size[0]} "
            "(width x height): lower data.size, or set data.mode to one that resizes"
        )
