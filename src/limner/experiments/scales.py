"""At what size a table is run: as published, or small enough for a CPU."""

from __future__ import annotations

from collections.abc import Callable

from limner.config import Config
from limner.errors import unknown_name

SIDE, WIDTH = 128, 32


def _cpu(config: Config) -> list[str]:
    """Half the side and half the width of every network: some eighth of the work."""
    return [
        f"data.size={SIDE}",
        "data.load_size=null",
        f"generator.width={WIDTH}",
        "generator.depth=null",
        *(f"discriminators.{k}.width={WIDTH}" for k in range(len(config.discriminators))),
        "training.precision=32-true",
        # Pictures by the running average: a constant rate leaves every cell with noise of its own,
        # which at a twentieth of the steps would hide the differences between them.
        "training.ema=0.9998",
        "training.checkpoint_every=2",
    ]


SCALES: dict[str, Callable[[Config], list[str]]] = {
    "paper": lambda config: [],
    "cpu": _cpu,
}
"""The settings that a scale adds to a cell's; a table's `epochs` gives the length beside them."""


def scaled(config: Config, scale: str) -> list[str]:
    """Return the settings of `scale` for a cell.

    Raises:
        ConfigError: no scale has that name.
    """
    if scale not in SCALES:
        raise unknown_name("scale", scale, SCALES)
    return SCALES[scale](config)
