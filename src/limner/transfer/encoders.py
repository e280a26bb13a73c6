"""The encoders of other projects: what tells their generators the style of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from limner.errors import CheckpointError, ConfigError
from limner.transfer.importing import from_project, network_settings, shown_options
from limner.transfer.options import Options
from limner.transfer.projects import find
from limner.transfer.reading import read_state


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
    state = read_state(file)
    weights = from_project(state, project=project, role="encoder", origin=str(file), **options)
    asks = known.asked_by_encoder(known.complete("encoder", options))
    return Encoder(file, name, keywords, weights, asks)
