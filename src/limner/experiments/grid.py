"""A grid of one's own: a YAML file of settings, cells or axes, seeds and metrics, as a `Table`.

title: How wide, and how joined       # optional, as are note and source
preset: pix2pix-small
set: {data.direction: BtoA, training.epochs: 10}
axes:                                 # every combination is a cell; or name the cells:
  generator.width: [16, 32]           #   cells:
  generator.skips: [concat, add]      #     wide: {generator.width: 64}
seeds: 2
metrics: [l1, ssim]
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.errors import ConfigError, LimnerError, unknown_name
from limner.evaluation.metrics import chosen
from limner.experiments.tables import TABLES, Cell, Table, cell_config
from limner.files import read_text, read_yaml

KEYS = ("title", "source", "note", "preset", "set", "cells", "axes", "seeds", "metrics")
MOST_CELLS = 1000
DECIDED = {"seed": "give seeds", "data.root": "the command names the data set"}
"""Keys that the experiment itself decides, and what to do instead."""


def find_table(name: str) -> tuple[str, Table, bool]:
    """Return an experiment's own name, its table, and whether it is a grid of the user's.

    Raises:
        ConfigError: no table has that name and no file is there, or the grid is wrong.
    """
    if name in TABLES:
        return name, TABLES[name], False
    path = Path(name)
    if path.suffix.lower() in (".yaml", ".yml"):
        return path.stem, read_grid(path), True
    raise unknown_name("experiment", name, [*TABLES, "a grid's YAML file"])


def read_grid(path: Path) -> Table:
    """Read a grid; every cell's settings are validated.

    Raises:
        ConfigError: the file is missing, is no YAML, or asks for something that there is not; the
            message names the file, the cell and the cure.
    """
    try:
        grid = read_yaml(read_text(path, error=ConfigError), path)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: name a grid's YAML file, or a table") from None
    if not isinstance(grid, dict):
        raise ConfigError(f"{path} holds no grid: expected keys such as preset and cells or axes")
    for key in grid:
        if key not in KEYS:
            raise ConfigError(f"{path}: {unknown_name('key', str(key), KEYS)}")
    try:
        table = Table(
            title=str(grid.get("title", path.stem)),
            source=str(grid.get("source", "")),
            note=str(grid.get("note", "")),
            preset=_preset(grid),
            common=_changes(grid.get("set") or {}, where="set"),
            cells=_cells(grid),
            seeds=_seeds(grid.get("seeds")),
            metrics=_metrics(grid.get("metrics")),
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    for cell in table.cells:
        try:
            cell_config(table, cell, scale="")
        except LimnerError as error:
            raise ConfigError(f"{path}, cell {cell.name}: {error}") from None
    return table


def _preset(grid: Mapping[str, Any]) -> str:
    if not isinstance(grid.get("preset"), str):
        raise ConfigError("it names no preset to begin with: add preset (`limner presets` lists)")
    return grid["preset"]


def _changes(settings: object, *, where: str) -> dict[str, object]:
    if not isinstance(settings, dict):
        raise ConfigError(f"{where} must map keys to values, such as training.lr: 1e-4")
    for key in settings:
        if key in DECIDED:
            raise ConfigError(
                f"{where} sets {key}, which the experiment decides: leave it out ({DECIDED[key]})"
            )
    return {str(key): value for key, value in settings.items()}


def _cells(grid: Mapping[str, Any]) -> tuple[Cell, ...]:
    named, axes = grid.get("cells"), grid.get("axes")
    if (named is None) == (axes is None):
        raise ConfigError(
            "give either cells, each with its settings, or axes, each with its values"
        )
    if axes is not None:
        return _product(axes)
    if not isinstance(named, dict) or not named:
        raise ConfigError("cells is empty: name each cell with its settings, such as {wide: {...}}")
    return tuple(
        Cell(str(name), _changes(settings or {}, where=f"cells.{name}"))
        for name, settings in named.items()
    )


def _product(axes: object) -> tuple[Cell, ...]:
    """Return a cell for every combination of the axes' values."""
    if not isinstance(axes, dict) or not axes:
        raise ConfigError("axes is empty: give keys with lists of values, or name cells")
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"axes.{key} is {values!r}: give a list of one value or more")
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MOST_CELLS:
        raise ConfigError(
            f"axes make {count:,} cells, more than {MOST_CELLS:,}: name cells instead"
        )
    short = _short(list(axes))
    cells: dict[str, Cell] = {}
    for combination in itertools.product(*axes.values()):
        pairs = dict(zip(axes, combination, strict=True))
        name = ",".join(f"{short[key]}={_word(value)}" for key, value in pairs.items())
        if name in cells:
            raise ConfigError(f"axes make the cell {name} twice: give each value once")
        cells[name] = Cell(name, _changes(pairs, where="axes"))
    return tuple(cells.values())


def _short(keys: list[str]) -> dict[str, str]:
    """Return the last word of each key, or the whole key where two end alike."""
    last = {key: str(key).rsplit(".", 1)[-1] for key in keys}
    words = list(last.values())
    return {key: word if words.count(word) == 1 else str(key) for key, word in last.items()}


def _word(value: object) -> str:
    """Return a value as part of a folder's name."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-") or "none"


def _seeds(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    seeds = value
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        seeds = list(range(value))
    if (
        not isinstance(seeds, list)
        or not seeds
        or not all(type(seed) is int and seed >= 0 for seed in seeds)
        or len(set(seeds)) != len(seeds)
    ):
        raise ConfigError(f"seeds is {value!r}: give a number from 1, or a list such as [0, 1]")
    return tuple(seeds)


def _metrics(names: object) -> tuple[str, ...]:
    if names is None:
        return ()
    if not isinstance(names, list):
        raise ConfigError(f"metrics is {names!r}: give a list, such as [l1, ssim]")
    return tuple(checked_metrics([str(name) for name in names]))


def checked_metrics(metrics: Sequence[str]) -> list[str]:
    """Return the metrics if an experiment can take them all.

    Raises:
        ConfigError: one is unknown, or seg, or there is none.
    """
    if "seg" in metrics:
        raise ConfigError(
            "experiments do not measure seg: leave it out, and give the trained runs to "
            "`limner evaluate --metrics seg`"
        )
    return chosen(metrics)
