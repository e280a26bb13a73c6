"""Augmentation of what the discriminators see, differentiable, so that small sets last longer.

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training",
section 3.2 and appendix A. Every kind acts on real and made pictures, in the discriminator's
update and in the generator's; gradients pass through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.errors import unknown_name

# Their sizes in that paper: shifts up to 1/8 of a side, and a cut of half of each side.
SHIFT, CUT = 0.125, 0.5


@dataclass(frozen=True)
class Drawn:
    """The numbers of N samples' augmentation, each uniform in [0, 1): N x 7 on the CPU."""

    kinds: tuple[str, ...]
    numbers: Tensor

    def __call__(self, picture: Tensor, source: Tensor | None = None) -> Tensor:
        """Return N x C x H x W augmented, with the source before the picture where one is given.

        What moves or cuts acts on both alike; colours are the picture's alone, since those of a
        source mean something (a class, an edge).
        """
        numbers = self.numbers.to(picture)[:, :, None, None, None]
        if "colour" in self.kinds:
            picture = _colour(picture, numbers[:, :3])
        seen = picture if source is None else torch.cat([source, picture], dim=1)
        if "translation" in self.kinds:
            seen = _translation(seen, numbers[:, 3:5])
        if "cutout" in self.kinds:
            seen = _cutout(seen, numbers[:, 5:7])
        return seen


def draw(kinds: Sequence[str], count: int, *, generator: torch.Generator) -> Drawn:
    """Draw the augmentation of `count` samples; nothing is drawn where `kinds` is empty.

    Raises:
        ConfigError: no augmentation has one of these names.
    """
    for kind in kinds:
        if kind not in AUGMENTATIONS:
            raise unknown_name("augmentation", kind, AUGMENTATIONS)
    numbers = torch.rand(count, 7, generator=generator) if kinds else torch.zeros(count, 7)
    return Drawn(tuple(kinds), numbers)


def _colour(picture: Tensor, numbers: Tensor) -> Tensor:
    """Brightness plus [-0.5, 0.5), then saturation times [0, 2), then contrast times [0.5, 1.5)."""
    brightness, saturation, contrast = numbers.unbind(1)
    picture = picture + (brightness - 0.5)
    grey = picture.mean(dim=1, keepdim=True)
    picture = grey + (picture - grey) * (2 * saturation)
    middle = picture.mean(dim=(1, 2, 3), keepdim=True)
    return middle + (picture - middle) * (0.5 + contrast)


def _translation(seen: Tensor, numbers: Tensor) -> Tensor:
    """Shift by whole pixels, up to `SHIFT` of each side both ways; what comes in is zero."""
    for dim, number in zip((2, 3), numbers.unbind(1), strict=True):
        length = seen.shape[dim]
        reach = int(length * SHIFT + 0.5)
        shift = (number.flatten() * (2 * reach + 1)).long().clamp(max=2 * reach) - reach
        origin = torch.arange(length, device=seen.device)[None] - shift[:, None]  # N x length
        shape = [len(seen), 1, 1, 1]
        shape[dim] = length
        inside = ((origin >= 0) & (origin < length)).reshape(shape)
        index = origin.clamp(0, length - 1).reshape(shape).expand_as(seen)
        seen = seen.gather(dim, index) * inside.to(seen)
    return seen


def _cutout(seen: Tensor, numbers: Tensor) -> Tensor:
    """Set a rectangle of `CUT` of each side to zero; its centre lies anywhere in the picture."""
    covered = torch.ones((), device=seen.device, dtype=torch.bool)
    for dim, number in zip((2, 3), numbers.unbind(1), strict=True):
        length = seen.shape[dim]
        size = int(length * CUT + 0.5)
        centre = (number.flatten() * length).long().clamp(max=length - 1)
        offset = torch.arange(length, device=seen.device)[None] - (centre[:, None] - size // 2)
        shape = [len(seen), 1, 1, 1]
        shape[dim] = length
        covered = covered & ((offset >= 0) & (offset < size)).reshape(shape)
    return seen * (~covered).to(seen)


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "colour": _colour,
    "translation": _translation,
    "cutout": _cutout,
}
