"""What stands around a drawn house, the light on it, and the camera that takes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limner.data.facades.canvas import PAINTS, WALLS, Box, Canvas, noise, tone
from limner.data.facades.openings import glass


def surroundings(canvas: Canvas) -> Box:
    """Paint sky, neighbours and street; return the box that the house will fill."""
    rng, n = canvas.rng, len(canvas.label)
    overcast = rng.random() < 0.5
    sky = np.array((0.88, 0.90, 0.92) if overcast else (0.60, 0.73, 0.88), dtype=np.float32)
    clouds = 1 + 0.10 * noise(rng, n, 3, 2) + 0.05 * noise(rng, n, 10, 6)
    height = np.linspace(0.94, 1.1, n, dtype=np.float32)[:, None]
    canvas.photo[:] = np.minimum(sky * (clouds * height)[..., None], 1)
    left, right = -0.02 * n, 1.02 * n
    if rng.random() < 0.55:
        left = n * rng.uniform(0.02, 0.16)
    if rng.random() < 0.55:
        right = n * rng.uniform(0.84, 0.98)
    top = n * rng.uniform(0.04, 0.26) if rng.random() < 0.8 else -0.03 * n
    bottom = n * rng.uniform(0.90, 0.98) if rng.random() < 0.75 else 1.02 * n
    for start, end in ((0.0, left), (right, float(n))):
        if end > start and rng.random() < 0.75:
            neighbour(canvas, (start, top + n * rng.uniform(-0.15, 0.3), end, bottom))
    stone = tone((0.50, 0.49, 0.47), float(rng.uniform(0.6, 1.1)))
    canvas.fill((0, bottom, n, n), stone)
    canvas.shade((0, bottom + 0.4 * (n - bottom), n, n), 0.75)
    return left, top, right, bottom


def neighbour(canvas: Canvas, box: Box) -> None:
    """Paint a sliver of the house next door, which the label counts as background."""
    rng, n, u = canvas.rng, len(canvas.label), canvas.unit
    left, top, right, bottom = box
    paint = tone(PAINTS[int(rng.integers(len(PAINTS)))], float(rng.uniform(0.6, 0.95)))
    canvas.fill(box, WALLS["stucco"](rng, n, paint))
    canvas.shade((left, top, right, top + 4 * u), 0.7)
    step, middle = n * rng.uniform(0.14, 0.2), (left + right) / 2
    for y in np.arange(top + 0.4 * step, bottom - 0.6 * step, step):
        canvas.fill((middle - 9 * u, y - 2 * u, middle + 9 * u, y + 0.55 * step), tone(paint, 1.2))
        glass(canvas, (middle - 7 * u, y, middle + 7 * u, y + 0.55 * step))


def light(canvas: Canvas) -> None:
    """Let the light fall off over the front and, on sunny days, a neighbour's shadow fall on it."""
    rng, n = canvas.rng, len(canvas.label)
    x = np.linspace(-1, 1, n, dtype=np.float32)[None]
    y = np.linspace(-1, 1, n, dtype=np.float32)[:, None]
    across, down = -canvas.side * rng.uniform(0, 0.14), rng.uniform(-0.12, 0.06)
    field = 1 + np.float32(across) * x + np.float32(down) * y + 0.05 * noise(rng, n, 2, 2)
    if canvas.sun > 0.5 and rng.random() < 0.4:
        edge = np.float32(rng.uniform(-0.4, 0.9))
        slope = np.float32(rng.uniform(0.3, 1.2))
        depth = (edge + canvas.side * x - slope * y) * np.float32(-n / 12)
        field = field * (1 - np.float32(rng.uniform(0.25, 0.45)) * np.clip(depth, 0, 1))
    canvas.photo *= field[..., None]


def passers_by(canvas: Canvas, ground: float) -> None:
    """Put what the label leaves out before the house: people, cars, a lamp or a small tree."""
    rng, n, u = canvas.rng, len(canvas.label), canvas.unit
    if ground < n:
        for _ in range(int(rng.integers(0, 4))):
            x, height = rng.uniform(0, n), rng.uniform(13, 17) * u
            coat = tone((0.40, 0.34, 0.34), float(rng.uniform(0.4, 1.6)))
            foot = ground + 3 * u
            canvas.fill((x, foot - height * 0.8, x + 5 * u, foot - height * 0.35), coat)
            canvas.fill((x + u, foot - height * 0.4, x + 4 * u, foot), (0.16, 0.16, 0.20))
            canvas.fill((x + u, foot - height, x + 4 * u, foot - height * 0.8), (0.62, 0.48, 0.40))
    if ground < 0.96 * n and rng.random() < 0.3:
        car(canvas, ground + 7 * u)
    if rng.random() < 0.12:
        tree(canvas, ground)


def car(canvas: Canvas, foot: float) -> None:
    """Park a car on the street."""
    rng, n, u = canvas.rng, len(canvas.label), canvas.unit
    paint = tone((0.55, 0.53, 0.55), float(rng.uniform(0.3, 1.6)))
    if rng.random() < 0.4:
        paint = (float(rng.uniform(0.2, 0.7)), 0.2, float(rng.uniform(0.15, 0.5)))
    x, length, height = rng.uniform(-20 * u, n), rng.uniform(46, 60) * u, 16 * u
    canvas.shade((x, foot - 3 * u, x + length, foot + 3 * u), 0.4)
    top = foot - height
    for k in range(int(height / 2)):  # the cabin, slanting in
        slant = 6 * u * (1 - 2 * k / height)
        row = top + k
        canvas.fill((x + 8 * u + slant, row, x + length - 10 * u - slant, row + 1), paint)
    canvas.fill((x + 14 * u, top + 2 * u, x + length - 17 * u, top + 7 * u), (0.16, 0.19, 0.22))
    canvas.fill((x, top + 0.45 * height, x + length, foot - 3 * u), paint)
    canvas.shade((x, foot - 7 * u, x + length, foot - 3 * u), 0.7)
    for wheel in (0.2, 0.78):
        hub = x + wheel * length
        canvas.fill((hub - 4 * u, foot - 7 * u, hub + 4 * u, foot), (0.08, 0.08, 0.08))
        canvas.fill((hub - 2 * u, foot - 5 * u, hub + 2 * u, foot - 2 * u), (0.45, 0.45, 0.46))


def tree(canvas: Canvas, ground: float) -> None:
    """Plant a small tree before a lower corner of the house."""
    rng, n, u = canvas.rng, len(canvas.label), canvas.unit
    x = n * (rng.uniform(0.0, 0.18) if rng.random() < 0.5 else rng.uniform(0.82, 1.0))
    y, reach = ground - rng.uniform(30, 60) * u, rng.uniform(18, 34) * u
    canvas.fill((x - 2 * u, y, x + 2 * u, ground + 2 * u), (0.24, 0.19, 0.15))
    rows = np.arange(n, dtype=np.float32)[:, None] - np.float32(y)
    columns = np.arange(n, dtype=np.float32)[None] - np.float32(x)
    edge = 1 + 0.9 * noise(rng, n, n // 12, n // 12)
    crown = (rows * rows * 0.7 + columns * columns < (reach * reach) * edge) & (rows < reach)
    leaf = np.array(tone((0.25, 0.36, 0.16), float(rng.uniform(0.7, 1.2))), dtype=np.float32)
    mottle = 0.85 + 0.5 * noise(rng, n, n // 5, n // 5) - 0.25 * rows / np.float32(reach)
    paint = np.maximum(leaf * mottle[..., None], 0.03)
    canvas.photo[:] = np.where(crown[..., None], paint, canvas.photo)


def develop(canvas: Canvas) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Take the picture: a camera slightly off the axis, half the size, exposure and noise.

    Photo and label go through the same mapping, the photo averaged over 2 x 2, the label not.
    """
    rng, n = canvas.rng, len(canvas.label)
    v, w = (np.linspace(-1, 1, n, dtype=np.float64)[i] for i in ((slice(None), None), (None,)))
    tilt, turn = rng.uniform(-0.05, 0.05, 2)
    shear_x, shear_y = rng.uniform(-0.02, 0.02, 2)
    scale = (1 - abs(tilt) - abs(turn)) / (1 + max(abs(shear_x), abs(shear_y)))
    scale *= rng.uniform(0.92, 1.0)
    depth = 1 + turn * w + tilt * v
    y = (v + shear_y * w) * scale / depth
    x = (w + shear_x * v) * scale / depth
    room = 1 - scale * 1.02  # how far the view may move without leaving the picture
    rows = ((y + rng.uniform(-0.5, 0.5) * room + 1) * (n / 2)).astype(np.intp).clip(0, n - 1)
    columns = ((x + rng.uniform(-0.5, 0.5) * room + 1) * (n / 2)).astype(np.intp).clip(0, n - 1)
    photo, label = canvas.photo[rows, columns], canvas.label[rows, columns]
    photo = (photo[::2, ::2] + photo[1::2, ::2] + photo[::2, 1::2] + photo[1::2, 1::2]) / 4
    warmth = float(rng.uniform(-0.05, 0.05))
    gain = rng.uniform(0.85, 1.12) * np.array([1 + warmth, 1, 1 - warmth])
    photo = photo * gain.astype(np.float32)
    contrast = np.float32(rng.uniform(0.0, 0.35))  # towards a smooth S curve
    photo = photo.clip(0, 1)
    photo = photo * (1 - contrast) + contrast * photo * photo * (3 - 2 * photo)
    # The sum of two uniform draws is near enough to a bell, and no logarithm is needed.
    size = n // 2
    speckle = rng.random((size, size, 3), dtype=np.float32)
    speckle += rng.random((size, size, 1), dtype=np.float32) - 1
    photo = photo + speckle * np.float32(rng.uniform(0.01, 0.04))
    pixels = np.floor(photo.clip(0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
    return pixels, np.ascontiguousarray(label[1::2, 1::2])
