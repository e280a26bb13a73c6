"""OUT/index.html of `limner check`: the findings with the pictures that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from limner.checks import CheckResult
from limner.checks.listing import list_data
from limner.data import Pair, decode
from limner.data.pairs import Half
from limner.errors import DataError
from limner.files import write_text
from limner.findings import Finding
from limner.reporting.gallery import Figure, embed_image
from limner.reporting.run_page import render

SHOWN = 6  # pictures of a finding
_SIDE = 220  # pixels of a side of a picture
_OVERLAID = {"misaligned", "rotated", "mirrored", "swapped"}
_PLOT = (300, 90)


def write_check(result: CheckResult, root: Path, out: Path, *, direction: str | None) -> Path:
    """Write OUT/index.html and return its path.

    Args:
        result: what was found.
        root: the data folder, or the manifest.
        out: a folder.
        direction: the one that was checked.
    """
    pairs = _pairs(root, direction)
    contents = {
        "title": root.resolve().name,
        "splits": [{"name": name, **facts} for name, facts in result.splits.items()],
        "findings": [
            {
                "finding": finding.to_json(),
                "figures": _figures(finding, pairs),
            }
            for finding in result.findings
        ],
        "tones": [{"name": name, "points": _line(values)} for name, values in result.tones.items()],
        "classes": [
            {"name": name, "bars": _bars(shares)} for name, shares in result.classes.items()
        ],
        "seconds": f"{result.seconds:.0f}",
        "plot_width": _PLOT[0],
        "plot_height": _PLOT[1],
    }
    page = out / "index.html"
    write_text(page, render("check.html", contents))
    return page


def _pairs(root: Path, direction: str | None) -> dict[str, Pair]:
    """Return the pair of each file, by the name that findings give it."""
    listing = list_data(root, direction=direction)
    found: dict[str, Pair] = {}
    for pairs in listing.pairs.values():
        for pair in pairs:
            found.setdefault(listing.name(pair.source), pair)
            found.setdefault(listing.name(pair.target), pair)
    return found


def _figures(finding: Finding, pairs: Mapping[str, Pair]) -> list[Figure]:
    """Return up to `SHOWN` pictures: copies face to face, pairs side by side, edges overlaid."""
    figures = []
    chosen = [list(both) for both in finding.pairs] or [[path] for path in finding.files]
    for files in chosen:
        if len(figures) == SHOWN:
            break
        tiles = []
        for file in files:
            pair = pairs.get(file)
            if pair is None:
                continue
            sides = _sides(pair)
            if finding.name in _OVERLAID and len(sides) == 2:
                sides.append(_overlaid(*sides))
            tiles += sides
        if tiles:
            figures.append(embed_image(_row(tiles), " = ".join(files)))
    return figures


def _sides(pair: Pair) -> list[Image.Image]:
    """Return source and target as far as they can be read."""
    found = []
    halves: tuple[Half | None, Half | None] = (pair.source_half, pair.target_half)
    for path, half in zip((pair.source, pair.target), halves, strict=True):
        picture = _picture(path, half)
        if picture is not None:
            found.append(picture)
    return found


def _picture(path: Path, half: Half | None) -> Image.Image | None:
    try:
        pixels = decode(path).numpy()
    except (DataError, OSError):
        return None
    if half is not None:
        middle = pixels.shape[2] // 2
        pixels = pixels[:, :, :middle] if half == "left" else pixels[:, :, middle:]
    colours = np.nan_to_num(pixels[: 3 if len(pixels) >= 3 else 1].astype(np.float32))
    few = pixels.dtype == np.uint8 and len(colours) == 1 and colours.max() < 64
    if pixels.dtype != np.uint8 or few:  # measured values, or ids: from the lowest to the highest
        low, high = float(colours.min()), float(colours.max())
        colours = (colours - low) / max(high - low, 1e-9) * 255
    shown = colours.clip(0, 255).astype(np.uint8)
    shown = np.repeat(shown, 3, axis=0) if len(shown) == 1 else shown
    image = Image.fromarray(np.ascontiguousarray(shown.transpose(1, 2, 0)))
    image.thumbnail((_SIDE, _SIDE))
    return image


def _overlaid(source: Image.Image, target: Image.Image) -> Image.Image:
    """Return the target in grey with the edges of the source in red."""
    grey = np.asarray(ImageOps.grayscale(source.resize(target.size)), np.float32)
    down, across = np.gradient(grey)
    strength = np.hypot(down, across)
    edges = strength > max(8.0, float(np.quantile(strength, 0.93)))
    shown = np.repeat(np.asarray(ImageOps.grayscale(target))[..., None], 3, axis=2).copy()
    shown[edges] = (230, 30, 30)
    return Image.fromarray(shown)


def _row(tiles: list[Image.Image]) -> Image.Image:
    """Return pictures beside each other."""
    height = max(tile.height for tile in tiles)
    row = Image.new("RGB", (sum(tile.width + 4 for tile in tiles) - 4, height), "white")
    left = 0
    for tile in tiles:
        row.paste(tile, (left, 0))
        left += tile.width + 4
    return row


def _line(values: list[float]) -> str:
    """Return a histogram as the points of an SVG line."""
    width, height = _PLOT
    top = max([*values, 1e-9])
    step = width / max(1, len(values) - 1)
    return " ".join(
        f"{number * step:.1f},{height - value / top * (height - 4):.1f}"
        for number, value in enumerate(values)
    )


def _bars(shares: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        {"name": name, "share": f"{share:.1%}", "width": f"{100 * share:.1f}"}
        for name, share in shares.items()
    ]
