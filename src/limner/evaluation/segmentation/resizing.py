"""Resizing pictures before they are segmented: Pillow's, and that of SciPy's removed `imresize`."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.errors import DataError

Size = tuple[int, int]
"""Height and width."""


def bytescale(data: np.ndarray) -> np.ndarray:
    """Return data as uint8: as it is where it is uint8, otherwise stretched to 0..255.

    The definition of `scipy.misc.bytescale` (SciPy 0.18 to 1.2, documented there) with its default
    arguments: (x - min) * (255 / (max - min)) over the whole array, all its channels together,
    plus a half, cut off to whole numbers; where all values are equal, 0. So a float picture in
    [0, 1], or a dark one in [0, 255], changes its brightness and contrast: that is the trap.
    """
    if data.dtype == np.uint8:
        return data
    low, high = data.min(), data.max()
    scale = 255.0 / (float(high - low) or 1.0)
    scaled = (data - low) * scale
    return (scaled.clip(0, 255) + 0.5).astype(np.uint8)


def imresize(data: np.ndarray, size: Size) -> np.ndarray:
    """Return H x W or H x W x 3 data resized to `size` as uint8, as SciPy's `imresize` did.

    `scipy.misc.imresize(data, (height, width))` of SciPy up to 1.2 with its default arguments:
    `bytescale`, then Pillow's bilinear resize, which averages over the area when it makes a
    picture smaller. Raises `DataError` for other shapes and for values that are not finite.
    """
    if data.ndim != 2 and (data.ndim != 3 or data.shape[2] != 3):
        raise DataError(f"imresize takes H x W or H x W x 3 values, not {data.shape}")
    if not np.isfinite(data).all():
        raise DataError("imresize takes finite values only, and these hold NaN or infinity")
    image = Image.fromarray(np.ascontiguousarray(bytescale(data)))
    # Two passes, each rounded to whole levels, across and then down, as Pillow up to 12 has it; 13
    # chooses the order by the sizes, which changes some values by one level.
    across = image.resize((size[1], image.height), Image.Resampling.BILINEAR)
    return np.array(across.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def resized(picture: Tensor, size: Size) -> Tensor:
    """Return a uint8 picture 3 x H x W at `size`, bilinear as `imresize` does it on uint8."""
    if tuple(picture.shape[1:]) == size:
        return picture
    pixels = imresize(picture.permute(1, 2, 0).numpy(), size)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
