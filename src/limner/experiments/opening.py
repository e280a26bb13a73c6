"""From what the user asks for to a plan: a table or a grid, a scale, seeds, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.errors import ConfigError, unknown_name
from limner.experiments.definitions import Table
from limner.experiments.grid import read_grid
from limner.experiments.measuring import choose_metrics
from limner.experiments.plan import Plan, make_plan
from limner.experiments.tables import TABLES


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


def open_experiment(
    name: str,
    data: Path,
    *,
    scale: str | None = None,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    metrics: Sequence[str] = (),
    weights: Path | None = None,
    split: str = "test",
) -> tuple[Plan, str]:
    """Return the plan of an experiment, and a sentence about its metrics where one is due.

    Args:
        name: a key of `TABLES`, or a grid's YAML file.
        data: the data set.
        scale: a key of `SCALES`; nothing for cpu. A grid has none.
        overrides: settings of every cell, as for --set.
        seeds: how many, from 0; nothing for the grid's, or one.
        metrics: nothing for the grid's, or those that the weights at hand allow.
        weights: pretrained weights for the metrics.
        split: what is measured.

    Raises:
        LimnerError: what was asked for cannot be had, with the cure.
    """
    own, table, is_grid = find_table(name)
    if is_grid and scale is not None:
        raise ConfigError(f"{name} sets its own sizes: leave --scale out, or set them in the file")
    if seeds is not None and seeds < 1:
        raise ConfigError(f"--seeds {seeds}: give how many trainings of each cell, from 1")
    chosen, note = choose_metrics(metrics or table.metrics, weights=weights)
    plan = make_plan(
        table,
        name=own,
        data=data,
        scale="" if is_grid else scale or "cpu",
        overrides=overrides,
        seeds=(table.seeds or (0,)) if seeds is None else tuple(range(seeds)),
        metrics=chosen,
        split=split,
    )
    return plan, note
