"""An experiment from its plan to its report, cell by cell, from wherever it stands."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import CheckpointError, LimnerError, TrainingError
from limner.experiments.cell import CellTask, Stage, is_done, step_of_checkpoint, steps_done
from limner.experiments.epochs import ROUNDS, STEPS, WARM, read_times, runs_to_time
from limner.experiments.planning import Job, Plan
from limner.experiments.record import check_record, open_record, read_record
from limner.experiments.results import write_report
from limner.experiments.workers import (
    Begun,
    ClusterWorkers,
    Stopped,
    Task,
    Workers,
    local_workers,
    see_through,
)
from limner.files import lock, sweep
from limner.terminal import Bars, duration
from limner.training.events import JsonLog

LOCK = ".lock"
SECONDS_BETWEEN_LINES = 60.0


class FailedCellsError(LimnerError):
    """Some trainings failed; the others are kept."""

    exit_code = 1


def run_experiment(
    plan: Plan,
    *,
    out: Path,
    only: Sequence[str] = (),
    jobs: int | None = None,
    cluster: str | None = None,
    device: str = "cpu",
    weights: Path | None = None,
    times: bool = True,
    command: str = "",
) -> dict[str, Any]:
    """Train and measure what is not done yet, time the epochs, and write the report.

    Args:
        plan, out, only, jobs, cluster, device, weights, command: as `run_cells` takes them.
        times: whether epochs are timed, once all cells have a training that is done, and anew
            where other cells have been timed before.

    Returns:
        What OUT/results.json holds.

    Raises:
        LimnerError: as `run_cells`; where trainings failed, the report is written all the same.
    """
    failed: FailedCellsError | None = None
    try:
        run_cells(
            plan,
            out=out,
            only=only,
            jobs=jobs,
            cluster=cluster,
            device=device,
            weights=weights,
            command=command,
        )
    except FailedCellsError as error:
        failed = error
    results = write_report(out)
    if times and failed is None and _times_due(out, results):
        time_epochs(out, data=plan.data, device=device, weights=weights, cluster=cluster)
        results = write_report(out)
    if failed is not None:
        raise failed
    return results


def _times_due(out: Path, results: dict[str, Any]) -> bool:
    times = read_times(out)
    known = set(times["cells"]) if times else set()
    return all(row["seeds"] for row in results["rows"]) and known != set(results["record"]["cells"])


def run_cells(
    plan: Plan,
    *,
    out: Path,
    only: Sequence[str] = (),
    jobs: int | None = None,
    cluster: str | None = None,
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
        jobs: how many at once; None for one a core, or one a CUDA device.
        cluster: a dask scheduler's address or file, whose workers train instead of this machine.
        device: cpu or cuda.
        weights: pretrained weights for the metrics.
        command: what the user typed, for the record.

    Raises:
        LimnerError: OUT holds something else; `Stopped` after a signal; `FailedCellsError` when all
            others are done.
    """
    wanted = plan.jobs(only)
    check_record(out, plan)  # before a lock is left in a folder of other things
    shared = [plan.data, *([] if weights is None else [weights])]
    workers = open_workers(device, jobs=jobs, cluster=cluster, shared=shared)
    try:
        with lock(out / LOCK):
            sweep(out, below=False)  # each run has a lock of its own
            record = open_record(out, plan)
            log = JsonLog(out)
            try:
                tasks = {
                    job.name: task_of(job, plan, out, device, weights, command) for job in wanted
                }
                left = [job for job in wanted if not is_done(tasks[job.name])]
                facts = {"cells": len(wanted), "done": len(wanted) - len(left)}
                log("start", {"command": command, **facts, "metrics": list(plan.metrics)})
                _Cells(left, tasks, out, workers, log).see_through()
            finally:
                log.close()
    finally:
        workers.close()
    return record


def open_workers(
    device: str, *, jobs: int | None, cluster: str | None, shared: Sequence[Path]
) -> Workers:
    """Return the places in which an experiment's processes run, as the command asked for them.

    Raises:
        ConfigError: there are none such.
    """
    if cluster is None:
        return local_workers(device, jobs)
    return ClusterWorkers(cluster, device=device, shared=shared)


def task_of(
    job: Job, plan: Plan, out: Path, device: str, weights: Path | None, command: str
) -> CellTask:
    """Return what the process of a job has to know; paths hold wherever it runs."""
    config = job.plan.seeded(job.seed).model_dump(mode="json")
    config["data"]["root"] = str(plan.data.absolute())
    return CellTask(
        run=str(job.folder(out).absolute()),
        config=config,
        stages=tuple(
            Stage(one.step, one.folder(plan.split), one.early) for one in job.plan.measurements
        ),
        data=str(plan.data.absolute()),
        split=plan.split,
        metrics=plan.metrics,
        weights=None if weights is None else str(weights.absolute()),
        device=device,
        command=command,
    )


class _Cells:
    """The trainings that are left: handed in, logged, shown, and looked at when they end."""

    def __init__(
        self,
        left: Sequence[Job],
        tasks: Mapping[str, CellTask],
        out: Path,
        workers: Workers,
        log: JsonLog,
    ) -> None:
        self.out, self.workers, self.log = out, workers, log
        self.jobs = {job.name: job for job in left}
        self.tasks = {job.name: tasks[job.name] for job in left}
        self.failed: dict[str, str] = {}

    def see_through(self) -> None:
        """Wait until all have ended.

        Raises:
            Stopped: after a signal. FailedCellsError: some failed.
        """
        if not self.jobs:
            return
        tasks = [
            Task(name, task.to_json(), self._log_of(name)) for name, task in self.tasks.items()
        ]
        steps = sum(job.plan.steps - self._stands(name) for name, job in self.jobs.items())
        at_once = min(self.workers.at_once, len(tasks))
        self.progress = Progress(cells=len(tasks), steps=steps)
        self.progress.say(
            f"{len(tasks)} trainings to do, {steps:,} steps in all, {at_once} at once, into "
            f"{self.out}"
        )
        try:
            see_through(
                tasks,
                self.workers,
                out=self.out,
                started=self._started,
                running=lambda name: self.progress.update(name, steps_done(self._run(name))),
                ended=self._ended,
            )
        except Stopped:
            self.log("interrupted", {})
            raise
        finally:
            self.progress.close()
        if self.failed:
            name, reason = next(iter(self.failed.items()))
            raise FailedCellsError(
                f"{len(self.failed)} of {len(tasks)} trainings failed, the first {name}: {reason}; "
                "the others are kept: cure it and repeat the command"
            )

    def _run(self, name: str) -> Path:
        return Path(self.tasks[name].run)

    def _log_of(self, name: str) -> Path:
        run = self._run(name)
        return run.with_name(f"{run.name}.txt")

    def _stands(self, name: str) -> int:
        return step_of_checkpoint(self._run(name))

    def _facts(self, name: str) -> dict[str, Any]:
        job = self.jobs[name]
        return {"cell": job.plan.cell.name, "seed": job.seed}

    def _started(self, process: Begun) -> None:
        name, step = process.name, self._stands(process.name)
        self.progress.start(name, step=step, total=self.jobs[name].plan.steps)
        where = {"from_step": step, "host": process.host, "pid": process.pid}
        self.log("cell-started", self._facts(name) | where)

    def _ended(self, name: str, trouble: str) -> None:
        if not trouble and not is_done(self.tasks[name]):
            trouble = f"it ended without its results; see {self._log_of(name)}"
        self.progress.end(name, trouble)
        if trouble:
            self.failed[name] = trouble
            self.log("cell-failed", self._facts(name) | {"reason": trouble})
        else:
            self.log("cell-done", self._facts(name))


def time_epochs(
    out: Path,
    *,
    data: Path | None = None,
    device: str = "cpu",
    weights: Path | None = None,
    cluster: str | None = None,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    warm: int = WARM,
) -> None:
    """Time the epochs of all cells that have a checkpoint, in a process of its own.

    On the CPU it has one thread, as the trainings had. See `epochs.measure_times`.

    Raises:
        CheckpointError: no cell has one yet. TrainingError: the timing failed.
    """
    record = read_record(out)
    runs = runs_to_time(out, list(record["cells"]), record["seeds"])
    if not runs:
        raise CheckpointError(f"{out} has no trained cell to time: train some first")
    root = data or Path(record["data"])
    spec = {
        "kind": "times",
        "runs": {name: str(run.absolute()) for name, run in runs.items()},
        "out": str(out.absolute()),
        "root": str(root.absolute()),
        "device": device,
        "weights": None if weights is None else str(weights.absolute()),
        "rounds": rounds,
        "steps": steps,
        "warm": warm,
    }
    trouble: list[str] = []
    workers = open_workers(device, jobs=1, cluster=cluster, shared=[out, root])
    try:
        with lock(out / LOCK):
            see_through(
                [Task("timing", spec, out.absolute() / "times.txt")],
                workers,
                out=out,
                started=lambda process: None,
                running=lambda name: None,
                ended=lambda name, reason: trouble.append(reason),
            )
    finally:
        workers.close()
    if any(trouble):
        raise TrainingError(f"epochs could not be timed: {trouble[0]}")


# What is shown meanwhile


@dataclass
class Line:
    """One training as it is shown."""

    total: int
    first: int
    step: int
    bar: int
    begun: float = field(default_factory=time.monotonic)

    @property
    def pace(self) -> float:
        """Seconds a step since it was taken up; 0 while that is not known."""
        done = self.step - self.first
        return (time.monotonic() - self.begun) / done if done > 0 else 0.0


class Progress:
    """Bars on a terminal; elsewhere a line at a cell's begin and end, and one a minute."""

    def __init__(self, *, cells: int, steps: int) -> None:
        """Show so many trainings of so many steps in all that are still to be taken."""
        from rich.progress import MofNCompleteColumn

        self.bars = Bars(MofNCompleteColumn())
        self.cells, self.ended, self.steps, self.walked = cells, 0, steps, 0
        self.begun, self.last_line = time.monotonic(), time.monotonic()
        self.lines: dict[str, Line] = {}
        self.bars.start()

    def start(self, name: str, *, step: int, total: int) -> None:
        """Begin a line for a training that stands at `step`; anew where its worker died."""
        if name in self.lines:
            self.bars.remove(self.lines.pop(name).bar)
        bar = self.bars.add(name, total=total, done=step, words="starting")
        self.lines[name] = Line(total, step, step, bar)
        where = f"goes on from step {step:,} of" if step else "begins:"
        self._line(f"{name} {where} {total:,} steps")

    def update(self, name: str, step: int) -> None:
        """Move a training's line."""
        line = self.lines[name]
        # A training that was cut off goes on from its last checkpoint, behind what its log said.
        line.first = min(line.first, step)
        line.step = step
        self.bars.update(line.bar, done=step, words=self._left(line))
        if time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            each = "; ".join(
                f"{known} {one.step:,} of {one.total:,} ({self._left(one)})"
                for known, one in self.lines.items()
            )
            self._line(f"{each}; {self.ended} of {self.cells} done, {self.left()}")

    def end(self, name: str, trouble: str = "") -> None:
        """Take a line away; say how the training ended."""
        self.ended += 1
        if name not in self.lines:  # it was given up before it began
            self.say(f"{name} failed: {trouble}")
            return
        line = self.lines.pop(name)
        self.walked += max(0, line.total - line.first)
        self.bars.remove(line.bar)
        how = f"failed: {trouble}" if trouble else f"done in {duration(self._since(line.begun))}"
        self.say(f"{name} {how}; {self.ended} of {self.cells} done, {self.left()}")

    def left(self) -> str:
        """Return in words how long all that is left will take at the pace so far."""
        walked = self.walked + sum(line.step - line.first for line in self.lines.values())
        if not walked or walked >= self.steps:
            return "nothing left" if walked else "time left not known yet"
        seconds = self._since(self.begun) * (self.steps - walked) / walked
        return f"about {duration(seconds)} left"

    def _left(self, line: Line) -> str:
        if line.step >= line.total:
            return "measuring"
        if not line.pace:
            return "starting"
        left = duration(line.pace * (line.total - line.step))
        return f"{line.pace:.3f} s a step, {left} left"

    @staticmethod
    def _since(moment: float) -> float:
        return time.monotonic() - moment

    def _line(self, text: str) -> None:
        if not self.bars.on_terminal:
            self.say(text)

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        self.bars.say(text)

    def close(self) -> None:
        """Leave what is shown as it stands."""
        self.bars.close()
