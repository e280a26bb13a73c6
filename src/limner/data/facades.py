"""A facades-like paired data set drawn wholly by program: what the demo trains on.

The label of a house fixes where its windows, doors, shops and ornaments are; colour and texture
of the wall, light, reflections and the fine parts are drawn anew for every house. The mean over
all that is grey, so an L1 loss alone blurs and an adversarial one has something to add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from limner import files
from limner.data.facade_canvas import CLASSES, IDS, Box, Canvas, Colour, tone
from limner.errors import DataError

Axes = NDArray[np.float64]
Span = tuple[float, float]

SPLITS = ("train", "val", "test")
_PAINTS: tuple[Colour, ...] = (
    (209, 184, 128), (219, 204, 168), (204, 163, 107), (199, 196, 186), (224, 222, 212),
    (204, 163, 143), (168, 179, 153), (158, 173, 189), (184, 168, 143), (194, 133, 97),
)  # fmt: skip
_CLAYS: tuple[Colour, ...] = (
    (143, 77, 56), (122, 69, 54), (158, 97, 69), (173, 133, 92), (107, 66, 56), (168, 148, 117),
)  # fmt: skip
_WOODS: tuple[Colour, ...] = (
    (230, 227, 219), (230, 227, 219), (209, 204, 189), (97, 64, 41), (56, 38, 28), (56, 77, 61),
    (77, 82, 89), (122, 87, 56),
)  # fmt: skip
_CLOTHS: tuple[Colour, ...] = (
    (179, 51, 46), (51, 92, 77), (217, 184, 89), (56, 77, 122), (199, 191, 173), (77, 66, 61),
    (140, 77, 56), (158, 92, 51),
)  # fmt: skip
_COLOURS = "".join(f"  - {list(colour)}  # {name}\n" for name, colour in CLASSES.items())
_DESCRIPTION = f"""# Facades drawn by Limner: photo on the left, label colours on the right.
direction: BtoA
classes: [{", ".join(CLASSES)}]
colours:
{_COLOURS}"""


def draw_facades(
    folder: Path,
    *,
    train: int = 400,
    val: int = 50,
    test: int = 100,
    size: int = 128,
    seed: int = 0,
    on_drawn: Callable[[int], None] | None = None,
) -> None:
    """Write a paired data set of drawn facades: photo left, label colours right, one PNG a pair.

    Writes `train/`, `val/` and `test/` with that many images of size x 2*size pixels (height x
    width) and a `dataset.yaml` with the classes and `direction: BtoA` (label to photo). A split
    of 0 images gets no folder. Image number i of a split depends on (seed, split, i, size) and
    on nothing else, so a longer set begins with the shorter one. `on_drawn` takes how many images
    are drawn so far, after each (for a progress bar).

    Raises:
        DataError: `folder` holds something, `size` is under 32 or a count is negative.
    """
    _check_size(size)
    counts = dict(zip(SPLITS, (train, val, test), strict=True))
    for name, count in counts.items():
        if count < 0:
            raise DataError(f"{name} is {count}: the number of facades to draw cannot be negative")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not an empty folder: name a new one for the drawn facades")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "dataset.yaml", _DESCRIPTION)
    drawn = 0
    for name, count in counts.items():
        if count:
            (folder / name).mkdir()
        for index in range(count):
            photo, label = draw_facade(index, split=name, size=size, seed=seed)
            pair = np.concatenate([photo, label_colours(label)], axis=1)
            save = partial(Image.fromarray(pair).save, format="PNG", compress_level=3)
            files.write_from(folder / name / f"{index + 1:04d}.png", save)
            drawn += 1
            if on_drawn is not None:
                on_drawn(drawn)


def label_colours(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colours (uint8, H x W x 3) of class ids (H x W), by the order of `CLASSES`."""
    return np.array(list(CLASSES.values()), dtype=np.uint8)[label]


def draw_facade(
    index: int, *, split: str = "train", size: int = 128, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return one house: its photo (size x size x 3) and its class ids (size x size).

    Drawn at twice the size and averaged down, so that edges are smooth as in a photo.

    Raises:
        DataError: `size` is under 32 or `split` is not train, val or test.
    """
    _check_size(size)
    if split not in SPLITS:
        raise DataError(f"split is {split!r}: known are {', '.join(SPLITS)}")
    drawing = House(2 * size, np.random.default_rng([seed, SPLITS.index(split), index]))
    drawing.house(drawing.surroundings())
    return drawing.photograph()


def _check_size(size: int) -> None:
    if size < 32:
        raise DataError(f"size is {size}: facades are drawn at 32 pixels or more")


@dataclass(frozen=True)
class _Style:
    """How the windows of a storey are made."""

    wood: Colour
    across: int
    down: int
    arch: float  # rise of the arch over half the width: 0 flat, 1 round
    curtains: float  # how likely a window has them


class House(Canvas):
    """A facade and what is about it, part by part."""

    def glass(self, box: Box) -> None:
        """Paint panes: a dark room under a reflection of the sky and of the roofs opposite."""
        left, top, right, bottom = box
        self.fill(box, self.pick(((34, 34, 37),), 0.6, 1.7))
        shine = self.pick(((80, 92, 108),), 0.4, 0.4 + self.rng.random())
        roofs = self.rng.uniform(0.1, 1.0)
        self.fill((left, top, right, top + (bottom - top) * roofs), shine)

    def window(self, box: Box, style: _Style, name: str = "window") -> None:
        """Paint one window: reveal, panes, curtains, glazing bars, perhaps under an arch."""
        left, top, right, bottom = box
        width, before = right - left, self.photo.copy() if style.arch else None
        self.glass(box)
        cloth, reach = self.pick(((184, 179, 166),), 0.55), width * self.rng.uniform(0.12, 0.36)
        if self.chance(0.6 * style.curtains):
            self.comb(box, width - reach, reach, cloth)
        elif self.chance(0.4 * style.curtains):
            self.fill((left, top, right, top + 1.8 * reach), cloth)
        bar = max(1.5, 0.065 * width)
        self.comb(box, (width - bar) / style.across, bar, style.wood)
        for y in np.linspace(top, bottom - bar, style.down + 1):
            self.fill((left, y, right, y + bar), style.wood)
        # The wall is thick: its upper edge and the edge towards the light throw shadow inside.
        depth, dark = max(1.5, 0.1 * width), 0.62 - 0.22 * self.sun
        self.fill((left, top, right, top + depth), dark)
        near = left if self.from_left else right - 0.7 * depth
        self.fill((near, top, near + 0.7 * depth, bottom), dark)
        if before is not None:
            self.arch(box, before, style.arch)
        self.label.paste(IDS[name], self.area(box))

    def arch(self, box: Box, before: Image.Image, rise: float) -> None:
        """Give an opening a round head: put back the wall that was at its corners `before`."""
        left, top, right, _ = self.area(box)
        foot, corners = top + round(rise * (right - left) / 2), Image.new("1", self.photo.size)
        ImageDraw.Draw(corners).rectangle((left, top, right - 1, foot), fill=1)
        ImageDraw.Draw(corners).ellipse((left, top, right - 1, 2 * foot - top), fill=0)
        self.photo.paste(before, mask=corners)
        self.light.paste(128, mask=corners)

    def slats(self, box: Box, colour: Colour) -> None:
        """Paint a louvred leaf or the slats of a roller blind."""
        left, top, right, bottom = box
        self.relief(box, colour, "blind", 1.5)
        for y in np.arange(top + 3, bottom - 2, 4):
            self.fill((left + 1, y, right - 1, y + 1.5), 0.68)

    def balcony(self, box: Box, stone: Colour, iron: Colour | None) -> None:
        """Paint a balcony: a slab, and an `iron` railing or, without one, a solid parapet."""
        left, top, right, bottom = box
        slab = bottom - max(3.0, 0.2 * (bottom - top))
        self.relief((left, slab, right, bottom), stone, None, 7)
        if iron is None:
            self.relief((left, top, right, slab), stone, None, 2)
            self.comb((left + 6, top + 5, right - 4, slab), 12, 7, 0.86)
        else:
            self.comb((left, top, right, slab), int(self.rng.integers(3, 6)), 1.2, iron)
            self.fill((left, top, right, top + 2), tone(iron, 1.3))
        self.label.paste(IDS["balcony"], self.area(box))

    def band(self, box: Box, stone: Colour) -> None:
        """Paint a string course or a main cornice, with a row of dentils if it is high."""
        left, top, right, bottom = box
        self.relief(box, stone, "moulding", max(3.0, 0.45 * (bottom - top)))
        if bottom - top > 9:
            self.comb((left, (top + bottom) / 2, right, bottom - 3), 6, 3, 0.62)

    def pillar(self, box: Box, stone: Colour) -> None:
        """Paint a pilaster: rounded shaft, base and capital."""
        left, top, right, bottom = box
        self.relief(box, stone, "pillar", 4)
        self.fill((left, top, (left + right) / 2, bottom), 1.1 if self.from_left else 0.8)
        for low in (top, bottom - 4):
            self.relief((left - 1, low, right + 1, low + 4), tone(stone, 1.05), None, 2)

    def door(self, box: Box, style: _Style, stone: Colour) -> None:
        """Paint a door: stone frame, panelled leaves under a light."""
        left, top, right, bottom = box
        width, edge = right - left, max(3.0, 0.14 * (right - left))
        self.relief((left - edge, top - edge, right + edge, bottom), stone, None, 2)
        light = top + (bottom - top) * self.rng.uniform(0.2, 0.32)
        self.window(box, style, "door")
        self.fill((left, light, right, bottom), style.wood)
        self.fill((left, light, right, light + 2), 0.5)
        field = (left + 0.1 * width, light + 5, right, bottom - 5)
        self.comb(field, 0.5 * width, 0.3 * width, 0.7)
        self.fill(((left + right) / 2 - 0.5, light, (left + right) / 2 + 0.5, bottom), 0.4)

    def shop(self, box: Box, arch: float) -> None:
        """Paint a shop: a sign or an awning over a wide pane with goods, on a plinth."""
        rng, (left, top, right, bottom) = self.rng, box
        before = self.photo.copy() if arch else None
        frame, board = self.pick(_CLOTHS, 0.5, 1.0), self.pick(_CLOTHS)
        height = bottom - top
        sign, plinth = top + height * rng.uniform(0.16, 0.3), bottom - height * rng.uniform(0, 0.2)
        self.fill(box, frame)
        self.glass((left + 2, top + 2 if arch else sign, right - 2, plinth))
        for x in rng.uniform(left + 2, right - 9, int(rng.integers(2, 9))):  # goods in the window
            rise = rng.uniform(0.06, 0.45) * (plinth - sign)
            self.fill((x, plinth - rise, x + rng.uniform(2, 7), plinth), self.pick(_CLOTHS, 0.4))
        self.comb((left, sign, right, plinth), 0.7 * height, 2, frame)
        if before is not None:
            self.arch(box, before, arch)
        elif self.chance(0.4):  # a striped awning
            awning = (left - 1, top, right + 1, sign + 0.14 * height)
            self.relief(awning, board, None, 5)
            self.comb(awning, 10, 5, (224, 219, 204))
        else:
            self.relief((left, top, right, sign), board, None, 3)
            ink = (235, 230, 209) if sum(board) < 380 else (46, 38, 36)
            letters = (left + 4, 0.7 * top + 0.3 * sign, right - 6, 0.3 * top + 0.7 * sign)
            self.comb(letters, rng.uniform(3, 5), 2, ink)
        self.label.paste(IDS["shop"], self.area(box))

    def surroundings(self) -> Box:
        """Paint sky, neighbours and street; return the box that the house will fill."""
        rng = self.rng
        sky = np.array((224, 230, 235) if self.chance(0.5) else (153, 186, 224))
        clouds = (1 + 0.10 * self.noise(3, 2) + 0.05 * self.noise(10, 6))[..., None] * sky
        self.photo.paste(Image.fromarray(clouds.clip(0, 255).astype(np.uint8)))
        left = rng.uniform(5, 41) if self.chance(0.55) else -5.0
        right = rng.uniform(215, 251) if self.chance(0.55) else 261.0
        top = rng.uniform(10, 67) if self.chance(0.8) else -8.0
        bottom = rng.uniform(230, 251) if self.chance(0.75) else 261.0
        for start, end in ((0.0, left), (right, 256.0)):  # slivers of the houses next door
            if end > start:
                roof, paint = top + rng.uniform(-38, 77), self.pick(_PAINTS, 0.6, 0.95)
                self.fill((start, roof, end, bottom), self.texture("stucco", paint))
        self.fill((0, bottom, 256, 256), self.pick(((128, 125, 120),), 0.6))
        self.fill((0, 0.6 * bottom + 0.4 * 256, 256, 256), 0.75)
        return left, top, right, bottom

    def house(self, box: Box) -> None:
        """Compose a whole front: roof, wall, storeys with their windows, ground floor."""
        rng, (left, top, right, bottom) = self.rng, box
        rich = rng.random()  # from a plain modern front to an ornate one
        plain = ("stucco", "stucco", "brick", "panels")
        kind = str(rng.choice(plain if rich < 0.3 else ("stucco", "brick", "ashlar")))
        wall = self.pick(_CLAYS if kind == "brick" else _PAINTS)
        stone = self.pick(_PAINTS[:5], 0.95) if self.chance(0.5) else tone(wall, 1.15)
        if top > 20 and self.chance(0.65):
            ridge, tiles = top - rng.uniform(10, 26), self.pick(((122, 69, 51), (82, 77, 77)), 0.8)
            for x in rng.uniform(left, right - 12, int(rng.integers(0, 4))):
                self.fill((x, ridge - rng.uniform(4, 14), x + 9, top), _CLAYS[0])
            for y in np.arange(ridge, top, 4):
                self.fill((left, y, right, y + 2), tiles)
                self.fill((left, y + 2, right, y + 4), tone(tiles, 0.86))
        self.fill(box, self.texture(kind, wall), "wall")
        floors, head = int(rng.integers(3, 6)), (bottom - top) * rng.uniform(0.05, 0.10)
        columns = round((right - left) * (floors + 0.4) / (bottom - top) / rng.uniform(0.6, 1.25))
        pitch = (right - left) / min(max(columns, 3), 9)
        axes = np.arange(left + pitch / 2, right, pitch)
        if self.chance(0.25) and len(axes) % 2 == 0:  # in pairs
            axes += np.where(np.arange(len(axes)) % 2 == 0, 0.16, -0.16) * pitch
        width = pitch * rng.uniform(0.38, 0.62)
        shares = np.append(rng.uniform(0.9, 1.1, floors - 1), rng.uniform(1.1, 1.5))
        levels = top + head + (bottom - top - head) * np.append(0, shares / shares.sum()).cumsum()
        ground = levels[-2]
        if rich > 0.3 and self.chance(0.6):  # the ground floor in another material
            paint = stone if self.chance(0.5) else tone(wall, 0.85)
            below = self.texture(str(rng.choice(["grooves", "ashlar", "stucco"])), paint)
            self.fill((left, ground, right, bottom), below, "wall")
        if rich > 0.45 and self.chance(0.55):
            upper, half = levels[int(rng.integers(0, floors - 1))] + 3, 0.07 * pitch
            for x in (left + 2 * half, *((axes[1:] + axes[:-1]) / 2), right - 2 * half):
                self.pillar((x - half, upper, x + half, ground - 2), stone)
        if rich > 0.2 and self.chance(0.85):
            self.band((left - 2, top, right + 2, top + head * 0.7), stone)
        for high, low in pairwise(levels[:-1]):
            self.storey(axes, (high, low), width, rich, stone)
            if rich > 0.25 and self.chance(0.9 if low == ground else 0.45):
                self.band((left, low - 2, right, low + rng.uniform(4, 9)), stone)
        self.ground_floor(axes, (left, ground, right, bottom), width, rich, stone)

    def style(self, rich: float) -> _Style:
        """Draw how the windows of one storey are made."""
        across, down = (int(self.rng.choice(counts)) for counts in ((1, 2, 2, 2, 3), (1, 1, 2, 3)))
        arch = float(self.rng.choice([0, 0, 0, 0.3, 1])) if rich > 0.25 else 0.0
        return _Style(self.pick(_WOODS), across, down, arch, self.rng.uniform(0, 0.8))

    def storey(self, axes: Axes, span: Span, width: float, rich: float, stone: Colour) -> None:
        """Paint one upper storey: a window on every axis and the ornaments that all share."""
        rng, height, style = self.rng, span[1] - span[0], self.style(rich)
        low = span[0] + height * rng.uniform(0.80, 0.9)
        high = low - height * rng.uniform(0.46, 0.64)
        leaf = self.pick((*_CLOTHS, *_PAINTS))
        iron = None if self.chance(0.3) else self.pick(((41, 41, 43),), 0.6, 1.6)
        gap = np.diff(axes).min() - width
        surround, shutters, blinds = self.chance(0.4), self.chance(0.25), self.chance(0.3)
        sills = rich > 0.12 and self.chance(0.75)
        hoods, panels = (rich > 0.35 and self.chance(share) for share in (0.75, 0.4))
        every, wide = int(rng.choice([1, 2, 3, 99, 99])), self.chance(0.15)
        for k, x in enumerate(axes):
            left, right, out = x - width / 2, x + width / 2, min(0.2 * width, 0.35 * gap)
            if surround and not style.arch:
                self.relief((left - 3, high - 3, right + 3, low), stone, None, 1)
            self.window((left, high, right, low), style)
            if shutters and gap > 0.5 * width:
                self.slats((left - 0.48 * gap, high, left, low), leaf)
                self.slats((right, high, right + 0.48 * gap, low), leaf)
            elif blinds and self.chance(0.5):
                self.slats((left, high, right, high + rng.uniform(0.2, 1) * (low - high)), leaf)
            elif panels and k:
                x = (x + axes[k - 1]) / 2
                self.relief((x - 0.3 * gap, high + 4, x + 0.3 * gap, low - 8), stone, "deco", 2)
                self.relief((x - 0.1 * gap, high + 10, x + 0.1 * gap, low - 14), stone, "deco", 2)
            if sills:
                self.relief((left - out, low, right + out, low + 4), stone, "sill", 3)
            if hoods:
                crown = (left - out, high - 0.13 * height, right + out, high - 2)
                self.relief(crown, stone, "cornice", 4)
            if not wide and k % every == every // 2:
                rail = low - 0.4 * (low - high)
                self.balcony((left - out, rail, right + out, low + 3), stone, iron)
        if wide:  # one balcony over all windows
            out, rail = 0.7 * width, low - 0.25 * height
            self.balcony((axes[0] - out, rail, axes[-1] + out, low + 4), stone, iron)

    def ground_floor(self, axes: Axes, box: Box, width: float, rich: float, stone: Colour) -> None:
        """Paint the ground floor: a door, and shops or windows on the other axes."""
        rng, (_, top, _, bottom) = self.rng, box
        height, half = bottom - top, width / 2
        entrance = int(rng.choice([0, len(axes) // 2, len(axes) - 1]))
        shops, closed = self.chance(0.6), 0.4 * rng.random()
        arch, style = float(rng.choice([0, 0, 0.5, 1])), self.style(rich)
        door = _Style(self.pick(_WOODS[3:], 0.8), style.across, 1, arch, style.curtains)
        upper, wide = top + height * rng.uniform(0.14, 0.24), 0.43 * np.diff(axes).min()
        for k, x in enumerate(axes):
            if k == entrance:
                self.door((x - 1.1 * half, upper, x + 1.1 * half, bottom), door, stone)
                if rich > 0.4:
                    crown = (x - 1.6 * half, upper - 0.13 * height, x + 1.6 * half, upper - 2)
                    self.relief(crown, stone, "cornice", 4)
            elif shops:
                if not self.chance(closed):
                    self.shop((x - wide, upper, x + wide, bottom - 1), arch)
            else:
                low = bottom - 0.26 * height
                self.window((x - half, upper + 0.06 * height, x + half, low), style)
                self.relief((x - 1.2 * half, low, x + 1.2 * half, low + 4), stone, "sill", 3)
