"""One training of an experiment, in a process of its own; its files alone tell what is done.

`python -m limner.experiments.cell` is that process. The first line of its stdin is the task as
JSON. The pipe stays open as long as the parent lives: when it ends, however the parent ended, this
process ends too, so that none is left writing into a run that is taken up again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.errors import CheckpointError, LimnerError

FOREVER = -1.0
"""To `files.lock`: a process of an earlier attempt may need a moment more to end."""


@dataclass(frozen=True)
class Stage:
    """A step at which a training is measured, and the folder in RUN/evaluation that keeps it.

    `early` is a measurement on the way; the training goes on after it.
    """

    step: int
    folder: str
    early: bool = False


@dataclass(frozen=True)
class CellTask:
    """All that the process of a cell has to know; made of plain values, so that JSON carries it."""

    run: str
    config: dict[str, Any]
    stages: tuple[Stage, ...]
    data: str
    split: str
    metrics: tuple[str, ...]
    weights: str | None
    device: str
    command: str

    def to_json(self) -> dict[str, Any]:
        """Return the task for the process's first line."""
        return {"kind": "cell", **asdict(self)}

    @classmethod
    def from_json(cls, task: dict[str, Any]) -> CellTask:
        """Return what `to_json` was made of."""
        fields = {key: value for key, value in task.items() if key != "kind"}
        fields["stages"] = tuple(Stage(**stage) for stage in task["stages"])
        return cls(**{**fields, "metrics": tuple(task["metrics"])})


def train_and_measure(task: CellTask) -> None:
    """Train a cell to its end and measure it at every planned step, from wherever it stands.

    A measurement on the way is made when the training has come to its step, which is then a
    checkpoint, and is put aside before the training goes on.

    Raises:
        LimnerError: the training or the measurement failed, or the run was trained otherwise.
    """
    from limner.config import Config
    from limner.evaluation.evaluate import evaluate
    from limner.files import lock
    from limner.reporting.run_page import write_report

    run, config = Path(task.run), Config.model_validate(task.config)
    weights = None if task.weights is None else Path(task.weights)
    with lock(run.with_name(f".{run.name}.lock"), timeout=FOREVER):
        for stage in task.stages:
            if stage.early and measured(run, stage, split=task.split, metrics=task.metrics):
                continue
            _train_to(run, config, stage, task, weights)
            evaluate(
                run,
                Path(task.data),
                split=task.split,
                metrics=list(task.metrics),
                checkpoint=str(stage.step),
                weights=weights,
                device=task.device,
                command=task.command,
                reuse=True,
            )
            if stage.early:
                kept = run / "evaluation" / stage.folder
                shutil.rmtree(kept, ignore_errors=True)
                (run / "evaluation" / task.split).rename(kept)
        write_report(run)


def _train_to(run: Path, config: Any, stage: Stage, task: CellTask, weights: Path | None) -> None:
    """Bring a run to the step of a stage, on from wherever it stands."""
    from limner.api import train
    from limner.config import replace

    if stage.early:
        config = replace(config, {"training.steps": stage.step})
    reached = step_of_checkpoint(run)
    if reached > stage.step:
        raise CheckpointError(
            f"{run} has been trained past step {stage.step}, where it was to be measured by "
            f"{', '.join(task.metrics)}: give --metrics as before, or remove {run}"
        )
    if reached == stage.step:
        if not same_settings(run, config):
            raise CheckpointError(f"{run} was trained by other settings: remove it")
        return
    train(
        config,
        out=run,
        resume=True,
        allow=("training.steps",),
        accelerator="cpu" if task.device == "cpu" else "cuda",
        weights=weights,
        command=task.command,
    )


# What is done already


def measured(
    run: Path, stage: Stage, *, split: str, metrics: Sequence[str]
) -> dict[str, Any] | None:
    """Return the results of a run at a stage, or None where they are not there or not sound.

    They count if they were measured on that split, at that very step, by all the metrics, and are
    numbers.
    """
    from limner.files import read_json

    path = run / "evaluation" / stage.folder / "results.json"
    try:
        results = read_json(path)
        values, step = results["scores"]["values"], int(results["checkpoint"])
        complete = all(math.isfinite(values[metric]) for metric in metrics)
        intervals = [results["scores"]["details"].get(metric, {}) for metric in metrics]
        sound = all(isinstance(each, dict) for each in intervals) and results["images"] >= 1
    except (OSError, LimnerError, ValueError, KeyError, TypeError, AttributeError):
        return None
    asked = (step, results.get("split")) == (stage.step, split)
    return results if complete and sound and asked else None


def step_of_checkpoint(run: Path) -> int:
    """Return the step of a run's newest checkpoint; 0 where it has none."""
    from limner.run import newest

    checkpoint = newest(run)
    return 0 if checkpoint is None else int(checkpoint.name)


def is_done(task: CellTask) -> bool:
    """Whether a training has come to its end by the planned settings and is measured."""
    from limner.config import Config

    run = Path(task.run)
    if any(
        measured(run, stage, split=task.split, metrics=task.metrics) is None
        for stage in task.stages
    ):
        return False
    if step_of_checkpoint(run) != task.stages[-1].step:
        return False
    return same_settings(run, Config.model_validate(task.config))


def same_settings(run: Path, config: Any) -> bool:
    """Whether a run was trained by these settings, but for what changes no figure."""
    from limner.config import differences, read_config
    from limner.run import HARMLESS

    try:
        trained = read_config(run / "config.yaml")
    except LimnerError:
        return False
    return set(differences(trained, config)) <= HARMLESS


def steps_done(run: Path) -> int:
    """Return the step that the log of a run has come to; 0 for none.

    Only the end of the file is read: it is asked for every second.
    """
    try:
        with (run / "log.jsonl").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 8192))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return 0
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and isinstance(event.get("step"), int):
                return event["step"]
    return 0


# The process


def main() -> int:
    """Do the task and return the exit status; what went wrong is the last line of stderr."""
    task = json.loads(_first_line())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if task["kind"] == "cell":
            train_and_measure(CellTask.from_json(task))
        else:
            from limner.experiments.epochs import measure_task

            measure_task(task)
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
        """Nothing more is said: only the pipe's end is awaited."""
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
