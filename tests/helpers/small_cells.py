"""Tiny settings for any table, and cells trained in the test's own process."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limner.experiments.cell import CellTask, measured, train_and_measure
from limner.experiments.planning import Job, Plan, open_experiment
from limner.experiments.record import open_record
from limner.experiments.running import task_of
from limner.files import read_events

TINY = {
    "data.size": 32,
    "data.load_size": 32,
    "data.cache_gib": 0,
    "generator.width": 2,
    "generator.depth": 3,
    **{f"discriminators.{k}.width": 2 for k in range(3)},
    **{f"discriminators.{k}.layers": 1 for k in range(3)},
    "training.log_every": 1,
    "training.samples_every": None,
}


def tiny_changes(discriminators: int) -> dict[str, object]:
    """Return TINY without what is for discriminators that no cell has."""
    return {
        key: value
        for key, value in TINY.items()
        if not key.startswith("discriminators.") or int(key.split(".")[1]) < discriminators
    }


def tiny_plan(
    name: str,
    data: Path,
    changes: dict[str, object] | None = None,
    *,
    seeds: int = 1,
    discriminators: int = 1,
) -> Plan:
    """Return the plan of a table of tiny networks."""
    whole = {**tiny_changes(discriminators), **(changes or {})}
    return open_experiment(name, data, changes=whole, seeds=seeds, metrics=["l1", "ssim"])[0]


GRID = """
preset: study
set: {{training.epochs: {epochs}, training.checkpoint_every: 1, objective.weighting: adaptive}}
cells:
  add: {{generator.skips: add}}
  soft: {{objective.real_label: 0.9}}
metrics: [l1, ssim]
"""


def two_cells(data: Path, folder: Path, *, epochs: int) -> Plan:
    """Return the plan of FOLDER/grid.yaml, in which two cells write a checkpoint an epoch."""
    (folder / "grid.yaml").write_text(GRID.format(epochs=epochs))
    return open_experiment(str(folder / "grid.yaml"), data, changes=tiny_changes(2))[0]


def command_of_two_cells(data: Path, folder: Path, out: Path) -> list[str]:
    """Return the command line that runs the plan of `two_cells`."""
    sets = [("--set", f"{key}={json.dumps(value)}") for key, value in tiny_changes(2).items()]
    words = ["experiment", str(folder / "grid.yaml"), str(data), "--out", str(out)]
    return [sys.executable, "-m", "limner", *words, *(word for pair in sets for word in pair)]


def begun(out: Path, cell: str) -> list[dict[str, Any]]:
    """Return what the record of an experiment says of each time that a cell began."""
    return [e for e in read_events(out) if e["event"] == "cell-started" and e["cell"] == cell]


def figures(plan: Plan, out: Path) -> dict[str, dict[str, list[float]]]:
    """Return what every image of every cell scored; all of them must have been measured."""
    results = {}
    for job in plan.jobs():
        (stage,) = tiny_task(job, plan, out).stages
        found = measured(job.folder(out), stage, split=plan.split, metrics=plan.metrics)
        assert found is not None, job.name
        results[job.name] = found["scores"]["per_image"]
    return results


def tiny_task(job: Job, plan: Plan, out: Path) -> CellTask:
    """Return a job's task on the CPU."""
    return task_of(job, plan, out, "cpu", None, "")


def carry_out(plan: Plan, out: Path, only: Sequence[str] = ()) -> None:
    """Do what `run_cells` does, one cell after the other in this process."""
    open_record(out, plan)
    for job in plan.jobs(only):
        train_and_measure(tiny_task(job, plan, out))
