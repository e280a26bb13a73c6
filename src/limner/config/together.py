"""What losses and training ask of the other sections of a configuration."""

from __future__ import annotations

from limner.config.networks import EncoderSettings, GeneratorSettings
from limner.config.objective import ObjectiveSettings
from limner.config.pix2pixhd import FeatureEncoderSettings, Pix2PixHDLocalSettings
from limner.config.spade import SPADEEncoderSettings
from limner.config.training import TrainingSettings
from limner.data.settings import LabelSettings


def check_objective(
    objective: ObjectiveSettings,
    encoder: EncoderSettings | None,
    *,
    discriminators: int,
    target_channels: int,
) -> None:
    """Refuse losses without what they compare.

    Raises:
        ValueError: with the cure, as validators have it.
    """
    if not (discriminators or objective.l1 or objective.l2 or objective.vgg):
        raise ValueError(
            "nothing to learn from: give a discriminator, or a weight to objective.l1, .l2 or .vgg"
        )
    if objective.vgg and target_channels != 3:
        raise ValueError(
            f"objective.vgg={objective.vgg} compares colour pictures, and data.channels gives the "
            f"target {target_channels}: set objective.vgg=0"
        )
    if objective.feature_matching and not discriminators:
        raise ValueError(
            f"objective.feature_matching={objective.feature_matching} compares features of "
            "discriminators, and there are none: add one, or set it to 0"
        )
    if objective.kl and not isinstance(encoder, SPADEEncoderSettings):
        raise ValueError(
            f"objective.kl={objective.kl} weighs a style code's distribution, and nothing makes "
            "one: set encoder.name=spade-encoder, or objective.kl=0"
        )


def check_features(encoder: EncoderSettings | None, labels: LabelSettings | None) -> None:
    """Refuse features of instances where there are none.

    Raises:
        ValueError: with the cure.
    """
    if isinstance(encoder, FeatureEncoderSettings) and labels is None:
        raise ValueError(
            "encoder.name=features averages over instances, and sources are pictures: set "
            "data.labels={} for label maps with instance maps, or leave the encoder out"
        )


def check_updates(training: TrainingSettings) -> None:
    """Refuse several updates of networks that are updated together.

    Raises:
        ValueError: with the cure.
    """
    if training.update_order == "discriminator-first":
        return
    for key in ("discriminator_updates", "generator_updates"):
        if getattr(training, key) > 1:
            raise ValueError(
                f"training.{key}={getattr(training, key)} repeats one network's update, and "
                "training.update_order=together makes one of each at once: set it to 1, or "
                "training.update_order=discriminator-first"
            )


def check_coarse_to_fine(training: TrainingSettings, generator: GeneratorSettings) -> None:
    """Refuse what only enhancers around a global generator can do.

    Raises:
        ValueError: with the cure.
    """
    if isinstance(generator, Pix2PixHDLocalSettings):
        return
    for key, value in (
        ("start_from", training.start_from),
        ("fix_global", training.fix_global),
    ):
        if value:
            raise ValueError(
                f"training.{key}={value} is for generator.name=pix2pixhd-local, and this one is "
                f"{generator.name}: leave it out, or choose that generator"
            )
