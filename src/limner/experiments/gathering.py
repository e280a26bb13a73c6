"""All that an experiment has found so far, read from its folder: OUT/results.json."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.evaluation.curves import Line, lines_of
from limner.evaluation.measure import versions
from limner.experiments.finished import results_of
from limner.experiments.plan import Measurement
from limner.experiments.record import read_record
from limner.experiments.times import read_times
from limner.files import read_events, write_text

FILE = "results.json"
ALONG = (0.1, 0.3, 0.6, 1.0)
"""The parts of a training at which its losses are told."""


def gather(out: Path) -> dict[str, Any]:
    """Write OUT/results.json from what is done, and return what it holds.

    `rows` has one entry for every cell at every step at which it is to be measured, done or not,
    in the table's order: `published` figures, `seeds` (each with `values` and `intervals`),
    `summary` of each metric over the seeds, `losses` along the way and `missing` seeds. `times` is
    what was timed, or nothing; `record` is experiment.json.

    Raises:
        CheckpointError: OUT holds no experiment.
    """
    record = read_record(out)
    rows = [
        _row(out, record, name, cell, Measurement(**measured))
        for name, cell in record["cells"].items()
        for measured in cell["measured"]
    ]
    found = {
        "name": record["name"],
        "title": record["title"],
        "versions": versions(),
        "metrics": record["metrics"],
        "seeds": record["seeds"],
        "rows": rows,
        "times": read_times(out),
        "record": record,
    }
    write_text(out / FILE, json.dumps(found, indent=1))
    return found


def _row(
    out: Path, record: Mapping[str, Any], name: str, cell: Mapping[str, Any], measured: Measurement
) -> dict[str, Any]:
    split, metrics = record["split"], tuple(record["metrics"])
    seeds, losses, parameters = {}, [], None
    for seed in record["seeds"]:
        run = out / "cells" / name / f"seed{seed}"
        results = results_of(run, measured, split=split, metrics=metrics)
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
        losses.append(_losses(events, measured.step))
        parameters = parameters or _parameters(events)
    return {
        "cell": name,
        "label": measured.label,
        "about": cell["about"],
        "step": measured.step,
        "epochs": measured.epochs,
        "early": measured.early,
        "folder": measured.folder(split),
        "published": list(measured.published),
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
    found = {"mean": statistics.fmean(values), "seeds": len(values)}
    if len(values) == 1:
        return found | {"spread": "one seed", "interval": intervals[0]}
    if len(values) == 2:
        return found | {"spread": "range", "interval": [min(values), max(values)]}
    return found | {
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
        return out / "cells" / row["cell"] / f"seed{seed}"
    return None
