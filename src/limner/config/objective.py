"""The keys of `objective`: what the networks are asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from limner.config.base import Section, Weight


class ObjectiveSettings(Section):
    """What the networks are asked for."""

    gan: Literal["vanilla", "lsgan", "hinge", "wgan-gp"] = "vanilla"
    """The adversarial loss."""
    gan_weight: Weight = 1.0
    """Weight of the adversarial term in the generator's loss."""
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
