"""The log of a run as curves: smoothed, and grouped into small diagrams."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.evaluation.metrics import METRICS

SMOOTHED_FROM = 8  # points; a shorter line is shown as it is


@dataclass(frozen=True)
class Line:
    """One curve: its name, its steps in rising order and a value for each."""

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One small diagram: some lines over the steps, and what is marked on it."""

    title: str
    lines: tuple[Line, ...]
    smooth: bool = True
    log: bool = True  # a log scale where the range asks for it
    level: float | None = None  # a faint horizontal line, such as chance
    best: float | None = None  # the step of the best checkpoint
    breaks: tuple[float, ...] = field(default=())  # the steps at which the run was resumed
    note: str = ""

    @property
    def is_smoothed(self) -> bool:
        """Whether any line is long enough to be smoothed at all."""
        return self.smooth and any(len(line.steps) >= SMOOTHED_FROM for line in self.lines)


def lines_of(events: Iterable[dict[str, Any]], event: str) -> dict[str, Line]:
    """Return every numeric field of all events of one kind as a line over `step`.

    Where a step occurs twice (work repeated after a crash) the later value counts. Numbers that
    JSON cannot hold are logged as words ("nan", "inf") and become gaps.
    """
    found: dict[str, dict[float, float]] = {}
    for entry in events:
        step = _number(entry.get("step"))
        if entry.get("event") != event or step is None:
            continue
        for name, value in entry.items():
            number = _number(value)
            if number is not None and name not in ("step", "time", "epoch", "event"):
                found.setdefault(name, {})[step] = number
    return {
        name: Line(name, tuple(sorted(points)), tuple(points[step] for step in sorted(points)))
        for name, points in found.items()
    }


def _number(value: object) -> float | None:
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else math.nan


def smooth(values: Sequence[float], *, span: float) -> list[float]:
    """Return the exponential moving average over about `span` values, free of start-up bias.

    Bias is removed as Adam does it (Kingma and Ba 2015, section 3): divide by 1 - decay^n.
    Gaps (NaN) stay gaps and do not count.
    """
    decay = 1 - 1 / max(span, 1)
    total = weight = 0.0
    averaged = []
    for value in values:
        if math.isnan(value):
            averaged.append(value)
            continue
        total = decay * total + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        averaged.append(total / weight)
    return averaged


def loss_panels(events: Sequence[dict[str, Any]]) -> list[Panel]:
    """Return the diagrams of a training: generator, discriminators, accuracy, rate, pace.

    Scalars with a slash in their name are grouped by what stands before it.
    """
    lines = lines_of(events, "train")
    breaks = tuple(
        step for e in events if e["event"] == "resume" and (step := _number(e.get("step")))
    )
    accuracy = [line for name, line in lines.items() if name.endswith("/accuracy")]
    groups: dict[str, list[Line]] = {}
    for name, line in lines.items():
        if "/" in name and not name.endswith("/accuracy"):
            groups.setdefault(name.split("/", 1)[0], []).append(line)
    order = sorted(groups, key=lambda name: (name != "g", not re.fullmatch(r"d\d*", name), name))
    panels = [Panel(_title(name), tuple(groups[name]), breaks=breaks) for name in order]
    if accuracy:
        note = "0.5 is chance: the discriminator cannot tell real from fake"
        panels.append(
            Panel("Discriminator accuracy", tuple(accuracy), level=0.5, breaks=breaks, note=note)
        )
    rates = [line for name, line in lines.items() if name == "lr" or name.startswith("lr_")]
    if rates:
        panels.append(Panel("Learning rate", tuple(rates), smooth=False, log=False, breaks=breaks))
    if "seconds_per_step" in lines:
        panels.append(Panel("Seconds a step", (lines["seconds_per_step"],), breaks=breaks))
    return panels


def _title(group: str) -> str:
    if re.fullmatch(r"d\d+", group):
        return f"Discriminator {group[1:]}: losses"
    return {"g": "Generator: losses", "d": "Discriminator: losses"}.get(group, group)


def validation_panels(events: Sequence[dict[str, Any]]) -> list[Panel]:
    """Return one diagram a validation metric, the best checkpoint marked."""
    best = best_step(events)
    panels = []
    for name, line in lines_of(events, "validation").items():
        if name == "images":
            continue
        better = f"{METRICS[name].better} is better" if name in METRICS else ""
        panels.append(Panel(name, (line,), smooth=False, best=best, note=better))
    return panels


def best_step(events: Iterable[dict[str, Any]]) -> float | None:
    """Return the step of the checkpoint that was kept as the best, if one was."""
    steps = [_number(e.get("step")) for e in events if e["event"] == "checkpoint" and e.get("best")]
    return steps[-1] if steps else None
