"""A whole house front: its storeys, the rhythm of its windows, its ornaments."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from limner.data.facades.canvas import CLAYS, PAINTS, ROOFS, WALLS, Box, Canvas, Colour, tone
from limner.data.facades.openings import LEAVES, WOOD, Sash, door, shop, slats, window
from limner.data.facades.ornaments import balcony, band, deco, hood, pillar


def house(canvas: Canvas, box: Box) -> None:
    """Compose a whole front: roof, wall, storeys with their windows, ground floor, ornaments."""
    rng, n, u = canvas.rng, len(canvas.label), canvas.unit
    left, top, right, bottom = box
    rich = float(rng.random())  # from a plain modern front to an ornate one
    kinds = ["stucco", "stucco", "brick", "panels"] if rich < 0.3 else ["stucco", "brick", "ashlar"]
    kind = str(rng.choice(kinds))
    paints = CLAYS if kind == "brick" else PAINTS
    wall = tone(paints[int(rng.integers(len(paints)))], float(rng.uniform(0.85, 1.08)))
    stone = tone(PAINTS[int(rng.choice([1, 3, 4, 8]))], float(rng.uniform(0.9, 1.1)))
    if rng.random() < 0.5:  # trimmings in a lighter tone of the wall itself
        stone = tone(wall, 1.15)
    if top > 0.08 * n and rng.random() < 0.65:
        roof(canvas, (left, top - n * rng.uniform(0.04, 0.10), right, top), stone)
    canvas.fill(box, WALLS[kind](rng, n, wall), "wall")

    floors = int(rng.integers(3, 6))
    storey_height = (bottom - top) / (floors + 0.4)
    columns = round((right - left) / (storey_height * rng.uniform(0.6, 1.25)))
    columns = min(max(columns, 3), 9)
    head = (bottom - top) * rng.uniform(0.05, 0.10)  # main cornice and parapet
    shares = rng.uniform(0.9, 1.1, floors)
    shares[-1] *= rng.uniform(1.15, 1.45)
    if rng.random() < 0.35:
        shares[0] *= 0.72
    levels = (
        top + head + (bottom - top - head) * np.concatenate([[0], shares / shares.sum()]).cumsum()
    )
    centres, width = bays(canvas, left, right, columns)
    ground = levels[-2]
    if rich > 0.3 and rng.random() < 0.6:  # the ground floor in another material
        below = str(rng.choice(["grooves", "ashlar", "stucco"]))
        paint = stone if rng.random() < 0.5 else tone(wall, 0.85)
        canvas.fill((left, ground, right, bottom), WALLS[below](rng, n, paint), "wall")
    if rich > 0.45 and rng.random() < 0.55:
        pilasters(canvas, box, levels, centres, stone)
    if rich > 0.2 and rng.random() < 0.85:
        teeth = bool(rich > 0.5 and rng.random() < 0.7)
        band(canvas, (left - 2 * u, top, right + 2 * u, top + head * 0.7), stone, teeth=teeth)
    for floor in range(floors - 1):
        storey(canvas, (left, levels[floor], right, levels[floor + 1]), centres, width, rich, stone)
        if rich > 0.25 and rng.random() < (0.9 if floor == floors - 2 else 0.45):
            low = levels[floor + 1]
            band(
                canvas, (left, low - 2 * u, right, low + rng.uniform(4, 9) * u), stone, teeth=False
            )
    ground_floor(canvas, (left, ground, right, bottom), centres, width, rich, stone)


def roof(canvas: Canvas, box: Box, stone: Colour) -> None:
    """Paint a strip of roof with chimneys and perhaps dormers, above the labelled front."""
    rng, u = canvas.rng, canvas.unit
    left, top, right, bottom = box
    colour = tone(ROOFS[int(rng.integers(len(ROOFS)))], float(rng.uniform(0.8, 1.3)))
    for _ in range(int(rng.integers(0, 4))):
        x = rng.uniform(left, right - 10 * u)
        canvas.fill((x, top - rng.uniform(4, 14) * u, x + rng.uniform(6, 12) * u, bottom), CLAYS[0])
    canvas.fill(box, colour)
    for k, y in enumerate(np.arange(top, bottom, 4 * u)):
        canvas.shade((left, y, right, y + 2 * u), 0.86 if k % 2 else 0.94)
    if rng.random() < 0.45:
        sash = Sash(WOOD[0], 2, 1, 0.0, 0.0, stone, 0.2)
        count = int(rng.integers(2, 5))
        for k in range(count):
            x = left + (right - left) * (k + 0.5) / count
            window(canvas, (x - 6 * u, top + 0.25 * (bottom - top), x + 6 * u, bottom - u), sash)


def bays(canvas: Canvas, left: float, right: float, columns: int) -> tuple[list[float], float]:
    """Return the axes of the window columns and the width of a window."""
    rng = canvas.rng
    pitch = (right - left) / columns
    centres = left + pitch * (np.arange(columns) + 0.5)
    rhythm = rng.random()
    if rhythm < 0.25 and columns % 2 == 0:  # in pairs
        centres += np.where(np.arange(columns) % 2 == 0, 0.16, -0.16) * pitch
    elif rhythm < 0.5 and columns >= 5:  # a wider bay in the middle
        centres += np.clip(np.arange(columns) - (columns - 1) / 2, -1, 1) * 0.16 * pitch
        centres = left + (centres - left - pitch / 2) * 0.9 + pitch * (0.5 + 0.05 * (columns - 1))
    share = rng.uniform(0.38, 0.62)
    return [float(x) for x in centres], float(pitch * share)


def storey(
    canvas: Canvas, box: Box, centres: list[float], width: float, rich: float, stone: Colour
) -> None:
    """Paint one upper storey: a window on every axis and the ornaments that all of them share."""
    rng, u = canvas.rng, canvas.unit
    _, top, _, bottom = box
    height = bottom - top
    high = float(rng.uniform(0.46, 0.64)) * height
    low = top + height * float(rng.uniform(0.80, 0.9)) if rich > 0.2 else top + 0.8 * height
    sash = sash_of(canvas, rich, stone)
    choice = rng.random(8)
    leaf = LEAVES[int(rng.integers(len(LEAVES)))]
    iron = None if choice[0] < 0.3 else tone((0.16, 0.16, 0.17), float(rng.uniform(0.6, 1.6)))
    head = str(rng.choice(["flat", "flat", "gable", "bow"]))
    gap = min((b - a for a, b in pairwise(centres)), default=2 * width) - width
    wide = choice[1] < 0.2 and len(centres) >= 3  # one balcony over several windows
    whole = choice[2] < 0.16
    few = choice[2] < 0.45
    start = int(rng.integers(0, 2))
    for k, x in enumerate(centres):
        opening = (x - width / 2, low - high, x + width / 2, low)
        middle = k == len(centres) // 2
        window(canvas, opening, sash)
        if choice[3] < 0.25 and gap > 0.5 * width:
            reach = min(0.5 * width, 0.48 * gap)
            for edge in (opening[0] - reach, opening[2]):
                slats(canvas, (edge, low - high, edge + reach, low), leaf, frame=True)
        elif choice[3] < 0.5 and rng.random() < 0.5:
            drop = high * rng.choice([0.25, 0.5, 0.8, 1.0])
            slats(
                canvas, (opening[0], low - high, opening[2], low - high + drop), leaf, frame=False
            )
        reach = min(0.16 * width, 0.3 * gap)
        if rich > 0.12 and choice[4] < 0.75:
            sill = (opening[0] - reach, low, opening[2] + reach, low + max(3 * u, 0.07 * height))
            canvas.relief(sill, stone, "sill", 3 * u)
        if rich > 0.35 and choice[5] < 0.7:
            rise = (0.09 if head == "flat" else 0.15) * height
            crown = low - high - max(2 * u, 0.04 * height)
            hood(canvas, (opening[0] - reach, crown - rise, opening[2] + reach, crown), stone, head)
        if rich > 0.35 and choice[6] < 0.35:
            deco(
                canvas, (opening[0], low + 0.09 * height, opening[2], bottom - 0.03 * height), stone
            )
        elif rich > 0.4 and choice[6] > 0.75 and choice[3] > 0.25 and gap > 0.5 * width and k:
            between, half = (x + centres[k - 1]) / 2, 0.2 * gap
            panel = (between - half, low - 0.9 * high, between + half, low - 0.2 * high)
            deco(canvas, panel, stone)
        if not wide and (whole or (few and (middle or (k + start) % 3 == 0))) and choice[7] < 0.6:
            rail = low - min(0.42 * high, 0.26 * height)
            out = min(0.25 * width, 0.45 * gap)
            balcony(canvas, (opening[0] - out, rail, opening[2] + out, low + 3 * u), stone, iron)
    if wide:
        first, last = (0, len(centres) - 1) if choice[7] < 0.5 else (1, len(centres) - 2)
        out = 0.5 * width + min(0.2 * width, 0.4 * gap)
        rail = low - min(0.4 * high, 0.25 * height)
        balcony(canvas, (centres[first] - out, rail, centres[last] + out, low + 4 * u), stone, iron)


def sash_of(canvas: Canvas, rich: float, stone: Colour) -> Sash:
    """Draw how the windows of one storey are made."""
    rng = canvas.rng
    arch = float(rng.choice([0.0, 0.0, 0.0, 0.3, 1.0])) if rich > 0.25 else 0.0
    return Sash(
        wood=WOOD[int(rng.integers(len(WOOD)))],
        across=int(rng.choice([1, 2, 2, 2, 3])),
        down=int(rng.choice([1, 1, 2, 3])),
        transom=float(rng.choice([0.0, 0.3])),
        arch=arch,
        surround=stone if rng.random() < 0.5 and not arch else None,
        curtains=float(rng.uniform(0, 0.8)),
    )


def pilasters(
    canvas: Canvas, box: Box, levels: NDArray[np.float64], centres: list[float], stone: Colour
) -> None:
    """Paint pillars between the window axes over some storeys."""
    rng, u = canvas.rng, canvas.unit
    left, _, right, _ = box
    storeys = len(levels) - 2
    first = int(rng.integers(0, storeys))
    last = int(rng.integers(first, storeys)) + 1
    top, bottom = levels[first] + 3 * u, levels[last] - 2 * u
    between = [(a + b) / 2 for a, b in pairwise(centres)]
    axes = [centres[0] - (between[0] - centres[0]), *between, centres[-1] * 2 - between[-1]]
    if rng.random() < 0.4:
        axes = [axes[0], axes[-1]]
    pitch = min(b - a for a, b in pairwise(centres))
    half, fluted = pitch * rng.uniform(0.05, 0.09), bool(rng.random() < 0.4)
    for x in axes:
        x = min(max(x, left + half), right - half)
        pillar(canvas, (x - half, top, x + half, bottom), stone, fluted=fluted)


def ground_floor(
    canvas: Canvas, box: Box, centres: list[float], width: float, rich: float, stone: Colour
) -> None:
    """Paint the ground floor: a door, and shops, windows or gates on the other axes."""
    rng, u = canvas.rng, canvas.unit
    left, top, right, bottom = box
    height = bottom - top
    pitch = min(b - a for a, b in pairwise(centres))
    entrance = (len(centres) // 2, 0, len(centres) - 1)[int(rng.integers(3))]
    shops = rng.random() < 0.6
    arch = float(rng.choice([0.0, 0.0, 0.5, 1.0]))
    sash = sash_of(canvas, rich, stone)
    upper = top + height * rng.uniform(0.14, 0.24)
    wide = min(0.86 * pitch, max(width * 1.3, 0.7 * pitch))
    skip = rng.random() * 0.4
    if rich > 0.1 and rng.random() < 0.7:  # plinth
        canvas.shade((left, bottom - 0.1 * height, right, bottom), 0.78)
    for k, x in enumerate(centres):
        if k == entrance:
            half = width * rng.uniform(0.5, 0.62)
            wing = replace(sash, arch=arch, transom=0.0, surround=None)
            door(canvas, (x - half, upper, x + half, bottom), wing, stone)
            if rich > 0.4 and rng.random() < 0.6:
                crown = upper - 4 * u
                span = half * 1.5
                head = "gable" if rng.random() < 0.5 else "flat"
                hood(canvas, (x - span, crown - 0.1 * height, x + span, crown), stone, head)
        elif shops:
            if rng.random() >= skip:
                front = (x - wide / 2, upper, x + wide / 2, bottom - u)
                shop(canvas, front, arch=arch)
        else:
            low = bottom - 0.26 * height
            opening = (x - width / 2, upper + 0.06 * height, x + width / 2, low)
            window(canvas, opening, sash)
            if rich > 0.12:
                reach = 0.12 * width
                sill = (opening[0] - reach, low, opening[2] + reach, low + 0.05 * height)
                canvas.relief(sill, stone, "sill", 3 * u)
