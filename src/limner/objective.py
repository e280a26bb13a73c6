"""What the networks are asked for: which losses, with which weights, of which discriminators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.config import ObjectiveSettings
from limner.losses import GAN_LOSSES, discriminator_accuracy, gradient_penalty, l1, l2

Discriminator = Callable[[Tensor], list[list[Tensor]]]


@dataclass(frozen=True)
class Objective:
    """The losses of one training; settings as `ObjectiveSettings` documents them."""

    settings: ObjectiveSettings

    def _seen(self, source: Tensor, picture: Tensor, *, conditional: bool) -> Tensor:
        """Return what a discriminator sees: the picture, with the source before it, with noise."""
        seen = torch.cat([source, picture], dim=1) if conditional else picture
        if self.settings.instance_noise:
            seen = seen + self.settings.instance_noise * torch.randn_like(seen)
        return seen

    def discriminator(
        self,
        network: Discriminator,
        source: Tensor,
        target: Tensor,
        fake: Tensor,
        *,
        conditional: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the discriminator's loss, scaled, and its terms, unscaled.

        Args:
            network: maps N x C x H x W to scales, then layers, logits last.
            source, target, fake: N x C x H x W in [-1, 1]; `fake` without a graph.
            conditional: whether the network sees the source.
        """
        loss = GAN_LOSSES[self.settings.gan]
        seen_fake = self._seen(source, fake, conditional=conditional)
        seen_real = self._seen(source, target, conditional=conditional)
        # The fake pass comes first, as in the reference: with batch norm the order decides
        # the running statistics.
        fake_logits = [scale[-1] for scale in network(seen_fake)]
        real_logits = [scale[-1] for scale in network(seen_real)]
        terms = {
            "real": _mean([loss.d_real(scale, self.settings.real_label) for scale in real_logits]),
            "fake": _mean([loss.d_fake(scale) for scale in fake_logits]),
        }
        total = terms["real"] + terms["fake"]
        if loss.penalised and self.settings.gradient_penalty:
            terms["penalty"] = gradient_penalty(
                lambda seen: _mean([scale[-1].mean((1, 2, 3), True) for scale in network(seen)]),
                seen_real,
                seen_fake,
                weight=self.settings.gradient_penalty,
                generator=torch.default_generator,
            )
            total = total + terms["penalty"]
        terms["accuracy"] = _mean(
            [
                discriminator_accuracy(real, fake, threshold=loss.threshold)
                for real, fake in zip(real_logits, fake_logits, strict=True)
            ]
        )
        total = total * self.settings.discriminator_scale
        return total, {**terms, "total": total}

    def generator(
        self,
        judges: Sequence[tuple[Discriminator, bool]],
        source: Tensor,
        target: Tensor,
        fake: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the generator's loss and its terms, unweighted.

        Args:
            judges: each discriminator with whether it sees the source; they share the
                adversarial weight equally.
            source, target, fake: N x C x H x W in [-1, 1]; `fake` with its graph.
        """
        settings = self.settings
        terms: dict[str, Tensor] = {}
        total = fake.new_zeros(())
        if judges and settings.gan_weight:
            loss = GAN_LOSSES[settings.gan]
            verdicts = []
            for network, conditional in judges:
                scales = network(self._seen(source, fake, conditional=conditional))
                verdicts.append(_mean([loss.g(scale[-1]) for scale in scales]))
            terms["gan"] = _mean(verdicts)
            total = total + settings.gan_weight * terms["gan"]
        if settings.l1:
            terms["l1"] = l1(fake, target)
            total = total + settings.l1 * terms["l1"]
        if settings.l2:
            terms["l2"] = l2(fake, target)
            total = total + settings.l2 * terms["l2"]
        return total, {**terms, "total": total}


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean(0)
