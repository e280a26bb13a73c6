"""What of an experiment is done already: judged by the files of each run alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limner.config import Config, differences, read_config
from limner.errors import LimnerError
from limner.experiments.plan import Job, Measurement, Plan
from limner.experiments.record import FREE
from limner.training.checkpoint import newest


def results_of(
    run: Path, measurement: Measurement, *, split: str, metrics: tuple[str, ...]
) -> dict[str, Any] | None:
    """Return the results of a run at the step of a row, or nothing where they are not there.

    They count if they were measured on that split, at that very step, by all the metrics.
    """
    path = run / "evaluation" / measurement.folder(split) / "results.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        values, checkpoint = found["scores"]["values"], int(found["checkpoint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    wanted = checkpoint == measurement.step and found.get("split") == split
    return found if wanted and set(metrics) <= set(values) else None


def is_done(job: Job, plan: Plan, out: Path) -> bool:
    """Whether a training has come to its end by the planned settings and is measured."""
    run = job.folder(out)
    if any(
        results_of(run, measurement, split=plan.split, metrics=plan.metrics) is None
        for measurement in job.plan.measurements
    ):
        return False
    checkpoint = newest(run)
    if checkpoint is None or int(checkpoint.name) != job.plan.steps:
        return False
    return same_settings(run, job.plan.seeded(job.seed))


def same_settings(run: Path, config: Config) -> bool:
    """Whether a run was trained by these settings, but for what changes no figure."""
    try:
        found = read_config(run / "config.yaml")
    except LimnerError:
        return False
    return not [key for key in differences(found, config) if key not in FREE - {"seed"}]


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
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("step"), int):
            return event["step"]
    return 0
