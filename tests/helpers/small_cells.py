"""Tiny settings for any table, and cells trained in the test's own process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.experiments import running
from limner.experiments.child import train_and_measure
from limner.experiments.opening import open_experiment
from limner.experiments.plan import Plan
from limner.experiments.record import open_record

TINY = (
    "data.size=32",
    "data.load_size=32",
    "data.cache_gib=0",
    "generator.width=2",
    "generator.depth=3",
    *(f"discriminators.{k}.width=2" for k in range(3)),
    *(f"discriminators.{k}.layers=1" for k in range(3)),
    "training.log_every=1",
    "training.samples_every=null",
)


def tiny_overrides(discriminators: int) -> tuple[str, ...]:
    """Return TINY without what is for discriminators that no cell has."""
    return tuple(
        one
        for one in TINY
        if not one.startswith("discriminators.") or int(one.split(".")[1]) < discriminators
    )


def tiny_plan(name: str, data: Path, *overrides: str, seeds: int = 1, judges: int = 1) -> Plan:
    """Return the plan of a table of tiny networks."""
    given = (*tiny_overrides(judges), *overrides)
    return open_experiment(name, data, overrides=given, seeds=seeds, metrics=["l1", "ssim"])[0]


def carry_out(plan: Plan, out: Path, only: Sequence[str] = ()) -> None:
    """Do what `run_cells` does, one cell after the other in this process."""
    open_record(out, plan)
    for job in plan.jobs(only):
        train_and_measure(running.task_of(job, plan, out, "cpu", None, "").spec)
