"""What an experiment's folder holds: its record (OUT/experiment.json) and its results.

The record says what the experiment is, and refuses anything else. Whatever is read from it is
validated first: names become folders, steps and settings decide what is trained.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from limner import __version__
from limner.config import Config, differences
from limner.errors import CheckpointError, ConfigError
from limner.evaluation.measure import versions
from limner.evaluation.metrics import METRICS
from limner.experiments.cell import Stage, measured
from limner.experiments.epochs import read_times
from limner.experiments.planning import Measurement, Plan
from limner.experiments.tables import NAME
from limner.files import listed, read_events, read_json, write_text
from limner.reporting.curves import Line, lines_of
from limner.run import HARMLESS

RECORD, RESULTS = "experiment.json", "results.json"
FREE = HARMLESS | {"seed"}
"""Keys that change no figure of a cell, or that each of its trainings has its own of."""
ALONG = (0.1, 0.3, 0.6, 1.0)
"""The parts of a training at which its losses are told."""


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


# Results


def run_folder(out: Path, cell: str, seed: int | str) -> Path:
    """Return the run of a cell with a seed."""
    return out / "cells" / cell / f"seed{seed}"


def gather(out: Path) -> dict[str, Any]:
    """Write OUT/results.json from what is done, and return what it holds.

    `rows` has one entry for every cell at every step at which it is to be measured, done or not,
    in the table's order: `published` figures, where the task is theirs, `seeds` (each with
    `values` and `intervals`), `summary` of each metric over the seeds, `losses` along the way and
    `missing` seeds. `times` is what was timed, or None; `record` is experiment.json.

    Raises:
        CheckpointError: OUT holds no experiment.
    """
    record = read_record(out)
    rows = [
        _row(out, record, name, cell, Measurement(**measurement))
        for name, cell in record["cells"].items()
        for measurement in cell["measured"]
    ]
    results = {
        "name": record["name"],
        "title": record["title"],
        "versions": versions(),
        "metrics": record["metrics"],
        "seeds": record["seeds"],
        "rows": rows,
        "times": read_times(out),
        "record": record,
    }
    write_text(out / RESULTS, json.dumps(results, indent=1))
    return results


def _row(
    out: Path,
    record: Mapping[str, Any],
    name: str,
    cell: Mapping[str, Any],
    measurement: Measurement,
) -> dict[str, Any]:
    split, metrics = record["split"], tuple(record["metrics"])
    stage = Stage(measurement.step, measurement.folder(split), measurement.early)
    seeds, losses, parameters = {}, [], None
    for seed in record["seeds"]:
        run = run_folder(out, name, seed)
        results = measured(run, stage, split=split, metrics=metrics)
        if results is None:
            continue
        scores = results["scores"]
        seeds[str(seed)] = {
            "values": {metric: scores["values"][metric] for metric in metrics},
            "intervals": {
                metric: scores["details"].get(metric, {}).get("interval") for metric in metrics
            },
            "images": results["images"],
            "version": results.get("version"),
        }
        events = read_events(run)
        losses.append(_losses(events, measurement.step))
        parameters = parameters or _parameters(events)
    return {
        "cell": name,
        "label": measurement.label,
        "about": cell["about"],
        "step": measurement.step,
        "epochs": measurement.epochs,
        "early": measurement.early,
        "folder": stage.folder,
        "published": list(measurement.published) if record["as_published"] else [],
        "seeds": seeds,
        "missing": [seed for seed in record["seeds"] if str(seed) not in seeds],
        "parameters": parameters,
        "losses": _mean_of(losses),
        "summary": {
            metric: summary(
                [one["values"][metric] for one in seeds.values()],
                [one["intervals"][metric] for one in seeds.values()],
            )
            for metric in metrics
            if seeds
        },
    }


def summary(values: Sequence[float], intervals: Sequence[Any]) -> dict[str, Any]:
    """Return the mean of a figure over seeds, and its spread.

    `spread` says which it is: "one seed", with the bootstrap interval over images where there is
    one; "range", least and most of two seeds; "sd", the standard deviation (n - 1) of more.
    """
    whole = {"mean": statistics.fmean(values), "seeds": len(values)}
    if len(values) == 1:
        return whole | {"spread": "one seed", "interval": intervals[0]}
    if len(values) == 2:
        return whole | {"spread": "range", "interval": [min(values), max(values)]}
    return whole | {
        "spread": "sd",
        "sd": statistics.stdev(values),
        "interval": [min(values), max(values)],
    }


def _parameters(events: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    started = next((event for event in events if event["event"] == "start"), {})
    return started.get("parameters")


def totals(events: Sequence[dict[str, Any]]) -> dict[str, Line]:
    """Return the losses as a study draws them: `generator`, and `discriminator`, their mean."""
    lines = lines_of(events, "train")
    found = {}
    if "g/total" in lines:
        found["generator"] = lines["g/total"]
    judges = [
        line
        for name, line in lines.items()
        if name.startswith("d") and name.endswith("/total") and name != "g/total"
    ]
    if judges:
        values = tuple(
            statistics.fmean(each) for each in zip(*(j.values for j in judges), strict=True)
        )
        found["discriminator"] = Line("discriminator", judges[0].steps, values)
    return found


def _losses(events: Sequence[dict[str, Any]], steps: int) -> dict[str, dict[str, float]]:
    """Return the mean losses over the 5 % of a training before each part in `ALONG`."""
    found: dict[str, dict[str, float]] = {}
    for kind, line in totals(events).items():
        for part in ALONG:
            window = [
                value
                for step, value in zip(line.steps, line.values, strict=True)
                if (part - 0.05) * steps < step <= part * steps
            ]
            if window:
                found.setdefault(kind, {})[f"{part:g}"] = statistics.fmean(window)
    return found


def _mean_of(losses: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the means over seeds of what all of them have."""
    if not losses:
        return {}
    return {
        kind: {
            part: statistics.fmean(one[kind][part] for one in losses)
            for part in parts
            if all(part in one.get(kind, {}) for one in losses)
        }
        for kind, parts in losses[0].items()
    }


def first_run(out: Path, row: Mapping[str, Any]) -> Path | None:
    """Return the run of the first seed of a row that is done, if one is."""
    for seed in row["seeds"]:
        return run_folder(out, row["cell"], seed)
    return None
