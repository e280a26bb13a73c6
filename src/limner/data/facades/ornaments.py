"""Ornaments of the drawn facades: hoods, balconies, pillars, mouldings, reliefs."""

from __future__ import annotations

import numpy as np

from limner.data.facades.canvas import IDS, Box, Canvas, Colour, tone
from limner.data.facades.openings import CLOTH


def hood(canvas: Canvas, box: Box, colour: Colour, kind: str) -> None:
    """Paint the head over a window: `flat`, or a `gable` or `bow` on a flat ledge."""
    left, _, right, bottom = box
    if kind == "flat":
        canvas.relief(box, colour, "cornice", 4 * canvas.unit)
        return
    canvas.shadow((left, bottom - 2 * canvas.unit, right, bottom), 4 * canvas.unit)
    area = canvas.cut(box)
    rows, columns = canvas.label[area].shape
    if not rows or not columns:
        return
    x = np.abs((np.arange(columns, dtype=np.float32)[None] + 0.5) / columns * 2 - 1)
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / rows
    edge = 0.72 * (x if kind == "gable" else x * x)
    step = np.where(y - edge < 0.2, 1.12, np.where(y > 0.75, 1.05, 0.8))[..., None]
    stone = np.asarray(colour, dtype=np.float32) * canvas.grain[area] * step
    canvas.photo[area] = np.where((y > edge)[..., None], stone, canvas.photo[area])
    canvas.label[area] = IDS["cornice"]
    canvas.shade((left, bottom - canvas.unit, right, bottom), 0.75)


def balcony(canvas: Canvas, box: Box, stone: Colour, iron: Colour | None) -> None:
    """Paint a balcony: a slab, and an `iron` railing or, without one, a solid parapet."""
    rng, u = canvas.rng, canvas.unit
    left, top, right, bottom = box
    slab = max(3 * u, 0.2 * (bottom - top))
    if iron is None:
        canvas.relief(box, stone, "balcony", 6 * u)
        for x in np.arange(left + 6 * u, right - 4 * u, 12 * u):
            canvas.shade((x, top + 5 * u, x + 7 * u, bottom - slab), 0.86)
        canvas.relief((left - u, top, right + u, top + 3 * u), tone(stone, 1.08), None, 2 * u)
    else:
        canvas.shade((left, top, right, bottom - slab), 0.8)
        canvas.relief((left, bottom - slab, right, bottom), stone, None, 7 * u)
        pitch = float(rng.choice([3, 4, 5])) * u
        for x in np.arange(left, right, pitch):
            canvas.fill((x, top, x + 1.2 * u, bottom - slab), iron)
        canvas.fill((left, top, right, top + 2 * u), tone(iron, 1.3))
        canvas.fill((left, bottom - slab - 2 * u, right, bottom - slab), iron)
        if rng.random() < 0.4:
            middle = top + (bottom - slab - top) * 0.5
            canvas.fill((left, middle - u, right, middle + u), iron)
        if rng.random() < 0.35:  # flower boxes
            for x in np.arange(left, right, 7 * u):
                green = tone((0.24, 0.36, 0.16), float(rng.uniform(0.6, 1.3)))
                flower = CLOTH[int(rng.integers(len(CLOTH)))] if rng.random() < 0.3 else green
                canvas.fill((x, top - u * rng.uniform(0, 4), x + 6 * u, top + 3 * u), flower)
        canvas.label[canvas.cut(box)] = IDS["balcony"]


def pillar(canvas: Canvas, box: Box, stone: Colour, *, fluted: bool) -> None:
    """Paint a pilaster: rounded shaft, base and capital."""
    left, top, right, bottom = box
    width, u = right - left, canvas.unit
    canvas.shadow(box, 4 * u)
    canvas.fill(box, stone, "pillar")
    for k in range(5):  # lit on one side, in its own shade on the other
        x, place = left + width * k / 5, k if canvas.side > 0 else 4 - k
        canvas.shade((x, top, x + width / 5, bottom), (1.02, 1.12, 1.03, 0.9, 0.74)[place])
    if fluted:
        for x in np.arange(left + 2 * u, right - u, 3 * u):
            canvas.shade((x, top, x + u, bottom), 0.8)
    head = max(4 * u, width * 0.5)
    for edge in (
        (left - u, top, right + u, top + head),
        (left - u, bottom - head, right + u, bottom),
    ):
        canvas.relief(edge, tone(stone, 1.05), None, 2 * u)


def band(canvas: Canvas, box: Box, stone: Colour, *, teeth: bool) -> None:
    """Paint a string course or a main cornice in steps, with a row of dentils if asked."""
    left, top, right, bottom = box
    height, u = bottom - top, canvas.unit
    canvas.shadow(box, max(3 * u, 0.45 * height))
    canvas.fill(box, stone, "moulding")
    steps = ((0.0, 0.18, 1.14), (0.18, 0.36, 0.86), (0.36, 0.62, 1.04), (0.62, 0.8, 0.78),
             (0.8, 1.0, 0.94))  # fmt: skip
    for low, high, factor in steps:
        canvas.shade((left, top + low * height, right, top + high * height), factor)
    if teeth:
        for x in np.arange(left, right, 6 * u):
            canvas.shade((x, top + 0.4 * height, x + 3 * u, top + 0.75 * height), 0.66)


def deco(canvas: Canvas, box: Box, stone: Colour) -> None:
    """Paint an ornament in relief: a framed panel with a boss or a garland."""
    rng, u = canvas.rng, canvas.unit
    left, top, right, bottom = box
    canvas.relief(box, stone, "deco", 2 * u)
    inner = (left + 2 * u, top + 2 * u, right - 2 * u, bottom - 2 * u)
    canvas.shade(inner, 0.82)
    rows, columns = canvas.label[canvas.cut(inner)].shape
    if rows and columns:
        x = np.abs((np.arange(columns, dtype=np.float32)[None] + 0.5) / columns * 2 - 1)
        y = np.abs((np.arange(rows, dtype=np.float32)[:, None] + 0.5) / rows * 2 - 1)
        boss = (x + y < 0.8) if rng.random() < 0.5 else (x * x + y * y < 0.6)
        rough = np.where(boss, 1.35, 1.0) * (0.85 + 0.3 * rng.random((rows, columns)))
        canvas.photo[canvas.cut(inner)] *= rough[..., None].astype(np.float32)
