"""What an experiment will do: cells with their settings, lengths and measurements."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.config import Config, with_overrides
from limner.data import splits
from limner.errors import ConfigError, DataError
from limner.experiments.definitions import Cell, Published, Table
from limner.experiments.scales import scaled
from limner.inference import open_pairs
from limner.presets import preset
from limner.training.datasets import TrainingData, open_training_data
from limner.training.resolving import resolved

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
        return with_overrides(self.config, [f"seed={seed}"])


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
    """All that an experiment will do, found out before any work is done."""

    name: str
    table: Table
    scale: str
    data: Path
    split: str
    metrics: tuple[str, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
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


def make_plan(
    table: Table,
    *,
    name: str,
    data: Path,
    scale: str,
    overrides: Sequence[str] = (),
    seeds: Sequence[int],
    metrics: Sequence[str],
    split: str = "test",
) -> Plan:
    """Return the plan of a table on a data set; every cell's settings are validated.

    Settings come in this order: the preset, the table's `common`, the cell's, the scale's and the
    table's length at it, then `overrides`. Of these, one for a discriminator that a cell does not
    have (`discriminators.1.lr`) is left out for that cell.

    Raises:
        ConfigError, DataError: settings or data cannot be used, or an override would undo what the
            cells differ in.
    """
    check_overrides(table, overrides)
    if split not in splits(data):
        raise DataError(f"{data} has no split {split!r} to measure on: give --split")
    configs = [cell_config(table, cell, scale=scale, overrides=overrides) for cell in table.cells]
    most = max(len(config.discriminators) for config in configs)
    for override in overrides:
        if _discriminator(override) >= most:
            raise ConfigError(f"--set {override}: no cell has so many discriminators (from 0)")
    opened: dict[str, TrainingData] = {}
    plans = []
    for cell, config in zip(table.cells, configs, strict=True):
        found = _opened(with_overrides(config, [f"data.root={str(data)!r}"]), opened, split=split)
        plans.append(_cell_plan(cell, found))
    return Plan(
        name=name,
        table=table,
        scale=scale,
        data=data,
        split=split,
        metrics=tuple(metrics),
        seeds=tuple(seeds),
        overrides=tuple(overrides),
        cells=tuple(plans),
        pairs=next(iter(opened.values())).fingerprint,
    )


def cell_config(table: Table, cell: Cell, *, scale: str, overrides: Sequence[str] = ()) -> Config:
    """Return a cell's settings at a scale (none: ""), valid but not yet fitted to a data set."""
    config = with_overrides(preset(table.preset), [*table.common, *cell.overrides])
    if scale:
        config = with_overrides(config, scaled(config, scale))
    if scale in table.epochs:
        config = with_overrides(config, [f"training.epochs={table.epochs[scale]}"])
    count = len(config.discriminators)
    return with_overrides(config, [given for given in overrides if _discriminator(given) < count])


def check_overrides(table: Table, overrides: Sequence[str]) -> None:
    """Refuse settings for the whole experiment that are the cells' or the command's own.

    Raises:
        ConfigError: with the cure.
    """
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key == "seed":
            raise ConfigError("--set seed is decided by the experiment: say --seeds")
        if key == "data.root":
            raise ConfigError("--set data.root is decided by the experiment: name DATA")
        for cell in table.cells:
            if any(own == key or own.startswith(f"{key}.") for own in cell.keys):
                raise ConfigError(
                    f"--set {override} would undo what cell {cell.name} is about: leave it out, "
                    "or write a grid of your own"
                )


def _discriminator(override: str) -> int:
    """Return the index of the discriminator that an override is for, -1 where it is for none."""
    parts = override.partition("=")[0].strip().split(".")
    listed = parts[0] == "discriminators" and len(parts) > 1 and parts[1].isdigit()
    return int(parts[1]) if listed else -1


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
    found: dict[int, Measurement] = {}
    for early in cell.early:
        step = early.step(steps)
        epochs = round(step / per_epoch, 2)
        label = f"{cell.name}, {epochs:g} of {round(steps / per_epoch, 2):g} epochs"
        if step >= steps or step in found:
            raise ConfigError(
                f"cell {cell.name} is measured after {early.epochs} of {early.of} epochs, and "
                f"{steps} steps are too few to tell that from the others: raise training.epochs"
            )
        found[step] = Measurement(label, step, epochs, True, early.published)
    whole = round(steps / per_epoch, 2)
    label = f"{cell.name}, {whole:g} epochs" if cell.early else cell.name
    found[steps] = Measurement(label, steps, whole, False, cell.published)
    ordered = tuple(found[step] for step in sorted(found))
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
