"""What the networks are asked for: which losses, with which weights, of which discriminators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limner.config import ObjectiveSettings
from limner.errors import ConfigError
from limner.losses import (
    GAN_LOSSES,
    discriminator_accuracy,
    feature_matching,
    gradient_penalty,
    kl_divergence,
    l1,
    l2,
    r1,
)
from limner.networks.batchnorm import BatchNorm2d, in_parts
from limner.networks.spectral import SpectralConv2d
from limner.objective.augment import AUGMENTATIONS, Drawn, draw
from limner.objective.perceptual import INPUTS, Perceptual, make_perceptual

__all__ = [
    "AUGMENTATIONS",
    "INPUTS",
    "Discriminator",
    "Drawn",
    "Objective",
    "Perceptual",
    "draw",
    "make_perceptual",
]

Discriminator = Callable[[Tensor], list[list[Tensor]]]


@dataclass(frozen=True)
class Objective:
    """The losses of one training; settings as `ObjectiveSettings` documents them.

    `perceptual` is made by `make_perceptual` where `settings.vgg` is not 0. All that is drawn
    comes from PyTorch's own generators, which a step seeds.

    Raises:
        ConfigError: a perceptual loss is asked for and none is given.
    """

    settings: ObjectiveSettings
    perceptual: Perceptual | None = None

    def __post_init__(self) -> None:
        if self.settings.vgg and self.perceptual is None:
            raise ConfigError("objective.vgg is set, but no perceptual loss was made for it")

    def _seen(self, source: Tensor, picture: Tensor, drawn: Drawn, *, conditional: bool) -> Tensor:
        """Return what a discriminator sees: the picture, with the source before it, with noise."""
        seen = drawn(picture, source if conditional else None)
        if self.settings.instance_noise:
            seen = seen + self.settings.instance_noise * torch.randn_like(seen)
        return seen

    def _drawn(self, count: int) -> Drawn:
        return draw(self.settings.augment, count, generator=torch.default_generator)

    def _over_scales(self, values: Sequence[Tensor]) -> Tensor:
        if self.settings.scales == "mean" or len(values) == 1:
            return _mean(values)
        return torch.stack(list(values)).sum(0)

    def discriminator(
        self,
        network: Discriminator,
        source: Tensor,
        target: Tensor,
        fake: Tensor,
        *,
        conditional: bool = True,
        step: int | None = 0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the discriminator's loss, scaled, and its terms, unscaled.

        Args:
            network: maps N x C x H x W to scales, then layers, logits last.
            source, target, fake: N x C x H x W in [-1, 1]; `fake` without a graph.
            conditional: whether the network sees the source.
            step: of the training, which decides whether r1 is due; None leaves penalties out.
        """
        settings = self.settings
        loss = GAN_LOSSES[settings.gan]
        drawn_fake, drawn_real = self._drawn(len(fake)), self._drawn(len(target))
        seen_fake = self._seen(source, fake, drawn_fake, conditional=conditional)
        seen_real = self._seen(source, target, drawn_real, conditional=conditional)
        fake_logits, real_logits = _judged(network, seen_fake, seen_real)
        real = [loss.d_real(scale, settings.real_label) for scale in real_logits]
        terms = {
            "real": self._over_scales(real),
            "fake": self._over_scales([loss.d_fake(scale) for scale in fake_logits]),
        }
        total = terms["real"] + terms["fake"]
        if loss.penalised and settings.gradient_penalty and step is not None:
            terms["penalty"] = gradient_penalty(
                lambda seen: self._over_scales(
                    [scale.mean((1, 2, 3), True) for scale in _logits(network(seen))]
                ),
                seen_real,
                seen_fake,
                weight=settings.gradient_penalty,
                generator=torch.default_generator,
            )
            total = total + terms["penalty"]
        if settings.r1 and step is not None and step % settings.r1_every == 0:

            def judged(picture: Tensor) -> list[Tensor]:
                seen = self._seen(source, picture, drawn_real, conditional=conditional)
                return _logits(network(seen))

            terms["r1"] = self._over_scales(r1(judged, target))
            # Seldom and as much heavier: Karras et al. 2020 (StyleGAN2), section 3.1.
            total = total + settings.r1 * settings.r1_every * terms["r1"]
        terms["accuracy"] = _mean(
            [
                discriminator_accuracy(real, fake, threshold=loss.threshold)
                for real, fake in zip(real_logits, fake_logits, strict=True)
            ]
        )
        total = total * settings.discriminator_scale
        return total, {**terms, "total": total}

    def generator(
        self,
        judges: Sequence[tuple[Discriminator, bool]],
        source: Tensor,
        target: Tensor,
        fake: Tensor,
        *,
        weights: Sequence[float] | None = None,
        style: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the generator's loss and its terms, unweighted.

        Args:
            judges: each discriminator with whether it sees the source; the weight of feature
                matching they share equally.
            source, target, fake: N x C x H x W in [-1, 1]; `fake` with its graph.
            weights: of each discriminator's adversarial term in their sum (Asher, Bechhofer and
                Berman, equation 1, for two); nothing for their mean.
            style: mean and log variance, N x L, of the encoder whose style `fake` has.
        """
        settings = self.settings
        terms: dict[str, Tensor] = {}
        total = fake.new_zeros(())
        matching = settings.feature_matching
        if judges and (settings.gan_weight or matching):
            loss = GAN_LOSSES[settings.gan]
            verdicts, distances = [], []
            for network, conditional in judges:
                drawn = self._drawn(len(fake))
                scales = network(self._seen(source, fake, drawn, conditional=conditional))
                verdicts.append(self._over_scales([loss.g(logits) for logits in _logits(scales)]))
                if matching:
                    with torch.no_grad():  # under the same draw, or features would not correspond
                        seen = self._seen(source, target, drawn, conditional=conditional)
                        wanted = network(seen)
                    distances.append(feature_matching(scales, wanted))
            if settings.gan_weight:
                terms["gan"] = _mean(verdicts) if weights is None else _sum(verdicts, weights)
                total = total + settings.gan_weight * terms["gan"]
            if matching:
                terms["feature_matching"] = _mean(distances)
                total = total + matching * terms["feature_matching"]
        for name, weight, difference in (
            ("l1", settings.l1, l1),
            ("l2", settings.l2, l2),
            ("vgg", settings.vgg, self.perceptual),
        ):
            if weight and difference is not None:
                terms[name] = difference(fake, target)
                total = total + weight * terms[name]
        if style is not None:
            terms["kl"] = kl_divergence(*style)
            total = total + settings.kl * terms["kl"]
        return total, {**terms, "total": total}


def _judged(
    network: Discriminator, fake: Tensor, real: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the logits of both, from one pass where that gives what two would.

    The fake pictures come first, as in the reference: with batch norm the order decides the running
    statistics.
    """
    if not isinstance(network, nn.Module) or not all(map(_takes_parts, network.modules())):
        return _logits(network(fake)), _logits(network(real))
    with in_parts(network, 2):
        both = [logits.chunk(2) for logits in _logits(network(torch.cat([fake, real])))]
    return [fake for fake, _ in both], [real for _, real in both]


def _takes_parts(layer: nn.Module) -> bool:
    """Whether a layer does to two batches at once what it does to one after the other.

    Other batch norms would mix their statistics; a spectral norm's power iteration takes one step
    a pass.
    """
    mixes = isinstance(layer, nn.modules.batchnorm._BatchNorm) and not isinstance(
        layer, BatchNorm2d
    )
    return not mixes and not isinstance(layer, SpectralConv2d)


def _logits(scales: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [layers[-1] for layers in scales]


def _sum(values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    weighted = [weight * value for weight, value in zip(weights, values, strict=True)]
    return torch.stack(weighted).sum(0)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean(0)
