"""Windows, blinds, doors and shops of the drawn facades, each with the label it bears.

What the label does not tell (glazing bars, curtains, what the panes reflect) is drawn at
random: that is what a generator has to invent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from limner.data.facades.canvas import IDS, Array, Box, Canvas, Colour, tone

WOOD: tuple[Colour, ...] = (
    (0.90, 0.89, 0.86), (0.90, 0.89, 0.86), (0.82, 0.80, 0.74), (0.38, 0.25, 0.16),
    (0.22, 0.15, 0.11), (0.22, 0.30, 0.24), (0.30, 0.32, 0.35), (0.48, 0.34, 0.22),
)  # fmt: skip
LEAVES: tuple[Colour, ...] = (
    (0.26, 0.38, 0.30), (0.34, 0.24, 0.18), (0.50, 0.52, 0.53), (0.30, 0.38, 0.48),
    (0.80, 0.78, 0.72), (0.55, 0.30, 0.22), (0.62, 0.60, 0.50),
)  # fmt: skip
CLOTH: tuple[Colour, ...] = (
    (0.70, 0.20, 0.18), (0.20, 0.36, 0.30), (0.85, 0.72, 0.35), (0.22, 0.30, 0.48),
    (0.78, 0.75, 0.68), (0.30, 0.26, 0.24), (0.62, 0.36, 0.20),
)  # fmt: skip


@dataclass(frozen=True)
class Sash:
    """How the windows of one storey are made."""

    wood: Colour
    across: int
    down: int
    transom: float  # height of the crossbar as a share of the window, 0 for none
    arch: float  # rise of the arch over half the width: 0 flat, 1 round
    surround: Colour | None
    curtains: float  # how likely a window has them


def glass(canvas: Canvas, box: Box, brightness: float = 1.0) -> None:
    """Paint panes: dark rooms under a reflection of the sky and of the roofs opposite."""
    rng, area = canvas.rng, canvas.cut(box)
    height, width = canvas.label[area].shape
    if not height or not width:
        return
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = np.array([0.50, 0.58, 0.68], dtype=np.float32) * np.float32(rng.uniform(0.4, 1.15))
    room = np.array([0.13, 0.13, 0.14], dtype=np.float32) * np.float32(rng.uniform(0.6, 1.7))
    mirror = np.float32(rng.random() * rng.random())
    skyline = rng.uniform(0.1, 1.1) + 0.25 * rng.random(5)
    skyline = skyline.astype(np.float32)[np.arange(width) * 5 // width][None, :, None]
    shown = np.where(y < skyline, mirror, mirror / 4)
    pane = room * (1.15 - 0.4 * y) * (1 - shown) + sky * shown
    pane *= 0.92 + 0.16 * rng.random((height, width, 1), dtype=np.float32)
    canvas.photo[area] = pane * np.float32(brightness)


def window(canvas: Canvas, box: Box, sash: Sash, name: str = "window") -> None:
    """Paint one window: surround, reveal, panes, curtains, glazing bars."""
    rng, u = canvas.rng, canvas.unit
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if sash.surround is not None:
        edge = max(2 * u, 0.11 * width)
        canvas.fill((left - edge, top - edge, right + edge, bottom), sash.surround)
        canvas.shade((left - edge, top - edge, right + edge, top - edge + u), 1.08)
    area = canvas.cut(box)
    before = canvas.photo[area].copy()
    glass(canvas, box)
    if rng.random() < sash.curtains:
        curtain(canvas, box)
    bar = max(1.5 * u, 0.065 * width)
    lit = tone(sash.wood, float(rng.uniform(0.85, 1.05)))
    rims = [
        (left, top, left + bar, bottom),
        (right - bar, top, right, bottom),
        (left, top, right, top + bar),
        (left, bottom - 1.3 * bar, right, bottom),
    ]
    thin = max(u, 0.6 * bar)
    for k in range(1, sash.across):
        x = left + width * k / sash.across
        rims.append((x - thin / 2, top, x + thin / 2, bottom))
    for k in range(1, sash.down):
        y = top + height * k / sash.down
        rims.append((left, y - thin / 2, right, y + thin / 2))
    if sash.transom:
        y = top + height * sash.transom
        rims.append((left, y - bar / 2, right, y + bar / 2))
    for rim in rims:
        canvas.fill(rim, lit)
    # The wall is thick: its upper edge and the edge towards the light throw shadow inside.
    depth, dark = max(1.5 * u, 0.1 * width), 0.62 - 0.22 * canvas.sun
    canvas.shade((left, top, right, top + depth), dark)
    near = (left, top, left + depth * 0.7, bottom)
    canvas.shade(near if canvas.side > 0 else (right - depth * 0.7, top, right, bottom), dark)
    arched(canvas, box, before, sash.arch)
    canvas.label[area] = IDS[name]


def arched(canvas: Canvas, box: Box, before: Array, arch: float) -> None:
    """Give an opening a round head: put back the wall that was at its upper corners `before`."""
    area = canvas.cut(box)
    rows, columns = canvas.label[area].shape
    if not arch or not rows or not columns:
        return
    x = (np.arange(columns, dtype=np.float32)[None] + 0.5) / columns * 2 - 1
    y = np.arange(rows, dtype=np.float32)[:, None]
    rise = np.float32(arch * (box[2] - box[0]) / 2)
    outside = y < rise * (1 - np.sqrt(np.maximum(1 - x * x, 0)))
    canvas.photo[area] = np.where(outside[..., None], before, canvas.photo[area])


def curtain(canvas: Canvas, box: Box) -> None:
    """Hang curtains, or a blind half drawn, behind the panes."""
    rng = canvas.rng
    left, top, right, bottom = box
    width, colour = right - left, tone((0.72, 0.70, 0.65), float(rng.uniform(0.55, 1.1)))
    if rng.random() < 0.4:
        canvas.fill((left, top, right, top + (bottom - top) * rng.uniform(0.2, 0.8)), colour)
        return
    reach = width * rng.uniform(0.12, 0.36)
    canvas.fill((left, top, left + reach, bottom), colour)
    canvas.fill((right - reach, top, right, bottom), tone(colour, 0.95))


def slats(canvas: Canvas, box: Box, colour: Colour, *, frame: bool) -> None:
    """Paint a louvred leaf or the slats of a roller blind, labelled `blind`."""
    left, top, right, bottom = box
    u = canvas.unit
    canvas.fill(box, colour, "blind")
    pitch = 4 * u
    for y in np.arange(top + pitch, bottom, pitch):
        canvas.shade((left, y, right, y + 1.5 * u), 0.68)
    if frame:
        for start in (left, right - u):
            canvas.fill((start, top, start + u, bottom), tone(colour, 1.12))
        for start in (top, bottom - 2 * u):
            canvas.fill((left, start, right, start + 2 * u), tone(colour, 1.12))
        middle = (top + bottom) / 2
        canvas.fill((left, middle - u, right, middle + u), tone(colour, 1.12))
        canvas.shadow(box, 2 * u)


def door(canvas: Canvas, box: Box, sash: Sash, stone: Colour) -> None:
    """Paint a door: stone frame, panelled leaves, a light above, a step."""
    rng, u = canvas.rng, canvas.unit
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    edge = max(3 * u, 0.14 * width)
    canvas.fill((left - edge, top - edge, right + edge, bottom), stone)
    canvas.shade((left - edge, top - edge, right + edge, top - edge + 2 * u), 1.1)
    light = top + height * rng.uniform(0.2, 0.32)
    window(canvas, box, sash, "door")
    wood = tone(WOOD[int(rng.integers(3, len(WOOD)))], float(rng.uniform(0.8, 1.2)))
    canvas.fill((left, light, right, bottom), wood)
    canvas.shade((left, light, right, light + 2 * u), 0.5)
    for side in (0.0, 0.5):
        for low, high in ((0.08, 0.45), (0.52, 0.92)):
            x, drop = left + width * side, bottom - light
            field = (x + 0.1 * width, light + low * drop, x + 0.4 * width, light + high * drop)
            canvas.shade(field, 0.72)
            canvas.shade((field[0], field[3] - u, field[2], field[3]), 1.7)
    middle = (left + right) / 2
    canvas.shade((middle - u / 2, light, middle + u / 2, bottom), 0.4)
    canvas.fill((left - edge, bottom - 2 * u, right + edge, bottom), tone(stone, 0.95))


def shop(canvas: Canvas, box: Box, *, arch: float) -> None:
    """Paint a shop: a sign or an awning over a wide pane with goods and a door, on a plinth."""
    rng, u = canvas.rng, canvas.unit
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    frame = tone(CLOTH[int(rng.integers(len(CLOTH)))], float(rng.uniform(0.5, 1.0)))
    before = canvas.photo[canvas.cut(box)].copy()
    canvas.fill(box, frame, "shop")
    sign, plinth = top + height * rng.uniform(0.16, 0.3), bottom - height * rng.uniform(0.06, 0.2)
    inner = (left + 2 * u, top + 2 * u if arch else sign, right - 2 * u, plinth)
    glass(canvas, inner, brightness=float(rng.uniform(0.9, 1.5)))
    shelf = plinth - sign
    for _ in range(int(rng.integers(2, 9))):  # goods in the window
        x, rise = rng.uniform(left + 2 * u, right - 5 * u), rng.uniform(0.06, 0.45) * shelf
        good = tone(CLOTH[int(rng.integers(len(CLOTH)))], float(rng.uniform(0.3, 0.9)))
        end = min(x + rng.uniform(2, 9) * u, right - 2 * u)
        canvas.fill((x, plinth - rise, end, plinth), good)
    if rng.random() < 0.4:  # lit inside
        lamp = tone((0.95, 0.82, 0.55), float(rng.uniform(0.6, 1.0)))
        for x in np.arange(left + 6 * u, right - 6 * u, 9 * u):
            canvas.fill((x, sign + 0.15 * shelf, x + 2 * u, sign + 0.15 * shelf + 2 * u), lamp)
    parts = max(1, round(width / (height * 0.7)))
    for k in range(1, parts):
        x = left + width * k / parts
        canvas.fill((x - u, inner[1], x + u, plinth), frame)
    if arch:
        arched(canvas, box, before, arch)
    elif rng.random() < 0.4:
        awning(canvas, (left - u, top, right + u, sign + height * 0.14))
    else:
        board = tone(CLOTH[int(rng.integers(len(CLOTH)))], 0.9)
        canvas.relief((left, top, right, sign), board, None, 3 * u)
        ink: Colour = (0.92, 0.90, 0.82) if sum(board) < 1.5 else (0.18, 0.15, 0.14)
        x, size = left + width * rng.uniform(0.1, 0.3), (sign - top) * 0.45
        while x < right - width * 0.15:  # something like lettering
            if rng.random() < 0.82:
                canvas.fill((x, (top + sign - size) / 2, x + 2 * u, (top + sign + size) / 2), ink)
            x += 3.4 * u
    canvas.shade((left, top, right, top + 2 * u), 0.7)


def awning(canvas: Canvas, box: Box) -> None:
    """Stretch a plain or striped awning over a shop, with its shadow on the pane."""
    rng, u = canvas.rng, canvas.unit
    left, top, right, bottom = box
    colour = CLOTH[int(rng.integers(len(CLOTH)))]
    canvas.fill(box, colour)
    if rng.random() < 0.6:
        for x in np.arange(left, right, 10 * u):
            canvas.fill((x, top, min(x + 5 * u, right), bottom), (0.88, 0.86, 0.80))
    for k in range(4):
        step = (bottom - top) / 4
        canvas.shade((left, top + k * step, right, top + (k + 1) * step), 1.12 - 0.1 * k)
    canvas.shade((left, bottom, right, bottom + 5 * u), 0.55)
