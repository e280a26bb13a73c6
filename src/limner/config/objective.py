"""The keys of `objective`: what the networks are asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from limner.settings import Fraction, PositiveInt, Section, Weight

Augmentation = Literal["colour", "translation", "cutout"]


class ObjectiveSettings(Section):
    """What the networks are asked for."""

    gan: Literal["vanilla", "lsgan", "hinge", "wgan-gp"] = "vanilla"
    """The adversarial loss."""
    gan_weight: Weight = 1.0
    """Weight of the adversarial term in the generator's loss."""
    weighting: Literal["constant", "dynamic-1", "dynamic-2", "linear", "cosine", "adaptive"] = (
        "constant"
    )
    """How the weights of several discriminators in that term change from epoch to epoch."""
    weights: tuple[Weight, ...] | None = None
    """The weight of each discriminator at the start; nothing means equal shares of 1."""
    weights_end: tuple[Weight, ...] | None = None
    """Those of the last epoch, for linear and cosine."""
    adaptive_sharpness: Weight = 1.0
    """How far adaptive weights follow the discriminators' losses; 0 leaves them as they are."""
    adaptive_floor: Fraction = 0.1
    """The least share of a discriminator under adaptive weights."""
    l1: Weight = 100.0
    """Weight of the mean absolute difference."""
    l2: Weight = 0.0
    """Weight of the mean squared difference."""
    discriminator_scale: Annotated[float, Field(gt=0)] = 0.5
    """Factor on each discriminator's loss; pix2pix halves it to slow the discriminator."""
    gradient_penalty: Weight = 10.0
    """Weight of the penalty of wgan-gp; the others do not use it."""
    real_label: Annotated[float, Field(gt=0, le=1.5)] = 1.0
    """What the discriminator is told of real pictures (vanilla, lsgan); 0.9 softens it."""
    instance_noise: Weight = 0.0
    """Standard deviation of the noise added to all that the discriminators see."""
    scales: Literal["mean", "sum"] = "mean"
    """How the adversarial terms of a discriminator's scales add up: SPADE's mean, pix2pixHD's sum.

    Penalties and the discriminator's terms add up the same way; feature matching is a mean."""
    feature_matching: Weight = 0.0
    """Weight of the mean absolute difference of the discriminators' inner features."""
    vgg: Weight = 0.0
    """Weight of the perceptual loss; its classifier's weights are found, or fetched, beforehand."""
    vgg_network: Literal["vgg19", "vgg16"] = "vgg19"
    """The classifier of the perceptual loss."""
    vgg_taps: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    """Its layers that are compared."""
    vgg_weights: tuple[Weight, ...] = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
    """The weight of each of these layers."""
    vgg_input: Literal["raw", "imagenet"] = "raw"
    """What it is given: values in [-1, 1] as pix2pixHD and SPADE do, or normalised as trained."""
    kl: Weight = 0.0
    """Weight of the divergence of an encoder's distribution from the standard normal one."""
    r1: Weight = 0.0
    """Weight (gamma) of the discriminators' gradient penalty on real pictures."""
    r1_every: PositiveInt = 1
    """Steps between penalties r1, each then so many times as heavy; 16 saves most of its cost."""
    augment: tuple[Augmentation, ...] = ()
    """What is done to all that the discriminators see, against small sets being learnt by heart."""

    @model_validator(mode="after")
    def _contradictions(self) -> ObjectiveSettings:
        if len(self.vgg_taps) != len(self.vgg_weights):
            raise ValueError(
                f"objective.vgg_weights has {len(self.vgg_weights)} numbers for the "
                f"{len(self.vgg_taps)} layers of objective.vgg_taps: give one for each"
            )
        return self
