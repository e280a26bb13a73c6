"""Parts of a batch, and the generator's pictures of them, in the style that an encoder reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limner.data import network_input
from limner.losses import mask_weights

Style = tuple[Tensor, Tensor]
"""Mean and log variance of a latent code, each N x L."""


FIELDS = ("source", "target", "instance", "mask")
"""What a step takes of a batch; the last two where the data have them."""
BLANK = -1.0
"""What pictures and targets are where pixels do not count: what nodata is, too."""


@dataclass(frozen=True)
class Part:
    """Some samples of a batch as networks take them.

    `source` and `target` are N x C x H x W floats; `instance` is N x H x W integers or None, and
    so is `weight`, N x 1 x H x W floats, what each pixel counts: see `losses.mask_weights`.
    """

    source: Tensor
    target: Tensor
    instance: Tensor | None = None
    weight: Tensor | None = None


def parts_of(batch: Mapping[str, Tensor], count: int, expansion: Mapping[str, Any]) -> list[Part]:
    """Split a batch into `count` equal parts, its label maps expanded: see `network_input`.

    Where there is a mask, targets are `BLANK` outside it, and each part gets its share of the
    weights of the whole batch.
    """
    batch = {**batch, "source": network_input(batch, **expansion)}
    if "mask" in batch:
        batch["target"] = torch.where(batch["mask"] > 0, batch["target"], BLANK)
        batch["mask"] = mask_weights(batch["mask"])
    fields = [batch[name].chunk(count) if name in batch else [None] * count for name in FIELDS]
    return [Part(*piece) for piece in zip(*fields, strict=True)]


@dataclass(frozen=True)
class Pictures:
    """What the generator makes of a part, and the distribution of its style code if it has one."""

    fake: Tensor
    style: Style | None = None


def _with_code(generator: nn.Module, encoder: nn.Module, part: Part) -> Pictures:
    """z = m + e exp(v / 2), e from N(0, 1): Kingma and Welling 2014, section 2.4."""
    mean, logvar = encoder(part.target)
    noise = torch.randn(mean.shape, generator=torch.default_generator, dtype=mean.dtype)
    z = mean + noise.to(mean.device) * torch.exp(0.5 * logvar)
    return Pictures(generator(part.source, z), (mean, logvar))


def _with_features(generator: nn.Module, encoder: nn.Module, part: Part) -> Pictures:
    """Features of the target join the generator's input: Wang et al. 2018, section 3.4."""
    features = encoder(part.target, part.instance)
    return Pictures(generator(torch.cat([part.source, features.to(part.source)], dim=1)))


# By the encoder's name in the configuration.
STYLES: dict[str, Callable[[nn.Module, nn.Module, Part], Pictures]] = {
    "spade-encoder": _with_code,
    "features": _with_features,
}


def pictures_of(
    generator: nn.Module, encoder: nn.Module | None, part: Part, *, style: str | None = None
) -> Pictures:
    """Return the generator's pictures of a part, and the code's distribution where there is one.

    Pixels that do not count (`part.weight` is 0) are `BLANK`, as in the target, so that no loss
    and no discriminator is told anything there, and no gradient comes from there.

    Args:
        generator: takes the source, and what the encoder tells it.
        encoder: reads the target's style; None for a generator without one.
        part: what is translated.
        style: a key of `STYLES`, the kind of `encoder`.
    """
    if encoder is None or style is None:
        pictures = Pictures(generator(part.source))
    else:
        pictures = STYLES[style](generator, encoder, part)
    if part.weight is None:
        return pictures
    return Pictures(torch.where(part.weight > 0, pictures.fake, BLANK), pictures.style)
