"""What an experiment will do: its cells with their settings, lengths, measurements and metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.config import Config, replace, resolved
from limner.data import find_pairs, splits
from limner.data.description import read_description
from limner.errors import ConfigError, DataError, WeightsError, unknown_name
from limner.evaluation.measure import find_weights
from limner.evaluation.metrics import METRICS
from limner.experiments.grid import checked_metrics, find_table
from limner.experiments.tables import (
    SCALES,
    Cell,
    Published,
    Table,
    cell_config,
    discriminator_of,
)
from limner.inference import open_pairs
from limner.networks.pretrained import find, read
from limner.reporting.experiment_tables import PIXELS_ALONE
from limner.training.datasets import TrainingData, open_training_data

PRETRAINED = ("fid", "fd-vgg16", "lpips")
"""Taken where their weights are found; the first is what papers print."""
ALWAYS = ("l1", "ssim")
WITHOUT = ("l1", "psnr", "ssim", "edge-f")
"""Taken where no weights are found at all."""

# Rules by which the weights of discriminators do not depend on how long the training will be.
_LENGTHLESS = ("constant", "adaptive")


@dataclass(frozen=True)
class Measurement:
    """A row of the table: a cell's training, measured at one step."""

    label: str
    step: int
    epochs: float
    early: bool
    published: tuple[Published, ...]

    def folder(self, split: str) -> str:
        """Return the folder in RUN/evaluation where its pictures and results are kept."""
        return f"{split}-at-{self.step:08d}" if self.early else split


@dataclass(frozen=True)
class CellPlan:
    """A cell with its complete settings (of seed 0) and what is measured of it, the end last."""

    cell: Cell
    config: Config
    steps: int
    steps_per_epoch: int
    measurements: tuple[Measurement, ...]

    def seeded(self, seed: int) -> Config:
        """Return the settings of one seed."""
        return replace(self.config, {"seed": seed})


@dataclass(frozen=True)
class Job:
    """One training: a cell with a seed."""

    plan: CellPlan
    seed: int

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.plan.cell.name}, seed {self.seed}"

    def folder(self, out: Path) -> Path:
        """Return its run's folder."""
        return out / "cells" / self.plan.cell.name / f"seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """All that an experiment will do, found out before any work is done.

    `direction` is the one in which the pairs are read, AtoB or BtoA ("" where cells differ in it);
    `as_published` is whether
    that is the task of the table, if it has one.
    """

    name: str
    table: Table
    scale: str
    data: Path
    split: str
    metrics: tuple[str, ...]
    seeds: tuple[int, ...]
    changes: Mapping[str, object]
    direction: str
    as_published: bool
    cells: tuple[CellPlan, ...]
    pairs: dict[str, Any]

    def jobs(self, only: Sequence[str] = ()) -> list[Job]:
        """Return the trainings seed by seed, so that an early look finds every cell.

        Raises:
            ConfigError: `only` names a cell that there is not.
        """
        known = [plan.cell.name for plan in self.cells]
        for name in only:
            if name not in known:
                raise ConfigError(f"unknown cell {name!r}: known are {', '.join(known)}")
        return [
            Job(plan, seed)
            for seed in self.seeds
            for plan in self.cells
            if not only or plan.cell.name in only
        ]


def open_experiment(
    name: str,
    data: Path,
    *,
    scale: str | None = None,
    changes: Mapping[str, object] | None = None,
    seeds: int | None = None,
    metrics: Sequence[str] = (),
    weights: Path | None = None,
    split: str = "test",
) -> tuple[Plan, str]:
    """Return the plan of an experiment, and a sentence about its metrics where one is due.

    Args:
        name: a key of `TABLES`, or a grid's YAML file.
        data: the data set.
        scale: a key of `SCALES`; None for cpu. A grid has none.
        changes: settings of every cell, by dotted key.
        seeds: how many, from 0; None for the grid's, or one.
        metrics: none for the grid's, or those that the weights at hand allow.
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
        changes=changes,
        seeds=(table.seeds or (0,)) if seeds is None else tuple(range(seeds)),
        metrics=chosen,
        split=split,
    )
    return plan, note


def choose_metrics(asked: Sequence[str], *, weights: Path | None) -> tuple[tuple[str, ...], str]:
    """Return the metrics to take, and a sentence where they are fewer than one would wish.

    Nothing is downloaded for metrics that nobody asked for by name.

    Raises:
        ConfigError: an unknown metric, or seg. WeightsError: one that was asked for lacks its
            weights, or they are damaged: better told now than after the trainings.
    """
    if asked:
        metrics = checked_metrics(asked)
        find_weights(metrics, weights=weights)
        for need in dict.fromkeys(need for metric in metrics for need in METRICS[metric].weights):
            read(find(need, weights=weights))
        return tuple(dict.fromkeys(metrics)), ""
    usable = [name for name in PRETRAINED if _at_hand(name, weights)]
    if usable:
        return (*usable, *ALWAYS), ""
    if weights is not None:
        raise WeightsError(
            f"--weights {weights} holds nothing that {', '.join(PRETRAINED)} could use: name the "
            "folder of the weights, or leave --weights out"
        )
    return WITHOUT, PIXELS_ALONE


def _at_hand(metric: str, weights: Path | None) -> bool:
    try:
        paths = [find(need, weights=weights, download=False) for need in METRICS[metric].weights]
    except WeightsError:
        if weights is not None and not weights.exists():
            raise
        return False
    for path in paths:
        read(path)
    return True


def make_plan(
    table: Table,
    *,
    name: str,
    data: Path,
    scale: str,
    changes: Mapping[str, object] | None = None,
    seeds: Sequence[int],
    metrics: Sequence[str],
    split: str = "test",
) -> Plan:
    """Return the plan of a table on a data set; every cell's settings are validated.

    Settings come in the order of `tables.cell_config`. The direction of a table that reproduces
    published trainings is theirs, where neither `changes` nor the data set (`dataset.yaml`) says
    another.

    Raises:
        ConfigError, DataError: settings or data cannot be used, or a change would undo what the
            cells differ in.
    """
    changes = dict(changes or {})
    check_changes(table, changes)
    if split not in splits(data):
        raise DataError(f"{data} has no split {split!r} to measure on: give --split")
    if scale and scale not in SCALES:
        raise unknown_name("scale", scale, SCALES)
    described = read_description(data.parent if data.is_file() else data).direction
    published = published_direction(table, data) if table.task else ""
    place: dict[str, object] = {"data.root": str(data)}
    if published and "data.direction" not in changes:
        place["data.direction"] = described or published
    configs = [cell_config(table, cell, scale=scale, changes=changes) for cell in table.cells]
    most = max(len(config.discriminators) for config in configs)
    for key in changes:
        if discriminator_of(key) >= most:
            raise ConfigError(f"--set {key}: no cell has so many discriminators (from 0)")
    opened: dict[str, TrainingData] = {}
    plans = []
    for cell, config in zip(table.cells, configs, strict=True):
        plans.append(_cell_plan(cell, _opened(replace(config, place), opened, split=split)))
    directions = {one.config.data.direction or described or "AtoB" for one in plans}
    return Plan(
        name=name,
        table=table,
        scale=scale,
        data=data,
        split=split,
        metrics=tuple(metrics),
        seeds=tuple(seeds),
        changes=changes,
        as_published=not table.task or directions == {published},
        direction=directions.pop() if len(directions) == 1 else "",
        cells=tuple(plans),
        pairs=next(iter(opened.values())).fingerprint,
    )


def published_direction(table: Table, data: Path) -> str:
    """Return the direction in which pairs of `data` are the task of a table.

    Pairs that lie side by side or in folders A and B are read as those that the published
    trainings had; other folders are named for what they hold, and lead from source to target and
    from label to photo.
    """
    pair = find_pairs(data, "train", direction="AtoB")[0]
    unnamed = pair.source_half is not None or pair.source.parent.name in ("A", "trainA")
    return table.direction if unnamed else "AtoB"


def check_changes(table: Table, changes: Mapping[str, object]) -> None:
    """Refuse settings for the whole experiment that are the cells' or the command's own.

    Raises:
        ConfigError: with the cure.
    """
    for key in changes:
        if key == "seed":
            raise ConfigError("--set seed is decided by the experiment: say --seeds")
        if key == "data.root":
            raise ConfigError("--set data.root is decided by the experiment: name DATA")
        for cell in table.cells:
            if any(own == key or own.startswith(f"{key}.") for own in cell.changes):
                raise ConfigError(
                    f"--set {key} would undo what cell {cell.name} is about: leave it out, or "
                    "write a grid of your own"
                )


def _opened(config: Config, known: dict[str, TrainingData], *, split: str) -> TrainingData:
    """Return the training data of a cell, opened once for cells that prepare them alike."""
    key = f"{config.data.model_dump_json()} {config.training.batch_size}"
    if key not in known:
        known[key] = open_training_data(config)
        open_pairs(known[key].config, Path(config.data.root), split)
        return known[key]
    settings = config.model_dump(mode="json")
    settings["data"] = known[key].config.data.model_dump(mode="json")
    return dataclasses.replace(known[key], config=resolved(Config.model_validate(settings)))


def _cell_plan(cell: Cell, data: TrainingData) -> CellPlan:
    steps, per_epoch = data.total_steps, data.steps_per_epoch
    check_early(cell, data.config)
    measurements: dict[int, Measurement] = {}
    for early in cell.early:
        step = early.step(steps)
        epochs = round(step / per_epoch, 2)
        label = f"{cell.name}, {epochs:g} of {round(steps / per_epoch, 2):g} epochs"
        if step >= steps or step in measurements:
            raise ConfigError(
                f"cell {cell.name} is measured after {early.epochs} of {early.length} epochs, and "
                f"{steps} steps are too few to tell that from the others: raise training.epochs"
            )
        measurements[step] = Measurement(label, step, epochs, True, early.published)
    whole = round(steps / per_epoch, 2)
    label = f"{cell.name}, {whole:g} epochs" if cell.early else cell.name
    measurements[steps] = Measurement(label, steps, whole, False, cell.published)
    ordered = tuple(measurements[step] for step in sorted(measurements))
    return CellPlan(cell, data.config, steps, per_epoch, ordered)


def check_early(cell: Cell, config: Config) -> None:
    """Refuse to take a training on its way for a shorter one where that would not be the same.

    Raises:
        ConfigError: something depends on the length of the training.
    """
    if not cell.early:
        return
    for key, value, allowed in (
        ("training.schedule", config.training.schedule, ("constant",)),
        ("objective.weighting", getattr(config.objective, "weighting", "constant"), _LENGTHLESS),
        ("training.fix_global", config.training.fix_global, (0.0,)),
    ):
        if value not in allowed:
            raise ConfigError(
                f"cell {cell.name} is measured on its way to stand for shorter trainings, and "
                f"{key}={value} depends on the length: set {key}={allowed[0]}, or write a grid "
                "with a cell for each length"
            )
