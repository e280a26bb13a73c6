"""Another project's checkpoint becomes a run: to translate, evaluate and train further with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from limner.config import Config, replace, resolved, to_yaml
from limner.errors import CheckpointError, ConfigError
from limner.files import append_line, read_yaml, replacing_folder, write_text
from limner.networks import count_parameters
from limner.networks.pretrained import sha256
from limner.presets import PRESETS, preset
from limner.training.checkpoint import write_first
from limner.training.state import build_state
from limner.transfer.importing import (
    find,
    from_project,
    network_settings,
    run_settings,
    shown_options,
    state_dict_of,
)
from limner.transfer.project import Options
from limner.transfer.reading import read_state


def import_as_run(
    file: Path,
    *,
    project: str,
    out: Path,
    options: Sequence[str] = (),
    discriminator: Path | None = None,
    encoder: Path | None = None,
    direction: Literal["AtoB", "BtoA"] | None = None,
) -> dict[str, Any]:
    """Write a run at step 0 that holds another project's networks.

    Args:
        file: the generator's weights.
        project: a name of `PROJECTS`.
        out: the run's folder; new or empty.
        options: `name=value` in that project's own words; what the file shows of itself need
            not be given. What says how many channels are classes or edges goes to both networks.
        discriminator: its weights; without, the run begins with a new one.
        encoder: the weights of what tells the generator a picture's style: SPADE's net_E of a VAE,
            pix2pixHD's of instances' features.
        direction: in which it translates data whose sides are called A and B; None leaves it to
            the data.

    Returns:
        What was written: network, keywords, parameters and the options they came from. The run's
        log says the same, with the files' names and SHA-256.

    Raises:
        ConfigError: an unknown project or option. CheckpointError: a file cannot be read, does
            not fit the options or the generator, or `out` is in use.
    """
    from lightning_fabric import Fabric

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} is not an empty folder: give a new one as --out")
    said = dict(_option(text) for text in options)
    architecture = shown_options(file, project, "generator") | said
    style = None if encoder is None else read_encoder(encoder, project)
    if style is not None:
        style.check(file, architecture)
        architecture |= style.asks
    weights = state_dict_of(file, project=project, role="generator", **architecture)
    name, keywords = network_settings(project, "generator", **architecture)
    around = run_settings(project, None if style is None else style.keywords, **architecture)
    if direction is not None:
        around["data.direction"] = direction
    config = _config(project, name, keywords, around, style)
    discriminator_weights = None
    if discriminator is not None:
        seen = shown_options(discriminator, project, "discriminator")
        discriminator_weights = state_dict_of(
            discriminator, project=project, role="discriminator", **seen
        )
        config = _with_discriminator(config, *network_settings(project, "discriminator", **seen))

    state = build_state(config, Fabric(accelerator="cpu", devices=1))
    state.generator.plain.load_state_dict(weights)
    if style is not None and state.encoder is not None:
        state.encoder.plain.load_state_dict(style.weights)
    if discriminator_weights is not None:
        state.discriminators[0].plain.load_state_dict(discriminator_weights)
    files = {"generator": file, "discriminator": discriminator, "encoder": encoder}
    event = {
        "event": "import",
        "step": 0,
        "project": project,
        "direction": direction,
        "options": architecture,
        "files": {
            role: {"name": path.name, "sha256": sha256(path)}
            for role, path in files.items()
            if path is not None
        },
    }
    with replacing_folder(out) as run:
        write_text(run / "config.yaml", to_yaml(config))
        write_first(state, run)
        append_line(run / "log.jsonl", json.dumps(event))
    return {
        "run": str(out),
        "project": project,
        "direction": direction,
        "network": name,
        "keywords": keywords,
        "parameters": count_parameters(state.generator.plain),
        "encoder": None if style is None else {"network": style.name, **style.keywords},
        "options": architecture,
    }


def _option(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"--option {text}: write it as name=value, such as netG=unet_256")
    return name.strip(), read_yaml(value, f"--option {text}")


def _config(
    project: str,
    name: str,
    keywords: dict[str, Any],
    around: dict[str, Any],
    encoder: Encoder | None,
) -> Config:
    """Return the settings of a run around the networks, otherwise those of the project's preset."""
    known = find(project)
    usual = known.preset if encoder is None else known.encoder_preset
    base = preset(usual if usual in PRESETS else "pix2pix")
    written = {
        "preset": "imported",
        "generator": _section(name, keywords),
        # All at once: each key by itself could contradict the preset's others.
        "data": base.data.model_dump(mode="json") | {"load_size": None, "labels": None},
        "encoder": None if encoder is None else _section(encoder.name, encoder.keywords),
    }
    for key, value in around.items():
        part, _, leaf = key.partition(".")
        written.setdefault(part, getattr(base, part).model_dump(mode="json"))[leaf] = value
    return resolved(replace(base, written))


def _section(name: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """Return a network's section of a configuration; its channels follow from the data's."""
    section = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in keywords.items()
        if not key.endswith("_channels")
    }
    return {"name": name, **section}


def _with_discriminator(config: Config, name: str, keywords: dict[str, Any]) -> Config:
    section = {key: value for key, value in keywords.items() if key != "in_channels"}
    # The generator's channels decide whether it was shown the source.
    seen = config.source_channels + config.data.channels[1]
    section["conditional"] = keywords["in_channels"] == seen
    return replace(config, {"discriminators": [{"name": name, **section}]})


@dataclass(frozen=True)
class Encoder:
    """An encoder that another project trained, beside its generator."""

    file: Path
    name: str
    """Our network's name, a key of `networks.ENCODERS`."""
    keywords: Options
    weights: dict[str, Tensor]
    """Under our names."""
    asks: Options
    """What it makes true of the generator, in that project's words."""

    def check(self, generator: Path, options: Options) -> None:
        """Refuse a generator that was not trained with such an encoder.

        Args:
            generator: its file.
            options: what is known of it, shown by the file or said by the user.

        Raises:
            CheckpointError: with the option that differs.
        """
        for name, value in self.asks.items():
            if options.get(name, value) != value:
                raise CheckpointError(
                    f"{self.file} is for a generator with {name} {value}, and {generator} has "
                    f"{name} {options[name]}: give the encoder that was trained with it, or leave "
                    "it out"
                )


def read_encoder(file: Path, project: str) -> Encoder:
    """Read another project's encoder; the file shows all of its options.

    Raises:
        ConfigError: an unknown project, or one without encoders.
        CheckpointError: the file cannot be read, or holds something else.
    """
    known = find(project)
    if known.asked_by_encoder is None:
        raise ConfigError(f"{project} has no encoders: leave {file} out")
    options = shown_options(file, project, "encoder")
    name, keywords = network_settings(project, "encoder", **options)
    state = read_state(file, "encoder")
    weights = from_project(state, project=project, role="encoder", origin=str(file), **options)
    asks = known.asked_by_encoder(known.complete("encoder", options))
    return Encoder(file, name, keywords, weights, asks)
