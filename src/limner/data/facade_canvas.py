"""A canvas on which a house is drawn: its photo, its light and its label map at one go.

Boxes are in units of which a canvas has 256 x 256. What is drawn at random comes from one
generator, so that a house repeats.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right, bottom on a canvas of 256 x 256 units; it may reach over the edge."""
Colour = tuple[int, int, int]
Paint = Colour | Image.Image | float
"""A colour, a texture of the canvas' size, or a factor that changes the light alone."""

# Class names and colours of the CMP facades as they are distributed for pix2pix.
CLASSES: dict[str, Colour] = {
    "background": (0, 0, 222), "wall": (0, 48, 255), "window": (0, 128, 255),
    "door": (1, 207, 255), "cornice": (32, 255, 224), "sill": (112, 254, 142),
    "balcony": (192, 255, 63), "blind": (255, 240, 1), "deco": (255, 159, 0),
    "moulding": (255, 80, 0), "pillar": (254, 0, 0), "shop": (174, 0, 1),
}  # fmt: skip
IDS = {name: number for number, name in enumerate(CLASSES)}
# Rows of blocks in 256 units, width to height, width of a joint, its tone, how blocks differ.
_WALLS: dict[str, tuple[tuple[int, int], float, float, float, float]] = {
    "stucco": ((1, 2), 1.0, 0.0, 1.0, 0.04),
    "brick": ((44, 64), 2.4, 1.1, 1.3, 0.5),
    "ashlar": ((18, 34), 2.1, 1.3, 0.74, 0.16),
    "grooves": ((20, 34), 99.0, 1.9, 0.66, 0.05),
    "panels": ((5, 9), 1.2, 1.0, 0.8, 0.08),
}


def tone(colour: Colour, factor: float) -> Colour:
    """Return a colour, lighter or darker."""
    red, green, blue = (min(round(v * float(factor)), 255) for v in colour)
    return red, green, blue


class Canvas:
    """A square photo, its light (128 is as painted) and its label map, drawn together."""

    def __init__(self, side: int, rng: np.random.Generator):
        self.rng, self.side, self.scale = rng, side, side / 256
        self.photo = Image.new("RGB", (side, side))
        self.light = Image.new("L", (side, side), 128)
        self.label = Image.new("L", (side, side))
        self.from_left = bool(rng.random() < 0.5)  # where the light comes from
        self.sun = float(rng.random())  # how hard shadows are

    def area(self, box: Box) -> tuple[int, int, int, int]:
        """Return a box in pixels, within the canvas; it may be empty."""
        places = [min(max(round(float(v) * self.scale), 0), self.side) for v in box]
        return places[0], places[1], max(places[0], places[2]), max(places[1], places[3])

    def fill(self, box: Box, paint: Paint, name: str | None = None) -> None:
        """Fill a box; with `name` it is labelled so."""
        area = self.area(box)
        if isinstance(paint, float | int):
            self.light.paste(min(round(128 * paint), 255), area)
        else:
            self.light.paste(128, area)
            self.photo.paste(paint.crop(area) if isinstance(paint, Image.Image) else paint, area)
        if name is not None:
            self.label.paste(IDS[name], area)

    def comb(self, box: Box, pitch: float, width: float, paint: Paint) -> None:
        """Fill upright stripes of a width, one every `pitch`."""
        for x in np.arange(box[0], box[2] - 0.5, pitch):
            self.fill((x, box[1], min(x + width, box[2]), box[3]), paint)

    def relief(self, box: Box, paint: Paint, name: str | None, depth: float) -> None:
        """Fill a part that stands out: lit upper edge, dark lower edge, cast shadow."""
        left, top, right, bottom = box
        shift = depth * (0.7 if self.from_left else -0.7)
        self.fill((left + shift, top + depth, right + shift, bottom + depth), 0.7 - 0.3 * self.sun)
        self.fill(box, paint, name)
        edge = max(1.0, 0.2 * (bottom - top))
        self.fill((left, top, right, top + edge), 1.12)
        self.fill((left, bottom - edge, right, bottom), 0.72)

    def pick(self, colours: tuple[Colour, ...], low: float = 0.85, high: float = 1.1) -> Colour:
        """Draw one of some colours, lighter or darker."""
        return tone(colours[int(self.rng.integers(len(colours)))], self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """Return True in that share of all calls."""
        return bool(self.rng.random() < share)

    def noise(self, rows: int, columns: int) -> NDArray[np.float32]:
        """Return smooth noise over the canvas, about -1 to 1, from a grid of rows x columns."""
        grid = self.rng.integers(0, 256, (rows + 2, columns + 2), dtype=np.uint8)
        smooth = Image.fromarray(grid).resize((self.side, self.side), Image.Resampling.BICUBIC)
        return np.asarray(smooth, dtype=np.float32) / 127.5 - 1

    def texture(self, kind: str, colour: Colour) -> Image.Image:
        """Return a wall of the canvas' size: rows of blocks, shifted by half, each of its tone."""
        (low, high), ratio, joint, joint_tone, spread = _WALLS[kind]
        height = self.side / int(self.rng.integers(low, high))
        y, x = np.mgrid[: self.side, : self.side]
        row = (y / height).astype(int)
        x = x + row % 2 * (height * ratio / 2)
        column = (x / (height * ratio)).astype(int)
        tones = 1 + spread * (self.rng.random((row.max() + 1, column.max() + 1, 3)) - 0.5)
        tones = 0.75 * tones[..., :1] + 0.25 * tones  # more in brightness than in hue
        gap = np.minimum(y - row * height, x - column * height * ratio) < joint * self.scale
        field = np.where(gap[..., None], joint_tone, tones[row, column])
        clouds = 0.05 * self.noise(6, 6) + (0.04 * self.noise(3, 40) if kind == "stucco" else 0)
        rough = 1 + clouds + 0.06 * (self.rng.random((self.side, self.side)) - 0.5)
        pixels = field * rough[..., None] * np.array(colour)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    def photograph(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Take the picture: a camera slightly off the axis, half the size, light and noise.

        Photo and label go through the same mapping, the photo averaged over 2 x 2, the label not.
        """
        rng, n, half = self.rng, self.side, self.side // 2
        corners = np.array([(0, 0), (0, n), (n, n), (n, 0)])
        quad = (corners - np.sign(corners - n / 2) * rng.uniform(0, 0.06, (4, 2)) * n).ravel()
        photo, light, label = (
            np.asarray(image.transform((n, n), Image.Transform.QUAD, quad.tolist()))
            for image in (self.photo, self.light, self.label)
        )
        x = np.linspace(-1, 1, n)
        across, down = rng.uniform(-0.14, 0.14), rng.uniform(-0.12, 0.06)
        field = light / 128 * (1 + across * x + down * x[:, None] + 0.05 * self.noise(2, 2))
        if self.sun > 0.5 and self.chance(0.4):  # the shadow of a house opposite
            edge, slope = rng.uniform(-0.4, 0.9), rng.uniform(0.3, 1.2)
            depth = (slope * x[:, None] - edge - (x if self.from_left else -x)) * n / 12
            field *= 1 - rng.uniform(0.25, 0.45) * depth.clip(0, 1)
        field *= 1 + 0.1 * (rng.random((n, n)) - 0.5)
        seen = (photo * field[..., None] / 255).reshape(half, 2, half, 2, 3).mean(axis=(1, 3))
        warmth = rng.uniform(-0.05, 0.05)
        seen = seen * rng.uniform(0.85, 1.12) * np.array([1 + warmth, 1, 1 - warmth])
        # The sum of two uniform draws is near enough to a bell.
        speckle = rng.random((half, half, 3)) + rng.random((half, half, 1)) - 1
        seen = (seen + speckle * rng.uniform(0.01, 0.04)).clip(0, 1)
        return np.floor(seen * 255 + 0.5).astype(np.uint8), np.ascontiguousarray(label[1::2, 1::2])
