"""Pictures and label maps grow to the sides that a generator takes."""

from __future__ import annotations

import torch
from torch import Tensor


def pad_to_multiple(
    images: Tensor, multiple: int, *, border: str = "reflect"
) -> tuple[Tensor, tuple[int, int]]:
    """Pad ... x H x W on all sides until height and width divide by `multiple`.

    The border is continued by reflection, repeated as often as a small image needs, or ("repeat")
    by its last pixels.

    Returns:
        The padded images, and the top and left of the original within them.
    """
    height, width = images.shape[-2:]
    extra = (-height % multiple, -width % multiple)
    top, left = extra[0] // 2, extra[1] // 2
    if extra == (0, 0):
        return images, (0, 0)
    continued = _BORDERS[border]
    rows = continued(torch.arange(-top, height + extra[0] - top), height)
    columns = continued(torch.arange(-left, width + extra[1] - left), width)
    return images[..., rows[:, None], columns[None, :]], (top, left)


def _reflected(positions: Tensor, length: int) -> Tensor:
    """Map positions beyond 0..length-1 to where repeated mirrors (edge not doubled) show them."""
    if length == 1:
        return torch.zeros_like(positions)
    period = 2 * (length - 1)
    within = positions % period
    return torch.where(within < length, within, period - within)


_BORDERS = {
    "reflect": _reflected,
    "repeat": lambda positions, length: positions.clamp(0, length - 1),
}
