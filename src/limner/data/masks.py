"""Which pixels of a picture count: masks from files, and those that Otsu's threshold draws."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from limner.data.decode import decode_ids
from limner.data.pixels import resize
from limner.errors import DataError

Automatic = Literal["otsu", "otsu-target"]
"""Masks that are drawn: of the source, which there is in translation, too, or of the target."""
_BINS = 256


def read_mask(path: Path) -> Tensor:
    """Return which pixels count, 1 x H x W booleans: those not 0 in the mask's first channels."""
    return counted(decode_ids(path))


def counted(image: Tensor) -> Tensor:
    """Return which pixels of a decoded mask, C x H x W, count, as `read_mask` does."""
    colours = image[: 3 if len(image) > 2 else 1]
    return (colours.to(torch.float32) != 0).any(dim=0, keepdim=True)


def fitted_mask(path: Path, size: tuple[int, int], *, own: set[tuple[int, int]]) -> Tensor:
    """Read a mask and bring it to (height, width) = `size`, by nearest neighbour.

    Raises:
        DataError: it cannot be read, or has none of the pictures' `own` sizes.
    """
    mask = read_mask(path)
    height, width = mask.shape[-2:]
    if (height, width) not in own:
        raise DataError(other_size(path, (height, width), min(own)))
    return resize(mask.to(torch.uint8), size, interpolation="nearest").bool()


def other_size(path: Path, size: tuple[int, int], own: tuple[int, int]) -> str:
    """Return the sentence on a mask of another (height, width) than its picture's `own`."""
    return (
        f"{path} is {size[1]}x{size[0]} and its picture {own[1]}x{own[0]}: a mask must have its "
        "picture's size, so make it anew"
    )


def otsu_mask(image: Tensor, counts: Tensor | None = None) -> Tensor:
    """Return which pixels show something, 1 x H x W booleans: a body, a tissue, an object.

    Otsu's threshold (1979, doi:10.1109/TSMC.1979.4310076, equation 18) of the mean over channels
    parts the pixels; background is the part that more pixels of the outermost rows and columns
    belong to, be it dark (air) or bright (glass). Holes within what is left count. An image of one
    value counts whole.

    Args:
        image: C x H x W.
        counts: which pixels are considered at all, 1 x H x W; the others never count.
    """
    from scipy.ndimage import binary_fill_holes  # takes half a second to import

    grey = image.double().mean(dim=0).numpy()
    known = np.ones(grey.shape, bool) if counts is None else counts[0].bool().numpy()
    values = grey[known]
    if not len(values) or values.min() == values.max():
        return torch.from_numpy(known)[None]
    bright = grey > _threshold(values)
    edge = np.ones(grey.shape, bool)
    edge[1:-1, 1:-1] = False
    edge &= known
    shown = ~bright if 2 * bright[edge].sum() > edge.sum() else bright
    return torch.from_numpy(binary_fill_holes(shown & known) & known)[None]


def _threshold(values: np.ndarray) -> float:
    """Return the value that maximises the variance between what lies above and below it."""
    counts, edges = np.histogram(values, bins=_BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()[:-1]
    above = counts.sum() - below
    total = (counts * middles).cumsum()
    mean_below = total[:-1] / np.maximum(below, 1)
    mean_above = (total[-1] - total[:-1]) / np.maximum(above, 1)
    between = below * above * (mean_below - mean_above) ** 2.0
    best = np.flatnonzero(between == between.max())  # a gap between two peaks is a plateau
    return float(edges[1:-1][best[len(best) // 2]])
