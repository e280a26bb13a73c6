"""The canvas that drawn facades are painted on, its colours and the textures of its walls.

Everything here paints on a `Canvas` with additions, multiplications and comparisons only: no
sine, no exponential, no sum whose order a processor may choose, so that every machine draws the
same pixels. Boxes are (left, top, right, bottom) in canvas pixels and may reach over the edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Box = tuple[float, float, float, float]
Colour = tuple[float, float, float]

# Class names and colours of the CMP facades as they are distributed for pix2pix.
CLASSES: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 222),
    "wall": (0, 48, 255),
    "window": (0, 128, 255),
    "door": (1, 207, 255),
    "cornice": (32, 255, 224),
    "sill": (112, 254, 142),
    "balcony": (192, 255, 63),
    "blind": (255, 240, 1),
    "deco": (255, 159, 0),
    "moulding": (255, 80, 0),
    "pillar": (254, 0, 0),
    "shop": (174, 0, 1),
}
PAINTS: tuple[Colour, ...] = (
    (0.82, 0.72, 0.50), (0.86, 0.80, 0.66), (0.80, 0.64, 0.42), (0.78, 0.77, 0.73),
    (0.88, 0.87, 0.83), (0.80, 0.64, 0.56), (0.66, 0.70, 0.60), (0.62, 0.68, 0.74),
    (0.72, 0.66, 0.56), (0.60, 0.57, 0.52), (0.76, 0.52, 0.38), (0.86, 0.78, 0.58),
)  # fmt: skip
CLAYS: tuple[Colour, ...] = (
    (0.56, 0.30, 0.22), (0.48, 0.27, 0.21), (0.62, 0.38, 0.27), (0.68, 0.52, 0.36),
    (0.42, 0.26, 0.22), (0.66, 0.58, 0.46),
)  # fmt: skip
ROOFS: tuple[Colour, ...] = ((0.48, 0.27, 0.20), (0.32, 0.30, 0.30), (0.40, 0.32, 0.27))
IDS = {name: number for number, name in enumerate(CLASSES)}


@dataclass
class Canvas:
    """A square photo (0..1, n x n x 3) and its label map (n x n), painted together.

    `unit` is the length of half a final pixel at size 128; `side` is +1 where the light comes
    from the left and -1 from the right; `sun` is how hard shadows are, 0..1.
    """

    photo: Array
    label: NDArray[np.uint8]
    grain: Array
    unit: float
    side: int
    sun: float
    rng: np.random.Generator

    def cut(self, box: Box) -> tuple[slice, slice]:
        """Return the rows and columns of `box`, clipped to the canvas."""
        n = len(self.label)
        left, top, right, bottom = (min(max(round(float(v)), 0), n) for v in box)
        return slice(top, max(top, bottom)), slice(left, max(left, right))

    def fill(self, box: Box, colour: Colour | Array, name: str | None = None) -> None:
        """Paint `box` in a colour (or a texture of the canvas' size), with grain."""
        area = self.cut(box)
        paint = np.asarray(colour, dtype=np.float32)
        self.photo[area] = (paint[area] if paint.ndim == 3 else paint) * self.grain[area]
        if name is not None:
            self.label[area] = IDS[name]

    def shade(self, box: Box, factor: float) -> None:
        """Multiply the light inside `box`."""
        self.photo[self.cut(box)] *= np.float32(factor)

    def shadow(self, box: Box, depth: float) -> None:
        """Cast the shadow of a part that stands `depth` before the wall: below and beside it."""
        left, top, right, bottom = box
        shift, dark = self.side * depth * 0.7, 0.7 - 0.3 * self.sun
        self.shade((left + shift, bottom, right + shift, bottom + depth), dark)
        edge = (right, top + depth, right + shift, bottom)
        if self.side < 0:
            edge = (left + shift, top + depth, left, bottom)
        self.shade(edge, dark)

    def relief(self, box: Box, colour: Colour, name: str | None, depth: float) -> None:
        """Paint a part that stands out: lit upper edge, dark lower edge, cast shadow."""
        left, top, right, bottom = box
        self.shadow(box, depth)
        self.fill(box, colour, name)
        edge = max(self.unit, 0.2 * (bottom - top))
        self.shade((left, top, right, top + edge), 1.12)
        self.shade((left, bottom - edge, right, bottom), 0.72)


def tone(colour: Colour, factor: float) -> Colour:
    """Return `colour`, lighter or darker."""
    red, green, blue = (min(v * factor, 1.0) for v in colour)
    return red, green, blue


def noise(rng: np.random.Generator, n: int, rows: int, columns: int) -> Array:
    """Return smooth value noise (n x n, about -1..1) over a grid of rows x columns cells."""
    grid = rng.random((rows + 2, columns + 2), dtype=np.float32) * 2 - 1
    y, x = (np.arange(n, dtype=np.float32) * np.float32(k / n) for k in (rows, columns))
    row, column = y.astype(np.intp), x.astype(np.intp)
    y, x = (y - row)[:, None], x - column
    y, x = y * y * (3 - 2 * y), x * x * (3 - 2 * x)
    upper, lower = (
        grid[row + k][:, column] * (1 - x) + grid[row + k][:, column + 1] * x for k in (0, 1)
    )
    return (upper * (1 - y) + lower * y).astype(np.float32)


def stucco(rng: np.random.Generator, n: int, colour: Colour) -> Array:
    """Return a rendered wall: cloudy patches, rain streaks, fine roughness."""
    field = 1 + 0.05 * noise(rng, n, 6, 6) + 0.035 * noise(rng, n, 3, 40)
    field += 0.06 * (rng.random((n, n), dtype=np.float32) - 0.5)
    return (field[..., None] * np.asarray(colour)).astype(np.float32)


def blocks(
    rng: np.random.Generator, n: int, colour: Colour, *, height: float, width: float,
    joint: float, contrast: float, spread: float,
) -> Array:  # fmt: skip
    """Return rows of blocks, every other row shifted by half a block, each of its own tone.

    `joint` is the width of the gap in canvas pixels and `contrast` its tone (1 is the wall's);
    `spread` is how far the tones of two blocks differ.
    """
    y, x = np.arange(n, dtype=np.float32)[:, None], np.arange(n, dtype=np.float32)[None]
    row = np.floor(y / np.float32(height))
    x = x + (row % 2) * np.float32(width / 2)
    column = np.floor(x / np.float32(width))
    table = 1 + spread * (rng.random((int(n / height) + 2, int(n / width) + 3, 3)) - 0.5)
    # Blocks differ mostly in brightness and a little in hue.
    table = (0.75 * table[..., :1] + 0.25 * table).astype(np.float32)
    field = table[row.astype(np.intp), column.astype(np.intp)]
    gap = (y - row * np.float32(height) < joint) | (x - column * np.float32(width) < joint)
    field = np.where(gap[..., None], np.float32(contrast), field)
    rough = 1 + 0.04 * noise(rng, n, 8, 8) + 0.08 * (rng.random((n, n), dtype=np.float32) - 0.5)
    return (field * rough[..., None] * np.asarray(colour)).astype(np.float32)


def brick(rng: np.random.Generator, n: int, colour: Colour) -> Array:
    """Return a brick wall with light or dark mortar."""
    height = n / rng.integers(44, 64)
    return blocks(
        rng, n, colour, height=height, width=2.4 * height, joint=max(1.0, n / 256),
        contrast=float(rng.choice([0.7, 1.25, 1.4])), spread=0.5,
    )  # fmt: skip


def ashlar(rng: np.random.Generator, n: int, colour: Colour) -> Array:
    """Return squared stone with dark joints."""
    height = n / rng.integers(18, 34)
    return blocks(
        rng, n, colour, height=height, width=float(rng.uniform(1.6, 2.6)) * height,
        joint=max(1.0, n / 200), contrast=0.74, spread=0.16,
    )  # fmt: skip


def grooves(rng: np.random.Generator, n: int, colour: Colour) -> Array:
    """Return banded rustication: render with deep horizontal joints."""
    return blocks(
        rng, n, colour, height=n / rng.integers(20, 34), width=4.0 * n,
        joint=max(1.5, n / 140), contrast=0.66, spread=0.05,
    )  # fmt: skip


def panels(rng: np.random.Generator, n: int, colour: Colour) -> Array:
    """Return large slabs of concrete with thin joints."""
    height = n / rng.integers(5, 9)
    return blocks(
        rng, n, colour, height=height, width=float(rng.uniform(0.8, 1.6)) * height,
        joint=max(1.0, n / 256), contrast=0.8, spread=0.08,
    )  # fmt: skip


WALLS = {"stucco": stucco, "brick": brick, "ashlar": ashlar, "grooves": grooves, "panels": panels}
