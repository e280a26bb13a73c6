"""OUT/experiment.json: what an experiment is, so that its folder refuses anything else.

Whatever is read from it is validated first: names become folders, steps and settings decide what
is trained.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from limner import __version__
from limner.config import Config, differences
from limner.errors import CheckpointError, ConfigError
from limner.evaluation.metrics import METRICS
from limner.experiments.planning import Plan
from limner.experiments.tables import NAME
from limner.files import listed, read_json, write_text
from limner.run import HARMLESS

RECORD = "experiment.json"
FREE = HARMLESS | {"seed"}
"""Keys that change no figure of a cell, or that each of its trainings has its own of."""


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"there is no metric {name!r}")
    return name


Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Count = Annotated[int, Field(ge=0)]
Metric = Annotated[str, AfterValidator(_known_metric)]
Steps = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedRecord(_Part):
    """A published figure, as the table has it."""

    what: str
    value: FiniteFloat
    note: str


class MeasurementRecord(_Part):
    """A row of the table: see `planning.Measurement`."""

    label: str
    step: Steps
    epochs: FiniteFloat
    early: bool
    published: tuple[PublishedRecord, ...]


class CellRecord(_Part):
    """A cell as it was planned."""

    about: str
    steps: Steps
    steps_per_epoch: Steps
    measured: Annotated[tuple[MeasurementRecord, ...], Field(min_length=1)]
    config: dict[str, Any]


class PairsRecord(_Part):
    """The training pairs, as the data set's fingerprint."""

    model_config = ConfigDict(extra="allow", frozen=True)
    pairs: Count
    sha256: str


class Record(_Part):
    """All that decides an experiment's figures.

    `task` is what the published trainings translate, "" for a grid; `direction` how the pairs are
    read here ("" where cells differ in it), and `as_published` whether that is the task. Records
    that say neither are of trainings whose direction nobody had looked at.
    """

    name: str
    title: str
    source: str
    note: str
    preset: str
    scale: str
    data: str
    pairs: PairsRecord
    split: Name
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Count, ...], Field(min_length=1)]
    overrides: tuple[str, ...]
    task: str = ""
    direction: Literal["", "AtoB", "BtoA"] = ""
    as_published: bool = False
    cells: Annotated[dict[Name, CellRecord], Field(min_length=1)]
    version: str


def open_record(out: Path, plan: Plan) -> dict[str, Any]:
    """Write what `plan` is into OUT, or refuse as `check_record` does; return what was written."""
    new = check_record(out, plan)
    write_text(out / RECORD, json.dumps(new, indent=1))
    return new


def check_record(out: Path, plan: Plan) -> dict[str, Any]:
    """Return the record of `plan` in OUT, ready for JSON; nothing is written.

    More seeds, further cells and further metrics may be asked for later; whatever would make
    finished cells wrong is refused before any work.

    Raises:
        ConfigError: OUT holds another experiment, or this one by other settings.
        CheckpointError: OUT holds other files.
    """
    if out.exists() and not out.is_dir():
        raise CheckpointError(f"{out} is a file: give a folder as --out")
    new = _record(plan)
    if (out / RECORD).exists():
        old = read_record(out)
        _check_same(out, old, new)
        new["seeds"] = sorted({*old["seeds"], *new["seeds"]})
    elif out.is_dir() and any(path.name != "log.jsonl" for path in listed(out)):
        raise CheckpointError(f"{out} holds other files: give a new or empty folder as --out")
    return new


def read_record(out: Path) -> dict[str, Any]:
    """Return OUT/experiment.json, validated as a `Record` and plain again.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path, where = out / RECORD, ""
    try:
        record = Record.model_validate(read_json(path, error=CheckpointError))
        for name, cell in record.cells.items():
            where = f"cells.{name}.config"
            Config.model_validate(cell.config)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"{out} holds no experiment: run `limner experiment NAME DATA --out {out}` first"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        inner = ".".join(str(part) for part in first["loc"])
        key = inner if error.title == Record.__name__ else f"{where}.{inner}"
        raise CheckpointError(
            f"{path} is damaged ({key or 'all of it'}: {first['msg']}): give another --out"
        ) from None
    return record.model_dump(mode="json")


def _record(plan: Plan) -> dict[str, Any]:
    """Return all that decides the experiment's figures, ready for JSON."""
    cells = {
        one.cell.name: {
            "about": one.cell.about,
            "steps": one.steps,
            "steps_per_epoch": one.steps_per_epoch,
            "measured": [dataclasses.asdict(measurement) for measurement in one.measurements],
            "config": one.config.model_dump(mode="json"),
        }
        for one in plan.cells
    }
    record = {
        "name": plan.name,
        "title": plan.table.title,
        "source": plan.table.source,
        "note": plan.table.note,
        "preset": plan.table.preset,
        "scale": plan.scale,
        "data": str(plan.data),
        "pairs": plan.pairs,
        "split": plan.split,
        "metrics": plan.metrics,
        "seeds": plan.seeds,
        "overrides": [f"{key}={json.dumps(value)}" for key, value in plan.changes.items()],
        "task": plan.table.task,
        "direction": plan.direction,
        "as_published": plan.as_published,
        "cells": cells,
        "version": __version__,
    }
    return Record.model_validate(record).model_dump(mode="json")


def _check_same(out: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    cure = "give another --out, or remove it"
    for key, what in (("name", "the experiment"), ("scale", "scale"), ("split", "split")):
        if old[key] != new[key]:
            raise ConfigError(f"{out} holds {what} {old[key]!r} and this is {new[key]!r}: {cure}")
    # What a record of an earlier version did not look at is not held against the data.
    if any(new["pairs"].get(key) != value for key, value in old["pairs"].items()):
        raise ConfigError(
            f"{out} was begun on other training pairs ({old['pairs']['pairs']} then, "
            f"{new['pairs']['pairs']} now, or other files): give the same data, or another --out"
        )
    lost = [metric for metric in old["metrics"] if metric not in new["metrics"]]
    if lost:
        raise ConfigError(
            f"{out} is measured by {', '.join(lost)} too: give --weights (or --metrics) as before, "
            "or another --out"
        )
    for name, cell in old["cells"].items():
        if name not in new["cells"]:
            raise ConfigError(f"{out} has a cell {name}, which the definition lacks now: {cure}")
        changed = cell_differences(cell, new["cells"][name])
        if changed:
            raise ConfigError(
                f"cell {name} of {out} was defined otherwise ({'; '.join(changed)}): leave it as "
                "it was, or give another --out"
            )


def cell_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return in words how the definitions of a cell differ in what decides its figures."""
    pairs = differences(
        Config.model_validate(old["config"]), Config.model_validate(new["config"])
    ).items()
    changed = [f"{key} was {was} and is {now}" for key, (was, now) in pairs if key not in FREE]
    steps = [[one["step"] for one in cell["measured"]] for cell in (old, new)]
    if not changed and steps[0] != steps[1]:
        changed.append(f"it was measured at steps {steps[0]} and is at {steps[1]}")
    return changed
