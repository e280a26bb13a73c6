"""What a table is: cells that differ in some settings, and what was published of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from limner.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,-]{0,99}")


@dataclass(frozen=True)
class Published:
    """A figure as its source prints it; `note` says where it differs from what is measured here."""

    what: str
    value: float
    note: str = ""


@dataclass(frozen=True)
class Early:
    """A measurement on the way: after `epochs` of the `of` that the published training had.

    It stands for a training of that length, which it equals where nothing depends on the length
    (`check_early`).
    """

    epochs: int
    of: int
    published: tuple[Published, ...] = ()

    def step(self, steps: int) -> int:
        """Return the step of a training of `steps` at which to measure."""
        return max(1, round(steps * self.epochs / self.of))


@dataclass(frozen=True)
class Cell:
    """One training of a table: what it changes (`key=value`, as for --set) and what is known.

    Raises:
        ConfigError: the name would not do as a folder's.
    """

    name: str
    overrides: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    about: str = ""
    early: tuple[Early, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"a cell cannot be named {self.name!r}, since it names a folder: use letters, "
                "digits and . _ + = , -, at most 100, a letter or digit first"
            )

    @property
    def keys(self) -> list[str]:
        """The keys that it sets."""
        return [override.partition("=")[0].strip() for override in self.overrides]


@dataclass(frozen=True)
class Table:
    """Cells that begin with one preset and are trained for as long.

    `common` are settings of every cell. `epochs` holds the length of the trainings for each scale
    (`scales.SCALES`): the one place that decides what a cell costs. `metrics` is empty where those
    are taken that the weights at hand allow, and `seeds` where the command decides.
    """

    title: str
    source: str
    preset: str
    cells: tuple[Cell, ...]
    common: tuple[str, ...] = ()
    epochs: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    metrics: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
