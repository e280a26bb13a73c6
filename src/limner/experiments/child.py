"""The process of one training: `python -m limner.experiments.child`, told on stdin what to do.

The first line of stdin is the task as JSON. The pipe stays open as long as the parent lives: when
it ends, however the parent ended, this process ends too, so that none is left writing into a run
that is taken up again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from limner.errors import CheckpointError, LimnerError


def main() -> int:
    """Do the task and return the exit status; what went wrong is the last line of stderr."""
    task = json.loads(_first_line())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        TASKS[task["kind"]](task)
    except LimnerError as error:
        print(f"limner: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _first_line() -> bytes:
    # Unbuffered: a thread that waits in a buffered read holds a lock that the exit needs.
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            os._exit(1)
        line += piece
    return line


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass  # nothing more is said: only the pipe's end is awaited
    os._exit(1)


def train_and_measure(task: dict[str, Any]) -> None:
    """Train a cell to its end and measure it at every planned step, from wherever it stands.

    A measurement on the way is made when the training has come to its step, which is then a
    checkpoint, and is put aside before the training goes on.

    Raises:
        LimnerError: the training or the measurement failed, or the run was trained otherwise.
    """
    from limner.config import Config
    from limner.evaluation.evaluate import evaluate
    from limner.evaluation.report import write_report
    from limner.experiments.locking import locked

    run, config = Path(task["run"]), Config.model_validate(task["config"])
    weights = None if task["weights"] is None else Path(task["weights"])
    # A process of an earlier attempt may need a moment more to end.
    with locked(run.with_name(f".{run.name}.lock"), wait=True):
        for stage in task["stages"]:
            kept = run / "evaluation" / stage["folder"]
            if stage["early"] and _measured(kept, stage["step"], task["metrics"]):
                continue
            _train_to(run, config, stage, task, weights)
            evaluate(
                run,
                Path(task["data"]),
                split=task["split"],
                metrics=task["metrics"],
                checkpoint=str(stage["step"]),
                weights=weights,
                device=task["device"],
                command=task["command"],
                reuse=True,
            )
            if stage["early"]:
                shutil.rmtree(kept, ignore_errors=True)
                (run / "evaluation" / task["split"]).rename(kept)
        write_report(run)


def _measured(folder: Path, step: int, metrics: list[str]) -> bool:
    try:
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return int(found["checkpoint"]) == step and set(metrics) <= set(found["scores"]["values"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _train_to(
    run: Path, config: Any, stage: dict[str, Any], task: dict[str, Any], weights: Path | None
) -> None:
    """Bring a run to the step of a stage, on from wherever it stands."""
    from limner.config import with_overrides
    from limner.experiments.finished import same_settings
    from limner.training import train
    from limner.training.checkpoint import newest

    if stage["early"]:
        config = with_overrides(config, [f"training.steps={stage['step']}"])
    checkpoint = newest(run)
    reached = 0 if checkpoint is None else int(checkpoint.name)
    if reached > stage["step"]:
        raise CheckpointError(
            f"{run} has been trained past step {stage['step']}, where it was to be measured by "
            f"{', '.join(task['metrics'])}: give --metrics as before, or remove {run}"
        )
    if reached == stage["step"]:
        if not same_settings(run, config):
            raise CheckpointError(f"{run} was trained by other settings: remove it")
        return
    train(
        config,
        out=run,
        resume=True,
        allow=("training.steps",),
        accelerator="cpu" if task["device"] == "cpu" else "cuda",
        weights=weights,
        command=task["command"],
    )


def time_cells(task: dict[str, Any]) -> None:
    """Time the training steps of an experiment's cells: `times.measure_times`."""
    from limner.experiments.times import measure_times

    measure_times(
        {name: Path(run) for name, run in task["runs"].items()},
        out=Path(task["out"]),
        root=Path(task["data"]),
        device=task["device"],
        weights=None if task["weights"] is None else Path(task["weights"]),
        rounds=task["rounds"],
        steps=task["steps"],
        warm=task["warm"],
    )


TASKS = {"cell": train_and_measure, "times": time_cells}
"""What a child can be asked to do, by the task's `kind`."""


if __name__ == "__main__":
    sys.exit(main())
