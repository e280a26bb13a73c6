"""What the networks are asked for: which losses, with which weights, of which discriminators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
    taken_for_real,
)
from limner.networks.normalisation import BatchNorm2d, held_vectors, in_parts
from limner.objective.augment import AUGMENTATIONS, Drawn, draw
from limner.objective.perceptual import INPUTS, Perceptual, make_perceptual

__all__ = [
    "AUGMENTATIONS",
    "INPUTS",
    "Objective",
    "Perceptual",
    "draw",
    "make_perceptual",
]

Discriminator = Callable[[Tensor], list[list[Tensor]]]


@dataclass(frozen=True)
class Objective:
    """The losses of one training: which, with which weights.

    All that is drawn comes from PyTorch's own generators, which a step seeds.

    Args:
        gan: the adversarial loss, a key of `losses.GAN_LOSSES`.
        gan_weight, l1, l2, vgg, feature_matching, kl: weights of the terms of the generator's
            loss; a term of weight 0 is not computed.
        discriminator_scale: factor on each discriminator's loss.
        gradient_penalty: weight of the penalty of losses that have one (wgan-gp).
        real_label: what the discriminator is told of real pictures.
        instance_noise: standard deviation of the noise added to all that discriminators see.
        scales: whether the terms of a discriminator's scales are averaged ("mean") or added
            ("sum").
        feature_layers: how the layers' distances of a scale add up in `feature_matching`: "mean"
            (4 times it, as pix2pixHD) or "sum" (SPADE).
        r1, r1_every: weight of the gradient penalty on real pictures, and the steps between.
        augment: keys of `AUGMENTATIONS`, done to all that discriminators see.
        perceptual: what `vgg` weighs, made by `make_perceptual`.
    """

    gan: str = "vanilla"
    gan_weight: float = 1.0
    l1: float = 100.0
    l2: float = 0.0
    discriminator_scale: float = 0.5
    gradient_penalty: float = 10.0
    real_label: float = 1.0
    instance_noise: float = 0.0
    scales: str = "mean"
    feature_matching: float = 0.0
    feature_layers: str = "mean"
    vgg: float = 0.0
    kl: float = 0.0
    r1: float = 0.0
    r1_every: int = 1
    augment: tuple[str, ...] = ()
    perceptual: Perceptual | None = None

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term of the generator's loss that counts."""
        terms = ("gan", "feature_matching", "l1", "l2", "vgg", "kl")
        weights = {term: getattr(self, "gan_weight" if term == "gan" else term) for term in terms}
        return {term: weight for term, weight in weights.items() if weight}

    def _seen(self, source: Tensor, picture: Tensor, drawn: Drawn, *, conditional: bool) -> Tensor:
        """Return what a discriminator sees: the picture, with the source before it, with noise."""
        seen = drawn(picture, source if conditional else None)
        if self.instance_noise:
            seen = seen + self.instance_noise * torch.randn_like(seen)
        return seen

    def _drawn(self, count: int) -> Drawn:
        return draw(self.augment, count, generator=torch.default_generator)

    def _over_scales(self, values: Sequence[Tensor]) -> Tensor:
        if self.scales == "mean" or len(values) == 1:
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
        loss = GAN_LOSSES[self.gan]
        drawn_fake, drawn_real = self._drawn(len(fake)), self._drawn(len(target))
        seen_fake = self._seen(source, fake, drawn_fake, conditional=conditional)
        seen_real = self._seen(source, target, drawn_real, conditional=conditional)
        fake_logits, real_logits = _logits_of_both(network, seen_fake, seen_real)
        real = [loss.d_real(scale, self.real_label) for scale in real_logits]
        terms = {
            "real": self._over_scales(real),
            "fake": self._over_scales([loss.d_fake(scale) for scale in fake_logits]),
        }
        total = terms["real"] + terms["fake"]
        if loss.penalised and self.gradient_penalty and step is not None:
            terms["penalty"] = gradient_penalty(
                lambda seen: self._over_scales(
                    [scale.mean((1, 2, 3), True) for scale in _logits(network(seen))]
                ),
                seen_real,
                seen_fake,
                weight=self.gradient_penalty,
                generator=torch.default_generator,
            )
            total = total + terms["penalty"]
        if self.r1 and step is not None and step % self.r1_every == 0:

            def logits_of(picture: Tensor) -> list[Tensor]:
                seen = self._seen(source, picture, drawn_real, conditional=conditional)
                return _logits(network(seen))

            terms["r1"] = self._over_scales(r1(logits_of, target))
            # Seldom and as much heavier: Karras et al. 2020 (StyleGAN2), section 3.1.
            total = total + self.r1 * self.r1_every * terms["r1"]
        terms["accuracy"] = _mean(
            [
                discriminator_accuracy(real, fake, threshold=loss.threshold)
                for real, fake in zip(real_logits, fake_logits, strict=True)
            ]
        )
        if loss.threshold is not None:
            shares = [
                _mean([taken_for_real(scale, threshold=loss.threshold) for scale in logits])
                for logits in (real_logits, fake_logits)
            ]
            terms["accuracy_real"], terms["accuracy_fake"] = shares[0], 1 - shares[1]
        total = total * self.discriminator_scale
        return total, {**terms, "total": total}

    def generator(
        self,
        discriminators: Sequence[tuple[Discriminator, bool]],
        source: Tensor,
        target: Tensor,
        fake: Tensor,
        *,
        weights: Sequence[float] | None = None,
        style: tuple[Tensor, Tensor] | None = None,
        weight: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the generator's loss and its terms, unweighted.

        Args:
            discriminators: each with whether it sees the source; the weight of feature
                matching they share equally.
            source, target, fake: N x C x H x W in [-1, 1]; `fake` with its graph.
            weights: of each discriminator's adversarial term in their sum (Asher, Bechhofer and
                Berman, equation 1, for two); None for their mean.
            style: mean and log variance, N x L, of the encoder whose style `fake` has.
            weight: how much each pixel counts in the reconstruction losses (l1, l2, vgg),
                N x 1 x H x W, from `losses.mask_weights`; None for all alike.
        """
        terms: dict[str, Tensor] = {}
        if discriminators and (self.gan_weight or self.feature_matching):
            adversarial, distances = self._adversarial(discriminators, source, target, fake)
            if self.gan_weight:
                terms["gan"] = _mean(adversarial) if weights is None else _sum(adversarial, weights)
            if self.feature_matching:
                terms["feature_matching"] = _mean(distances)
        if self.l1:
            terms["l1"] = l1(fake, target, weight)
        if self.l2:
            terms["l2"] = l2(fake, target, weight)
        if self.vgg:
            if self.perceptual is None:
                raise ConfigError("objective.vgg is set, but no perceptual loss was made for it")
            terms["vgg"] = self.perceptual(fake, target, weight)
        if style is not None:
            terms["kl"] = kl_divergence(*style)
        total = fake.new_zeros(())
        for name, value in terms.items():
            total = total + self.weights.get(name, 0.0) * value
        return total, {**terms, "total": total}

    def _adversarial(
        self,
        discriminators: Sequence[tuple[Discriminator, bool]],
        source: Tensor,
        target: Tensor,
        fake: Tensor,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return each discriminator's adversarial term, and its distance of features if weighed."""
        loss = GAN_LOSSES[self.gan]
        adversarial, distances = [], []
        for network, conditional in discriminators:
            drawn = self._drawn(len(fake))
            scales = network(self._seen(source, fake, drawn, conditional=conditional))
            adversarial.append(self._over_scales([loss.g(logits) for logits in _logits(scales)]))
            if self.feature_matching:
                with torch.no_grad():  # under the same draw, or features would not correspond
                    seen = self._seen(source, target, drawn, conditional=conditional)
                    with held_vectors(network):  # both pictures under the same weights
                        real_features = network(seen)
                distances.append(
                    feature_matching(scales, real_features, layers=self.feature_layers)
                )
        return adversarial, distances


def _logits_of_both(
    network: Discriminator, fake: Tensor, real: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the logits of both, from one pass but where that would mix their statistics.

    One pass is one power iteration of a spectral norm, as in SPADE. The fake pictures come first,
    as in the reference: with batch norm the order decides the running statistics.
    """
    if not isinstance(network, nn.Module) or any(map(_mixes, network.modules())):
        return _logits(network(fake)), _logits(network(real))
    with in_parts(network, 2):
        both = [logits.chunk(2) for logits in _logits(network(torch.cat([fake, real])))]
    return [fake for fake, _ in both], [real for _, real in both]


def _mixes(layer: nn.Module) -> bool:
    """Whether a layer would mix the statistics of two batches given at once."""
    batch_norm = nn.modules.batchnorm._BatchNorm
    return isinstance(layer, batch_norm) and not isinstance(layer, BatchNorm2d)


def _logits(scales: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [layers[-1] for layers in scales]


def _sum(values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    weighted = [weight * value for weight, value in zip(weights, values, strict=True)]
    return torch.stack(weighted).sum(0)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean(0)
