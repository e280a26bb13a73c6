"""Tiny settings for any table, and cells trained in the test's own process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.experiments.cell import CellTask, train_and_measure
from limner.experiments.planning import Job, Plan, open_experiment
from limner.experiments.record import open_record
from limner.experiments.running import task_of

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


def tiny_task(job: Job, plan: Plan, out: Path) -> CellTask:
    """Return a job's task on the CPU."""
    return task_of(job, plan, out, "cpu", None, "")


def carry_out(plan: Plan, out: Path, only: Sequence[str] = ()) -> None:
    """Do what `run_cells` does, one cell after the other in this process."""
    open_record(out, plan)
    for job in plan.jobs(only):
        train_and_measure(tiny_task(job, plan, out))
