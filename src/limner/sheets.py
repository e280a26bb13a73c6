"""Sheets of pictures in rows: source, output, target, side by side for the eye."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from limner.errors import DataError

PAPER, INK, FAINT = (255, 255, 255), (34, 38, 43), (110, 116, 124)


@dataclass(frozen=True)
class Layout:
    """Where everything on a sheet lies, in pixels."""

    size: tuple[int, int]
    points: int  # height of the titles' type
    columns: list[tuple[int, int]]  # left edge and width
    bands: list[tuple[int, int]]  # top edge and height of each row of pictures
    origins: list[list[tuple[int, int]]]  # left upper corner of every picture


def spread(count: int, most: int) -> list[int]:
    """Return up to `most` of `count` places, spread evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def sample_sheet(
    rows: Sequence[Sequence[Tensor]],
    *,
    titles: Sequence[str],
    names: Sequence[str] | None = None,
) -> Image.Image:
    """Set pictures out in rows under column titles; return one RGB image.

    Args:
        rows: pictures, each C x H x W: float in [-1, 1], or unsigned integers of 8 or 16 bit.
            1 or 2 channels show the first in grey, 3 are colour, 4 are colour over a
            chequerboard (the fourth is opacity), of more the first three are shown.
        titles: one a column, as many as the longest row has pictures.
        names: one a row, written beneath it, or nothing.

    A column is as wide as its widest picture and a row as high as its highest; smaller pictures
    stand unscaled in the middle of their place (`lay_out` tells where).

    Raises:
        DataError: no picture at all, a tensor that is no picture, or titles or names that do
            not match the rows in number.
    """
    pictures = [[to_image(tensor) for tensor in row] for row in rows]
    layout = lay_out([[p.size for p in row] for row in pictures], titles=titles, names=names)
    sheet = Image.new("RGB", layout.size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for title, (left, width) in zip(titles, layout.columns, strict=True):
        middle = (left + width / 2, layout.points * 1.4)
        _write(draw, middle, title, layout.points, width, INK, anchor="ms")
    for k, row in enumerate(pictures):
        for picture, origin in zip(row, layout.origins[k], strict=True):
            sheet.paste(picture, origin)
        if names is not None:
            left, (top, height) = layout.columns[0][0], layout.bands[k]
            small, room = round(0.85 * layout.points), layout.size[0] - 2 * left
            _write(draw, (left, top + height + 1.2 * small), names[k], small, room, FAINT)
    return sheet


def wide_sheet(
    rows: Sequence[Sequence[Tensor]],
    *,
    titles: Sequence[str],
    names: Sequence[str],
    widest: int = 1000,
) -> Image.Image:
    """Set pictures out as `sample_sheet` does, in as many columns of rows as `widest` has room for.

    The rows run down the first column, then down the next; a page's width is used where the
    pictures are small. A sheet that is wider than `widest` by itself has one column.
    """
    alone = lay_out([[to_image(p).size for p in row] for row in rows], titles=titles, names=names)
    columns = min(max(1, widest // alone.size[0]), len(rows))
    high = -(-len(rows) // columns)
    parts = [
        sample_sheet(rows[k : k + high], titles=titles, names=names[k : k + high])
        for k in range(0, len(rows), high)
    ]
    sheet = Image.new("RGB", (sum(p.width for p in parts), max(p.height for p in parts)), PAPER)
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width
    return sheet


def lay_out(
    sizes: Sequence[Sequence[tuple[int, int]]],
    *,
    titles: Sequence[str],
    names: Sequence[str] | None = None,
) -> Layout:
    """Return where pictures of these (width, height) go; arguments as for `sample_sheet`."""
    count = max((len(row) for row in sizes), default=0)
    if not count:
        raise DataError("a sheet needs at least one picture")
    if len(titles) != count:
        raise DataError(f"the longest row has {count} pictures but there are {len(titles)} titles")
    if names is not None and len(names) != len(sizes):
        raise DataError(f"there are {len(sizes)} rows but {len(names)} names")
    widths = [max(row[k][0] for row in sizes if k < len(row)) for k in range(count)]
    heights = [max((height for _, height in row), default=0) for row in sizes]
    points = min(max(round(max(widths) / 11), 12), 22)
    gap = max(4, points // 2)
    label = round(1.6 * points) if names is not None else 0
    x, columns = points, []
    for width in widths:
        columns.append((x, width))
        x += width + gap
    y, bands = 2 * points, []
    for height in heights:
        bands.append((y, height))
        y += height + label + gap
    origins = [
        [
            (columns[k][0] + (columns[k][1] - width) // 2, top + (high - height) // 2)
            for k, (width, height) in enumerate(row)
        ]
        for row, (top, high) in zip(sizes, bands, strict=True)
    ]
    return Layout((x - gap + points, y - gap + points), points, columns, bands, origins)


def to_image(picture: Tensor) -> Image.Image:
    """Return one picture, C x H x W as `sample_sheet` takes it, as 8-bit grey or RGB."""
    if picture.ndim != 3 or 0 in picture.shape:
        raise DataError(f"a picture is C x H x W, this tensor is {tuple(picture.shape)}")
    picture = picture.detach().cpu()
    if picture.is_floating_point():
        # A NaN has no colour: black.
        levels = torch.nan_to_num(picture.float(), nan=-1.0).clamp(-1, 1).add(1).mul(127.5).round()
    elif picture.dtype == torch.uint8:
        levels = picture.float()
    elif picture.dtype == torch.uint16:
        levels = picture.float().div(257).round()
    else:
        raise DataError(f"a picture is float, uint8 or uint16, this tensor is {picture.dtype}")
    if len(levels) == 4:
        levels = _over_chequerboard(levels)
    shown = levels[:1] if len(levels) < 3 else levels[:3]
    pixels = shown.to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _over_chequerboard(levels: Tensor) -> Tensor:
    """Lay colour of some opacity (4 x H x W, 0..255) over light and dark squares of 8 pixels."""
    _, height, width = levels.shape
    odd = (torch.arange(height)[:, None] // 8 + torch.arange(width) // 8) % 2
    opacity = levels[3] / 255
    return (levels[:3] * opacity + (204 + 51 * odd) * (1 - opacity)).round()


def _font(points: int, text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own type, or DejaVu, which comes with matplotlib, for more than ASCII."""
    home = importlib.util.find_spec("matplotlib")
    if text.isascii() or home is None or home.origin is None:
        return ImageFont.load_default(points)
    return ImageFont.truetype(
        str(Path(home.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), points
    )


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    points: int,
    room: float,
    colour: tuple[int, int, int],
    *,
    anchor: str = "ls",
) -> None:
    """Write one line with its baseline at `place`, cut with an ellipsis where it lacks room."""
    text = " ".join(text.split())
    font = _font(points, text)
    if draw.textlength(text, font) > room:
        while text and draw.textlength(text + "…", font) > room:
            text = text[:-1]
        text += "…"
    draw.text(place, text, fill=colour, font=font, anchor=anchor)
