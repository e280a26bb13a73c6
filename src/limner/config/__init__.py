"""Typed, frozen, strict configuration: what a run does, complete and resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError, model_validator

from limner.config.networks import (
    DiscriminatorSettings,
    EncoderSettings,
    FeatureEncoderSettings,
    GeneratorSettings,
    MultiscaleSettings,
    PatchSettings,
    Pix2PixHDLocalSettings,
    Pix2PixHDSettings,
    PixelSettings,
    ResNetSettings,
    SPADEEncoderSettings,
    SPADESettings,
    UNetSettings,
)
from limner.config.objective import ObjectiveSettings
from limner.config.overrides import Known, explain, known_keys, parse_overrides, placed
from limner.config.together import (
    check_coarse_to_fine,
    check_features,
    check_objective,
    check_updates,
)
from limner.config.training import (
    SEGMENTATION,
    InferenceSettings,
    TrainingSettings,
    ValidationSettings,
)
from limner.data.settings import DataSettings, LabelSettings
from limner.errors import ConfigError
from limner.settings import Section

__all__ = [
    "Config",
    "DataSettings",
    "FeatureEncoderSettings",
    "InferenceSettings",
    "LabelSettings",
    "MultiscaleSettings",
    "ObjectiveSettings",
    "PatchSettings",
    "Pix2PixHDLocalSettings",
    "Pix2PixHDSettings",
    "PixelSettings",
    "ResNetSettings",
    "SPADEEncoderSettings",
    "SPADESettings",
    "TrainingSettings",
    "UNetSettings",
    "ValidationSettings",
    "differences",
    "documented_keys",
    "parse_overrides",
    "read_config",
    "replace",
    "to_yaml",
    "with_overrides",
]


class Config(Section):
    """Everything that decides what a run computes."""

    preset: str
    """The preset that the run began with."""
    seed: int = 0
    """Decides initial weights, order of the data, augmentation and dropout."""
    data: DataSettings = DataSettings()
    """How pairs are found and prepared."""
    generator: GeneratorSettings = UNetSettings()
    """The network that translates."""
    discriminators: tuple[DiscriminatorSettings, ...] = (PatchSettings(),)
    """The networks that judge; an empty list trains without an adversary."""
    encoder: EncoderSettings | None = None
    """A network that tells the generator the style of a picture; nothing for none."""
    objective: ObjectiveSettings = ObjectiveSettings()
    """What the networks are asked for."""
    training: TrainingSettings = TrainingSettings()
    """How long, how fast, in what precision."""
    validation: ValidationSettings = ValidationSettings()
    """What is measured on held-out pairs during training."""
    inference: InferenceSettings = InferenceSettings()
    """How the generator is used once trained."""

    @property
    def source_channels(self) -> int:
        """Channels of a source as networks take it: those of the expanded map, where it is one."""
        labels = self.data.labels
        return self.data.channels[0] if labels is None else labels.channels

    @property
    def input_channels(self) -> int:
        """Channels of a generator's input: the source's, and the features that an encoder adds."""
        features = self.encoder.features if isinstance(self.encoder, FeatureEncoderSettings) else 0
        return self.source_channels + features

    @property
    def expansion(self) -> dict[str, Any]:
        """The keywords of `limner.data.network_input`: none where sources are pictures."""
        return {} if self.data.labels is None else self.data.labels.expansion

    @property
    def uses_instances(self) -> bool:
        """Whether samples carry instance maps beside their label maps."""
        labels, features = self.data.labels, isinstance(self.encoder, FeatureEncoderSettings)
        return labels is not None and (bool(labels.edges) or features)

    @model_validator(mode="after")
    def _contradictions(self) -> Config:
        height, width = self.data.size
        load = self.data.load_size
        if load and self.data.mode == "resize_crop" and (load[0] < height or load[1] < width):
            raise ValueError(
                f"data.load_size={list(load)} is smaller than data.size={[height, width]}, which "
                "is cropped from it: raise data.load_size or set data.mode=resize"
            )
        check_objective(
            self.objective,
            self.encoder,
            discriminators=len(self.discriminators),
            target_channels=self.data.channels[1],
        )
        check_features(self.encoder, self.data.labels)
        check_coarse_to_fine(self.training, self.generator)
        check_updates(self.training)
        figures = (*self.validation.metrics, *(SEGMENTATION if self.validation.seg else ()))
        if self.validation.best and self.validation.best not in figures:
            raise ValueError(
                f"validation.best={self.validation.best} is not among validation.metrics: add it"
            )
        if self.generator.multiple is not None:
            _check_divisible(self.data, self.generator.multiple)
        if isinstance(self.encoder, FeatureEncoderSettings):
            _check_divisible(self.data, 2**self.encoder.downs)
        _check_style(self.generator, self.encoder)
        for index, discriminator in enumerate(self.discriminators):
            if isinstance(discriminator, PatchSettings) and min(height, width) < (
                discriminator.smallest
            ):
                raise ValueError(
                    f"discriminators.{index}.layers={discriminator.layers} leaves no patch of a "
                    f"{height}x{width} picture: lower it or raise data.size"
                )
        return self


def _check_divisible(data: DataSettings, multiple: int) -> None:
    if data.mode == "none":
        return  # sizes are the files' own; the scan of the data set looks at each
    for side in data.size:
        if side % multiple:
            near = max(multiple, round(side / multiple) * multiple)
            raise ValueError(
                f"data.size={list(data.size)} does not divide by {multiple}, which this generator "
                f"needs in training: set data.size={near} or let the generator halve less often"
            )


def _check_style(generator: GeneratorSettings, encoder: EncoderSettings | None) -> None:
    latent = generator.latent if isinstance(generator, SPADESettings) else 0
    if isinstance(encoder, SPADEEncoderSettings) and encoder.latent != latent:
        raise ValueError(
            f"encoder.latent={encoder.latent} is not what the generator takes, {latent}: give a "
            f"generator named spade and set generator.latent={encoder.latent}"
        )


def _validated(settings: dict[str, Any], *, origin: str) -> Config:
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(explain(error, known_keys(Config), origin=origin)) from None


def replace(config: Config, changes: Mapping[str, object]) -> Config:
    """Return `config` with the values of some keys replaced, validated again.

    Args:
        config: the settings to begin from; they stay as they are.
        changes: dotted keys (`training.lr`, `discriminators.0.width`) and their new values, in
            order. Changing the name of a network gives it that network's own defaults.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a wrong value, a contradiction.
    """
    if not changes:
        return config
    settings = placed(config.model_dump(mode="json"), changes, known_keys(Config))
    return _validated(settings, origin="the settings")


def with_overrides(config: Config, overrides: Iterable[str]) -> Config:
    """Return `config` with `key=value` texts applied; goes as soon as nobody calls it."""
    return replace(config, parse_overrides(overrides))


def to_yaml(config: Config) -> str:
    """Return the complete configuration as YAML that `read_config` reads back equal."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def read_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        ConfigError: it is missing, not YAML, or holds unknown keys or wrong values.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: a run's folder holds its config.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} holds no configuration: expected keys such as preset and data")
    return _validated(settings, origin=str(path))


def _flat(settings: object, prefix: str = "") -> dict[str, object]:
    if isinstance(settings, dict) and settings:
        items = settings.items()
    elif isinstance(settings, list) and settings and isinstance(settings[0], dict):
        items = ((str(index), value) for index, value in enumerate(settings))
    else:
        return {prefix[:-1]: settings}
    flat: dict[str, object] = {}
    for key, value in items:
        flat |= _flat(value, f"{prefix}{key}.")
    return flat


def differences(old: Config, new: Config) -> dict[str, tuple[object, object]]:
    """Return the dotted keys whose values differ, each with the old and the new value."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = dict.fromkeys([*before, *after])
    return {
        key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)
    }


def documented_keys() -> list[Known]:
    """Return every key with its default and meaning, in the order of the sections."""
    return list(known_keys(Config).values())
