"""How pictures come to the segmenter: the protocols by name, and the resizing of each.

Pictures are resized as Pillow does it, or as SciPy's removed `imresize` did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.errors import DataError, unknown_name

Size = tuple[int, int]
"""Height and width."""

Prepare = Callable[..., Tensor]


@dataclass(frozen=True)
class Protocol:
    """One way to score: in words, with its class map (a name, or none) and its resizing.

    `prepare(picture, label=, generated=, size=)` takes a uint8 picture 3 x H x W, the (height,
    width) of its label map and of the generated picture, and the size that was asked for, if any.
    """

    about: str
    class_map: str | None
    prepare: Prepare


def as_generated(picture: Tensor, *, label: Size, generated: Size, size: Size | None) -> Tensor:
    """Return the picture as it is, or resized to `size` (Pillow, bilinear, uint8)."""
    return picture if size is None else resized(picture, size)


def cityscapes(picture: Tensor, *, label: Size, generated: Size, size: Size | None) -> Tensor:
    """Return the picture as pix2pix's script gave it to its FCN.

    `imresize` to the size of the label map (2048 x 1024 there), or to `size`. A photo of another
    size than the generated picture is first brought to that size (256 x 256 in the paper), as the
    script's notes ask for the row of the real photos: they lose what the generator never saw.
    """
    return resized(resized(picture, generated), size or label)


PROTOCOLS: dict[str, Protocol] = {
    "plain": Protocol(
        "pictures as they are, or resized to the stated size", class_map=None, prepare=as_generated
    ),
    "cityscapes": Protocol(
        "pix2pix's: labelIds to train ids; photos brought to the size of the generated pictures, "
        "then all enlarged to that of the label maps as SciPy's imresize did it",
        class_map="cityscapes",
        prepare=cityscapes,
    ),
}


def protocol(name: str) -> Protocol:
    """Return the protocol of that name; `ConfigError` for an unknown one."""
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


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
    `bytescale`, then Pillow's bilinear resize, which averages over the area when it makes a picture
    smaller.

    Raises:
        DataError: the shape is another, or a value is not finite.
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
