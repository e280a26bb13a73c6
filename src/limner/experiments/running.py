"""An experiment from its plan to its report, cell by cell, from wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.errors import LimnerError
from limner.experiments import crew
from limner.experiments.board import Board
from limner.experiments.crew import Task
from limner.experiments.finished import is_done, steps_done
from limner.experiments.locking import locked
from limner.experiments.plan import Job, Plan
from limner.experiments.record import check_record, open_record
from limner.training.checkpoint import newest
from limner.training.events import JsonLog

LOCK = ".lock"


class FailedCellsError(LimnerError):
    """Some trainings failed; the others are kept."""

    exit_code = 1


def run_cells(
    plan: Plan,
    *,
    out: Path,
    only: Sequence[str] = (),
    jobs: int | None = None,
    device: str = "cpu",
    weights: Path | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Train and measure every cell that is not done yet, and return the experiment's record.

    Each is an ordinary run in OUT/cells/CELL/seedN, trained and measured by a process of its own,
    which goes on from the run's newest checkpoint. OUT/log.jsonl tells what happened.

    Args:
        plan: what to do.
        out: the experiment's folder; new, or one of the same experiment.
        only: names of cells; none for all.
        jobs: how many at once; nothing for one a core, or one a CUDA device.
        device: cpu or cuda.
        weights: pretrained weights for the metrics.
        command: what the user typed, for the record.

    Raises:
        LimnerError: OUT holds something else; `Stopped` after a signal; `FailedCellsError` when all
            others are done.
    """
    wanted = plan.jobs(only)
    busy = f"{out} is being worked on by another `limner experiment`: wait for it, or stop it"
    places = crew.slots(device, jobs)
    check_record(out, plan)  # before a lock is left in a folder of other things
    with locked(out / LOCK, wait=False, busy=busy):
        record = open_record(out, plan)
        log = JsonLog(out)
        try:
            left = [job for job in wanted if not is_done(job, plan, out)]
            done = len(wanted) - len(left)
            log(
                "start",
                {
                    "command": command,
                    "cells": len(wanted),
                    "done": done,
                    "metrics": list(plan.metrics),
                },
            )
            _work(left, plan, out, places, device, weights, command, log)
        except crew.Stopped:
            log("interrupted", {})
            raise
        finally:
            log.close()
    return record


def _work(
    left: list[Job],
    plan: Plan,
    out: Path,
    places: Sequence[Mapping[str, str]],
    device: str,
    weights: Path | None,
    command: str,
    log: JsonLog,
) -> None:
    tasks = {job.name: task_of(job, plan, out, device, weights, command) for job in left}
    by_name = {job.name: job for job in left}
    stands = {job.name: _stands(job.folder(out)) for job in left}
    if not tasks:
        return
    steps = sum(job.plan.steps - stands[job.name] for job in left)
    board = Board(cells=len(left), steps=steps)
    board.say(
        f"{len(left)} trainings to do, {steps:,} steps in all, {min(len(places), len(left))} "
        f"at once, into {out}"
    )
    failed: dict[str, str] = {}

    def started(task: Task, pid: int) -> None:
        job = by_name[task.name]
        step = stands[task.name]
        board.start(task.name, step=step, total=job.plan.steps)
        facts = {"cell": job.plan.cell.name, "seed": job.seed, "from_step": step}
        log("cell-started", facts | {"pid": pid})

    def running(task: Task) -> None:
        board.update(task.name, steps_done(by_name[task.name].folder(out)))

    def ended(task: Task, trouble: str) -> None:
        job = by_name[task.name]
        if not trouble and not is_done(job, plan, out):
            trouble = f"it ended without its results; see {task.log}"
        if trouble:
            failed[task.name] = trouble
        board.end(task.name, trouble)
        facts = {"cell": job.plan.cell.name, "seed": job.seed}
        if trouble:
            log("cell-failed", facts | {"reason": trouble})
        else:
            log("cell-done", facts)

    try:
        crew.work(
            list(tasks.values()), places, out=out, started=started, running=running, ended=ended
        )
    finally:
        board.close()
    if failed:
        name, reason = next(iter(failed.items()))
        raise FailedCellsError(
            f"{len(failed)} of {len(left)} trainings failed, the first {name}: {reason}; the "
            "others are kept: cure it and repeat the command"
        )


def _stands(run: Path) -> int:
    checkpoint = newest(run)
    return 0 if checkpoint is None else int(checkpoint.name)


def task_of(
    job: Job, plan: Plan, out: Path, device: str, weights: Path | None, command: str
) -> Task:
    """Return the task of the child that does a job."""
    run = job.folder(out)
    spec = {
        "kind": "cell",
        "run": str(run),
        "config": job.plan.seeded(job.seed).model_dump(mode="json"),
        "stages": [
            {"step": one.step, "early": one.early, "folder": one.folder(plan.split)}
            for one in job.plan.measurements
        ],
        "data": str(plan.data),
        "split": plan.split,
        "metrics": list(plan.metrics),
        "weights": None if weights is None else str(weights),
        "device": device,
        "command": command,
    }
    return Task(job.name, spec, run.with_name(f"{run.name}.txt"))
