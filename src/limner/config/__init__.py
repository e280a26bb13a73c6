"""Typed, frozen, strict configuration: what a run does, complete and resolved.

Settings are values: the program changes them with `replace`. Text is read in two places only, a
run's config.yaml (`read_config`) and `--set` (`parse_overrides`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field, ValidationError, model_validator

from limner.config.keys import Known, explain, known_keys, parse_overrides, placed
from limner.config.sections import (
    SEGMENTATION,
    InferenceSettings,
    ObjectiveSettings,
    TrainingSettings,
    ValidationSettings,
)
from limner.data.data_settings import DataSettings, LabelSettings
from limner.errors import ConfigError
from limner.files import read_text, read_yaml, yaml_text
from limner.networks import (
    DISCRIMINATORS,
    ENCODERS,
    GENERATORS,
    DiscriminatorSettings,
    EncoderSettings,
    GeneratorSettings,
    MultiscaleSettings,
    PatchSettings,
    SPADESettings,
    UNetSettings,
)
from limner.schedules import check_weights
from limner.settings import Section

__all__ = [
    "Config",
    "LabelSettings",
    "MultiscaleSettings",
    "ObjectiveSettings",
    "PatchSettings",
    "SPADESettings",
    "UNetSettings",
    "differences",
    "documented_keys",
    "parse_overrides",
    "read_config",
    "replace",
    "resolved",
    "to_yaml",
]

FORMAT = 2
"""The form of config.yaml; `MIGRATIONS` brings older ones here."""

if TYPE_CHECKING:
    AnyGenerator = GeneratorSettings
    AnyDiscriminator = DiscriminatorSettings
    AnyEncoder = EncoderSettings
else:  # one of those in a table, told apart by its name

    def _one_of(table: Mapping[str, type[Section]]) -> object:
        return Annotated[Union[tuple(table.values())], Field(discriminator="name")]  # noqa: UP007

    AnyGenerator = _one_of(GENERATORS)
    AnyDiscriminator = _one_of(DISCRIMINATORS)
    AnyEncoder = _one_of(ENCODERS)


class Config(Section):
    """Everything that decides what a run computes."""

    format: Literal[2] = FORMAT
    """The form of this file; older ones are read, too."""
    preset: str
    """The preset that the run began with."""
    seed: int = 0
    """Decides initial weights, order of the data, augmentation and dropout."""
    data: DataSettings = DataSettings()
    """How pairs are found and prepared."""
    generator: AnyGenerator = UNetSettings()
    """The network that translates."""
    discriminators: tuple[AnyDiscriminator, ...] = (PatchSettings(),)
    """The networks that tell real from generated; an empty list trains without an adversary."""
    encoder: AnyEncoder | None = None
    """A network that tells the generator the style of a picture; None for none."""
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
        return self.source_channels + (0 if self.encoder is None else self.encoder.maps)

    @property
    def expansion(self) -> dict[str, Any]:
        """The keywords of `limner.data.network_input`: none where sources are pictures."""
        return {} if self.data.labels is None else self.data.labels.expansion

    @property
    def uses_instances(self) -> bool:
        """Whether samples carry instance maps beside their label maps."""
        labels, encoder = self.data.labels, self.encoder
        return labels is not None and bool(labels.edges or (encoder and encoder.maps))

    @model_validator(mode="after")
    def _contradictions(self) -> Config:
        for check in (
            _check_sizes,
            _check_losses,
            _check_encoder,
            _check_weights,
            _check_training,
            _check_validation,
        ):
            check(self)
        return self


def _check_sizes(config: Config) -> None:
    data, (height, width) = config.data, config.data.size
    load = data.load_size
    if load and data.mode == "resize_crop" and (load[0] < height or load[1] < width):
        raise ValueError(
            f"data.load_size={list(load)} is smaller than data.size={[height, width]}, which "
            "is cropped from it: raise data.load_size or set data.mode=resize"
        )
    for network in (config.generator, config.encoder):
        multiple = None if network is None else network.multiple
        if multiple is None or data.mode == "none":
            continue  # sizes are the files' own; the scan of the data set looks at each
        for side in data.size:
            if side % multiple:
                near = max(multiple, round(side / multiple) * multiple)
                raise ValueError(
                    f"data.size={list(data.size)} does not divide by {multiple}, which this "
                    f"generator needs in training: set data.size={near} or let the generator "
                    "halve less often"
                )
    norm, multiple = config.generator.normalised, config.generator.multiple
    one = norm == "picture" or (norm == "batch" and config.training.batch_size == 1)
    if one and data.mode != "none" and multiple and data.size == (multiple, multiple):
        batch = "" if norm == "picture" else " or training.batch_size=2"
        raise ValueError(
            f"data.size={list(data.size)} leaves the generator's first map one pixel, which cannot "
            f"be normalised: set data.size={2 * multiple}{batch}"
        )
    for index, discriminator in enumerate(config.discriminators):
        if min(height, width) < discriminator.smallest:
            raise ValueError(
                f"discriminators.{index} needs pictures of at least {discriminator.smallest} "
                f"pixels a side, and data.size is {height}x{width}: lower "
                f"discriminators.{index}.layers or raise data.size"
            )


def _check_losses(config: Config) -> None:
    objective, count = config.objective, len(config.discriminators)
    if not (count or objective.l1 or objective.l2 or objective.vgg):
        raise ValueError(
            "nothing to learn from: give a discriminator, or a weight to objective.l1, .l2 or .vgg"
        )
    if objective.vgg and config.data.channels[1] != 3:
        raise ValueError(
            f"objective.vgg={objective.vgg} compares colour pictures, and data.channels gives the "
            f"target {config.data.channels[1]}: set objective.vgg=0"
        )
    if objective.feature_matching and not count:
        raise ValueError(
            f"objective.feature_matching={objective.feature_matching} compares features of "
            "discriminators, and there are none: add one, or set it to 0"
        )


def _check_encoder(config: Config) -> None:
    encoder, kl = config.encoder, config.objective.kl
    code = 0 if encoder is None else encoder.code
    if kl and not code:
        raise ValueError(
            f"objective.kl={kl} weighs a style code's distribution, and nothing makes "
            "one: set encoder.name=spade-encoder, or objective.kl=0"
        )
    if code and code != config.generator.code:
        raise ValueError(
            f"encoder.latent={code} is not what the generator takes, {config.generator.code}: give "
            f"a generator named spade and set generator.latent={code}"
        )
    if encoder is not None and encoder.maps and config.data.labels is None:
        raise ValueError(
            f"encoder.name={encoder.name} averages over instances, and sources are pictures: set "
            "data.labels={} for label maps with instance maps, or leave the encoder out"
        )


def _check_weights(config: Config) -> None:
    objective, count = config.objective, len(config.discriminators)
    if not count:
        if objective.weighting != "constant" or objective.weights or objective.weights_end:
            raise ValueError(
                "objective.weighting, .weights and .weights_end weigh discriminators, and there "
                "are none: leave them out, or add a discriminator"
            )
        return
    try:
        check_weights(
            objective.weighting,
            weights=objective.weights or (1 / count,) * count,
            end=objective.weights_end,
            count=count,
        )
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if objective.weighting == "adaptive" and objective.adaptive_floor > 1 / count:
        raise ValueError(
            f"objective.adaptive_floor={objective.adaptive_floor} is more than an equal share of "
            f"{count} discriminators: set at most {1 / count:g}"
        )


def _check_training(config: Config) -> None:
    training, generator = config.training, config.generator
    if training.update_order == "together":
        for key in ("discriminator_updates", "generator_updates"):
            if getattr(training, key) > 1:
                raise ValueError(
                    f"training.{key}={getattr(training, key)} repeats one network's update, and "
                    "training.update_order=together makes one of each at once: set it to 1, or "
                    "training.update_order=discriminator-first"
                )
    if training.fix_global and not generator.coarse_to_fine:
        raise ValueError(
            f"training.fix_global={training.fix_global} is for generator.name=pix2pixhd-local, and "
            f"this one is {generator.name}: leave it out, or choose that generator"
        )
    if training.fix_global and training.freeze:
        raise ValueError(
            f"training.fix_global={training.fix_global} decides for a while what learns, and so "
            f"does training.freeze={list(training.freeze)} throughout: leave one of them out"
        )
    usual = {"keep_optimizer": False, "l2_sp": 0, "statistics": "keep"}
    begun = {key: getattr(training, key) for key, value in usual.items()}
    begun = {key: value for key, value in begun.items() if value != usual[key]}
    if training.epochs == 0:
        begun["epochs"] = 0
    if begun and training.start_from is None:
        key, value = next(iter(begun.items()))
        raise ValueError(
            f"training.{key}={value} is for a training that goes on from another run, and this one "
            "begins anew: leave it out, or give --from RUN"
        )
    if training.discriminator_warmup and not config.discriminators:
        raise ValueError(
            f"training.discriminator_warmup={training.discriminator_warmup} lets discriminators "
            "learn alone, and there are none: set it to 0, or add one"
        )


def _check_validation(config: Config) -> None:
    validation = config.validation
    figures = (*validation.metrics, *(SEGMENTATION if validation.seg else ()))
    if validation.best and validation.best not in figures:
        raise ValueError(
            f"validation.best={validation.best} is not among validation.metrics: add it"
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


def to_yaml(config: Config) -> str:
    """Return the complete configuration as YAML that `read_config` reads back equal."""
    return yaml_text(config.model_dump(mode="json"))


def resolved(config: Config) -> Config:
    """Return `config` with everything filled in that follows from its other keys.

    Raises:
        ConfigError: a size or a field that cannot be had.
    """
    height, width = config.data.size
    changes: dict[str, object] = {}
    if config.data.load_size is None:
        changes["data.load_size"] = [round(height * 286 / 256), round(width * 286 / 256)]
    for key, value in config.generator.fitted(config.data.size).items():
        changes[f"generator.{key}"] = value
    for index, discriminator in enumerate(config.discriminators):
        for key, value in discriminator.fitted().items():
            changes[f"discriminators.{index}.{key}"] = value
    if config.training.discriminator_lr is None:
        changes["training.discriminator_lr"] = config.training.lr
    if config.training.discriminator_warmup is None and config.training.start_from is None:
        changes["training.discriminator_warmup"] = 0
    return replace(config, changes)


def _format_1(settings: dict[str, Any]) -> dict[str, Any]:
    """Before there was `format`: two keys had other names, and an encoder's optimizer went on."""
    generator, training = settings.get("generator"), settings.get("training")
    if isinstance(generator, dict) and "checkpointing" in generator:
        generator["activation_checkpointing"] = generator.pop("checkpointing")
    if isinstance(training, dict) and "capture" in training:
        training["cuda_graph"] = training.pop("capture")
    if isinstance(training, dict) and training.get("fix_global") and settings.get("encoder"):
        training.setdefault("reset_encoder", False)
    return settings


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _format_1}
"""What brings plain settings of each format to the next; a key they lack keeps its old meaning."""


def migrated(settings: dict[str, Any], *, origin: str) -> dict[str, Any]:
    """Return plain settings in today's format.

    Raises:
        ConfigError: they are of a format that this version does not know.
    """
    number = settings.get("format", 1)
    if type(number) is not int or not 1 <= number <= FORMAT:
        raise ConfigError(
            f"{origin} has format {number!r}, and this version reads 1 to {FORMAT}: use the "
            "version of Limner that wrote it, or a newer one"
        )
    for older in range(number, FORMAT):
        settings = MIGRATIONS[older](settings)
    return {**settings, "format": FORMAT}


def read_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        ConfigError: it is missing, not YAML, or holds unknown keys or wrong values.
    """
    try:
        settings = read_yaml(read_text(path, error=ConfigError), path)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: a run's folder holds its config.yaml") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} holds no configuration: expected keys such as preset and data")
    return _validated(migrated(settings, origin=str(path)), origin=str(path))


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
