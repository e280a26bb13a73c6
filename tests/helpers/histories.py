"""Records of trainings that never were: the course of each scalar in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from limner.health.history import History, Series

# The course of a healthy training of the bench, `facades`: from its first lines to its last.
HEALTHY: dict[str, tuple[float, ...]] = {
    "g/l1": (0.37, 0.35, 0.34, 0.33, 0.32, 0.31, 0.305, 0.30, 0.295, 0.29),
    "g/gan": (0.72, 0.85, 1.1, 1.4, 1.5, 1.6, 1.6, 1.6, 1.6, 1.65),
    "d/real": (0.69, 0.62, 0.5, 0.38, 0.33, 0.31, 0.31, 0.32, 0.31, 0.31),
    "d/fake": (0.69, 0.6, 0.45, 0.33, 0.3, 0.29, 0.3, 0.29, 0.29, 0.28),
    "d/accuracy": (0.53, 0.7, 0.85, 0.95, 0.95, 0.94, 0.94, 0.93, 0.93, 0.93),
    "d/accuracy_real": (0.5, 0.68, 0.84, 0.94, 0.95, 0.93, 0.93, 0.92, 0.92, 0.92),
    "health/l1_flat": (0.35, 0.35, 0.35, 0.35, 0.35),
    "health/following": (0.12, 0.15, 0.2, 0.3, 0.35, 0.4, 0.4, 0.4, 0.4, 0.4),
    "health/share/gan": (0.02, 0.07, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2),
    "health/share/l1": (0.98, 0.93, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8),
    "health/gradient/generator": (30.0, 35.0, 40.0, 45.0, 50.0),
    "health/gradient/discriminator_0": (1.0, 2.0, 5.0, 4.0, 4.0),
    "health/update/generator": (0.005, 0.005, 0.005, 0.005, 0.005),
    "health/update/discriminator_0": (0.006, 0.008, 0.008, 0.006, 0.006),
    "health/checkerboard": (0.01, -0.01, 0.0, -0.02, 0.01),
    "health/checkerboard_decibels": (14.0, 12.0, 10.0, 6.0, 5.0),
    "health/blob": (4.0, 3.5, 4.0, 3.0, 4.0),
    "health/logit/real/0": (0.1, 0.5, 1.0, 1.8, 2.2),
    "health/logit/fake/0": (0.0, -0.4, -1.0, -1.5, -1.8),
    "health/logit/held_out/0": (0.1, 0.5, 0.9, 1.7, 2.0),
    "val/g/l1": (0.37, 0.355, 0.35, 0.345, 0.343, 0.341, 0.340, 0.339, 0.338, 0.338),
}


def series(course: Sequence[float], *, steps: int, points: int, jitter: float = 0.0) -> Series:
    """Return a scalar whose course over `steps` passes through the numbers, evenly spread."""
    at = np.linspace(steps / points, steps, points)
    values = np.interp(at, np.linspace(at[0], steps, len(course)), course)
    noise = np.random.default_rng(len(course) + points).normal(size=points)
    return Series(at.round(), values * (1 + jitter * noise))


def history(
    changed: dict[str, Sequence[float] | None] | None = None,
    *,
    steps: int = 1000,
    points: int = 50,
    jitter: float = 0.01,
    only: Sequence[str] | None = None,
    **facts: Any,
) -> History:
    """Return a healthy record in which some scalars have another course; None leaves one out."""
    courses = {**HEALTHY, **(changed or {})}
    scalars = {
        name: series(course, steps=steps, points=points, jitter=jitter)
        for name, course in courses.items()
        if course is not None and (only is None or name in only)
    }
    facts = {"gan": "vanilla", "settings": {}, **facts}
    return History(scalars, steps=steps, **facts)
