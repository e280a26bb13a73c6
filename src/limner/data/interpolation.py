"""Resizing, and which way of it suits an image: label colours must not blend."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import unknown_name


class _Kind(NamedTuple):
    mode: str  # torch's name
    antialias: bool


INTERPOLATIONS = {
    "nearest": _Kind("nearest-exact", False),
    "bilinear": _Kind("bilinear", True),
    "bicubic": _Kind("bicubic", True),
    "lanczos": _Kind("lanczos", True),
}

# Constants of `looks_like_labels`, found on CMP Facades, CamVid and drawn images.
_PALETTE = 64  # colours of a lossless label map
_REACH = 4  # pixels from a flat place within which a lossless label map lies
_SAMPLE = 8000  # pixels looked at
_CLUSTERS = 24
_TIGHT, _WIDE = 8, 32  # levels around a cluster's middle


def checked_interpolation(name: str) -> str:
    """Return `name` if it is a known interpolation; raises `ConfigError` otherwise."""
    if name not in INTERPOLATIONS:
        raise unknown_name("interpolation", name, [*INTERPOLATIONS, "auto"])
    return name


def resize(image: Tensor, size: tuple[int, int], *, interpolation: str) -> Tensor:
    """Resize a C x H x W uint8 or uint16 image to (height, width) = `size`.

    All but nearest are antialiased, as Pillow's are. uint8 is within 1 level of Pillow's result (2
    in a few pixels of a million), unless one side grows and the other shrinks: there Pillow changes
    the order of the two passes.
    """
    kind = INTERPOLATIONS[checked_interpolation(interpolation)]
    if tuple(image.shape[-2:]) == size:
        return image
    batch = image[None]
    if image.dtype == torch.uint8:
        return F.interpolate(batch, size, mode=kind.mode, antialias=kind.antialias)[0]
    # torch resizes no uint16; every one of its values is a float32.
    result = F.interpolate(batch.float(), size, mode=kind.mode, antialias=kind.antialias)[0]
    return result.round_().clamp_(0, torch.iinfo(image.dtype).max).to(image.dtype)


def looks_like_labels(image: Tensor) -> bool:
    """Tell whether a C x H x W uint8 or uint16 image shows label colours or class ids.

    Lossless label maps are flat but for thin borders and have few colours. Those that went through
    JPEG have noise along the borders; there the colours lie in several tight clusters, while those
    of a photo spread (a grey photo or a large white background have one tight cluster at most).
    """
    pixels = image.numpy().transpose(1, 2, 0)
    if min(pixels.shape[:2]) < 3:
        return False
    return _flat_with_few_colours(pixels) or (
        image.dtype == torch.uint8 and _clustered(pixels.astype(np.int16))
    )


def _flat_with_few_colours(pixels: np.ndarray) -> bool:
    still = np.ones((pixels.shape[0] - 2, pixels.shape[1] - 2), dtype=bool)
    centre = pixels[1:-1, 1:-1]
    for top in range(3):
        for left in range(3):
            moved = pixels[top : top + still.shape[0], left : left + still.shape[1]]
            still &= (moved == centre).all(axis=2)
    if still.mean() < 0.5:
        return False
    width = 2 * _REACH + 1
    near = F.max_pool2d(torch.from_numpy(still)[None].float(), width, stride=1, padding=_REACH)
    if near.mean() < 0.95:
        return False
    counts = np.sort(np.unique(_codes(centre[still]), return_counts=True)[1])
    return counts[-_PALETTE:].sum() >= 0.95 * still.sum()


def _clustered(pixels: np.ndarray) -> bool:
    """Find clusters greedily, densest first; tight ones must hold much of the image.

    A cluster is tight where at least half of what lies within 32 levels of its middle lies within
    8 (a quarter or less, if colours were spread evenly).
    """
    flat = pixels.reshape(-1, pixels.shape[2])
    rng = np.random.default_rng(0)  # which pixels are looked at is no part of a run's randomness
    left = rng.choice(flat, size=min(_SAMPLE, len(flat)), replace=False)
    total = len(left)
    tight = []
    for _ in range(_CLUSTERS):
        bins = np.unique(_codes(left // 4), return_inverse=True)[1]
        middle = np.median(left[bins == np.bincount(bins).argmax()], axis=0)
        distance = np.abs(left - middle).max(axis=1)
        inner, outer = (distance <= _TIGHT).sum(), (distance <= _WIDE).sum()
        if inner >= 0.5 * outer:
            tight.append(inner / total)
        left = left[distance > _WIDE]
        if len(left) < 0.02 * total:
            break
    return sum(tight) >= 0.3 and sum(tight) - max(tight, default=0) >= 0.1


def _codes(colours: np.ndarray) -> np.ndarray:
    """Return one integer for each colour of N x C, the same for the same colour.

    Ten times faster than NumPy's unique rows; two colours that share a code would be a coincidence
    of 1 in 2**64.
    """
    factors = np.random.default_rng(0).integers(2**62, size=colours.shape[1]) * 2 + 1
    return (colours.astype(np.int64) * factors).sum(axis=1)
