"""The number of channels of an image, and its way to floats."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from limner.errors import DataError

# Which counts can be made from which: a colour part (grey or RGB) and, in 2 and 4, alpha.
_KNOWN = {1: (1, False), 2: (1, True), 3: (3, False), 4: (3, True)}
_LUMA = (19595, 38470, 7471)  # ITU-R BT.601's 0.299, 0.587, 0.114 in 65536ths


def channel_problem(found: int, channels: int, *, convert: bool, path: Path) -> str | None:
    """Return why an image with `found` channels cannot be used as one with `channels`, or None."""
    if found == channels:
        return None
    convertible = found in _KNOWN and channels in _KNOWN
    if convert and convertible:
        return None
    cure = f"set data.channels={found}"
    if convertible:
        cure += ", or data.convert=true to convert it"
    elif convert:
        cure += " (data.convert knows 1, 2, 3 and 4 channels only)"
    have = f"{found} channel{'' if found == 1 else 's'}"
    return f"{path} has {have} where data.channels asks for {channels}: {cure}"


def as_channels(image: Tensor, channels: int, *, convert: bool, path: Path) -> Tensor:
    """Return a C x H x W uint8 or uint16 image with `channels` channels.

    Never silently: without `convert` a different count is a `DataError` that names `path`. With it
    grey becomes RGB by repetition, RGB grey by the luma of ITU-R BT.601 (rounded), alpha is
    dropped, or added opaque; other counts stay an error.
    """
    problem = channel_problem(len(image), channels, convert=convert, path=path)
    if problem is not None:
        raise DataError(problem)
    if len(image) == channels:
        return image
    colours, has_alpha = _KNOWN[len(image)]
    wanted, wants_alpha = _KNOWN[channels]
    colour = image[:colours]
    if colours == 1 and wanted == 3:
        colour = colour.expand(3, -1, -1)
    elif colours == 3 and wanted == 1:
        colour = _luma(colour)
    if not wants_alpha:
        return colour.contiguous()
    opaque = torch.full_like(image[:1], torch.iinfo(image.dtype).max)
    return torch.cat([colour, image[colours:] if has_alpha else opaque])


def to_float(image: Tensor) -> Tensor:
    """Return a uint8 or uint16 image as float32 in [-1, 1], by the full range of its type."""
    return image.to(torch.float32).div_(torch.iinfo(image.dtype).max).mul_(2).sub_(1)


def to_uint16(image: Tensor) -> Tensor:
    """Return a uint8 image as uint16; `to_float` gives the same for both, to the last bit."""
    # 65535 = 255 * 257, so that v * 257 / 65535 and v / 255 are one number, rounded once.
    return image.to(torch.int32).mul_(257).to(torch.uint16) if image.dtype == torch.uint8 else image


def _luma(rgb: Tensor) -> Tensor:
    wide = rgb.to(torch.int64)
    red, green, blue = (weight * channel for weight, channel in zip(_LUMA, wide, strict=True))
    return ((red + green + blue + 0x8000) >> 16).to(rgb.dtype)[None]
