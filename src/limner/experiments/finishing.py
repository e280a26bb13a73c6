"""What comes after the trainings: epochs timed once all are there, and the whole in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limner.errors import CheckpointError, TrainingError
from limner.experiments import crew
from limner.experiments.crew import Task
from limner.experiments.locking import locked
from limner.experiments.plan import Plan
from limner.experiments.record import read_record
from limner.experiments.report import write_report
from limner.experiments.running import LOCK, FailedCellsError, run_cells
from limner.experiments.times import ROUNDS, STEPS, WARM, read_times, runs_to_time


def run_experiment(
    plan: Plan,
    *,
    out: Path,
    only: Sequence[str] = (),
    jobs: int | None = None,
    device: str = "cpu",
    weights: Path | None = None,
    times: bool = True,
    command: str = "",
) -> dict[str, Any]:
    """Train and measure what is not done yet, time the epochs, and write the report.

    Args: as for `running.run_cells`; `times` is whether epochs are timed, once all cells have a
    training that is done, and anew where other cells have been timed before.

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
            device=device,
            weights=weights,
            command=command,
        )
    except FailedCellsError as error:
        failed = error
    results = write_report(out)
    if times and failed is None and _times_due(out, results):
        time_epochs(out, data=plan.data, device=device, weights=weights)
        results = write_report(out)
    if failed is not None:
        raise failed
    return results


def _times_due(out: Path, results: dict[str, Any]) -> bool:
    found = read_times(out)
    known = set(found["cells"]) if found else set()
    return all(row["seeds"] for row in results["rows"]) and known != set(results["record"]["cells"])


def time_epochs(
    out: Path,
    *,
    data: Path | None = None,
    device: str = "cpu",
    weights: Path | None = None,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    warm: int = WARM,
) -> None:
    """Time the epochs of all cells that have a checkpoint, in a process of its own.

    On the CPU it has one thread, as the trainings had. See `times.measure_times`.

    Raises:
        CheckpointError: no cell has one yet. TrainingError: the timing failed.
    """
    record = read_record(out)
    runs = runs_to_time(out, list(record["cells"]), record["seeds"])
    if not runs:
        raise CheckpointError(f"{out} has no trained cell to time: train some first")
    spec = {
        "kind": "times",
        "runs": {name: str(run) for name, run in runs.items()},
        "out": str(out),
        "data": str(data or record["data"]),
        "device": device,
        "weights": None if weights is None else str(weights),
        "rounds": rounds,
        "steps": steps,
        "warm": warm,
    }
    trouble: list[str] = []
    busy = f"{out} is being worked on by another `limner experiment`: wait for it, or stop it"
    with locked(out / LOCK, wait=False, busy=busy):
        crew.work(
            [Task("timing", spec, out / "times.txt")],
            crew.slots(device, 1),
            out=out,
            started=lambda task, pid: None,
            running=lambda task: None,
            ended=lambda task, reason: trouble.append(reason),
        )
    if any(trouble):
        raise TrainingError(f"epochs could not be timed: {trouble[0]}")
