"""OUT/results.json and the report: what an experiment's finished trainings came to."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.evaluation.measure import versions
from limner.experiments.cell import Stage, measured
from limner.experiments.epochs import read_times
from limner.experiments.planning import Measurement
from limner.experiments.record import read_record
from limner.files import read_events, write_text
from limner.reporting.curves import Line, lines_of
from limner.reporting.experiment_page import write_pages
from limner.reporting.experiment_tables import ALONG

RESULTS = "results.json"


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


def loss_totals(events: Sequence[dict[str, Any]]) -> dict[str, Line]:
    """Return the losses as a study draws them: `generator`, and `discriminator`, their mean."""
    lines = lines_of(events, "train")
    totals = {"generator": lines["g/total"]} if "g/total" in lines else {}
    each = [lines[name] for name in lines if name.startswith("d") and name.endswith("/total")]
    if each:
        means = map(statistics.fmean, zip(*(line.values for line in each), strict=True))
        totals["discriminator"] = Line("discriminator", each[0].steps, tuple(means))
    return totals


def _losses(events: Sequence[dict[str, Any]], steps: int) -> dict[str, dict[str, float]]:
    """Return the mean losses over the 5 % of a training before each part in `ALONG`."""
    losses: dict[str, dict[str, float]] = {}
    for kind, line in loss_totals(events).items():
        for part in ALONG:
            window = [
                value
                for step, value in zip(line.steps, line.values, strict=True)
                if (part - 0.05) * steps < step <= part * steps
            ]
            if window:
                losses.setdefault(kind, {})[f"{part:g}"] = statistics.fmean(window)
    return losses


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


def write_report(out: Path) -> dict[str, Any]:
    """Write OUT/report.html, report.md and their pictures from what is done so far.

    Returns:
        What OUT/results.json holds, which is written anew too.

    Raises:
        CheckpointError: OUT holds no experiment.
    """
    results = gather(out)
    cells, seeds = results["record"]["cells"], results["record"]["seeds"]
    first = {cell: read_events(run_folder(out, cell, seeds[0])) for cell in cells}
    write_pages(
        out,
        results,
        losses={cell: _mean_losses(out, cell, seeds) for cell in cells},
        weights={
            cell: [(e["step"], e["weights"][0]) for e in events if e["event"] == "weights"]
            for cell, events in first.items()
        },
        evaluations={row["label"]: _evaluation(out, row) for row in results["rows"]},
        commands=[
            event["command"]
            for event in read_events(out)
            if event["event"] == "start" and event.get("command")
        ],
    )
    return results


def _mean_losses(out: Path, cell: str, seeds: Sequence[int]) -> dict[str, Line]:
    """Return a cell's losses, means over the seeds that have begun, at the steps common to them."""
    each = [loss_totals(read_events(run_folder(out, cell, seed))) for seed in seeds]
    runs = [lines for lines in each if lines]
    means = {}
    for kind in runs[0] if runs else ():
        points = [dict(zip(r[kind].steps, r[kind].values, strict=True)) for r in runs if kind in r]
        steps = tuple(step for step in points[0] if all(step in one for one in points))
        values = tuple(sum(one[step] for one in points) / len(points) for step in steps)
        means[kind] = Line(kind, steps, values)
    return means


def _evaluation(out: Path, row: Mapping[str, Any]) -> Path | None:
    """Return the pictures of a row: those of the first seed that is done, if one is."""
    for seed in row["seeds"]:
        return run_folder(out, row["cell"], seed) / "evaluation" / row["folder"]
    return None
