"""Pictures to swipe between on a page: encoded, bounded in size, and as data for the page's script.

A page holds every picture itself, so that it can be moved and mailed as one file.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

LONGEST = 512  # side of a picture on the page, in pixels
QUALITIES = (92, 85, 75, 65)  # of JPEG, the first with which all pictures fit
SAMPLED = 6  # pictures whose sizes tell those of all


@dataclass(frozen=True)
class Layer:
    """One of the pictures of each pair: its title, the folder of files, a word on each by name."""

    title: str
    folder: Path
    notes: Mapping[str, str]


def swipe(
    layers: Sequence[Layer],
    names: Sequence[str],
    *,
    orders: Mapping[str, Sequence[str]],
    budget: int,
    start: tuple[int, int] = (0, 1),
    prefix: str = "swipe",
) -> dict[str, Any] | None:
    """Return what the template `swipe.html` shows, or nothing where no picture can be read.

    Args:
        layers: what can be swiped between; each folder holds NAME.png for each name.
        names: the pictures, the most wanted first, for where not all fit.
        orders: orders in which to leaf through them, by title; the first is shown first.
        budget: bytes of the page that the pictures may take, about.
        start: the layers shown at first, left and right.
        prefix: makes the ids unique on the page.
    """
    readable = [name for name in names if all(_file(layer, name).is_file() for layer in layers)]
    quality, count = _fitting(layers, readable, budget)
    pictures = {}
    for name in readable[:count]:
        found = [encoded(_file(layer, name), quality=quality) for layer in layers]
        if all(found):
            notes = [layer.notes.get(name, "") for layer in layers]
            pictures[name] = {"name": name, "pictures": found, "notes": notes}
    if not pictures:
        return None
    place = {name: k for k, name in enumerate(pictures)}
    data = {
        "layers": [layer.title for layer in layers],
        "pictures": list(pictures.values()),
        "orders": [
            {"title": title, "order": [place[name] for name in order if name in place]}
            for title, order in orders.items()
        ],
        "start": list(start),
    }
    return {
        "prefix": prefix,
        "shown": len(pictures),
        "all": len(names),
        # Within a script element only "<" could end it or open a comment.
        "json": json.dumps(data).replace("<", "\\u003c"),
    }


def _file(layer: Layer, name: str) -> Path:
    return layer.folder / f"{name}.png"


def _fitting(layers: Sequence[Layer], names: Sequence[str], budget: int) -> tuple[int, int]:
    """Return the quality, and how many of the names fit into the budget with it."""
    if not names:
        return QUALITIES[0], 0
    step = max(1, len(names) // SAMPLED)
    sample = names[::step][:SAMPLED]
    mean = 0.0
    for quality in QUALITIES:
        sizes = [len(encoded(_file(x, n), quality=quality) or "") for n in sample for x in layers]
        mean = max(1.0, sum(sizes) / len(sample))
        if mean * len(names) <= budget:
            return quality, len(names)
    return QUALITIES[-1], max(1, int(budget / mean))


def encoded(path: Path, *, quality: int, longest: int = LONGEST) -> str | None:
    """Return a picture as a data URI, at most `longest` wide and high; nothing if unreadable.

    PNG where that is smaller (flat label colours), else JPEG with colour at full resolution.
    """
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=quality, subsampling=0, optimize=True)
    kind, data = "jpeg", file.getvalue()
    if picture.getcolors(256) is not None:  # of photos PNG is never smaller, and slow
        file = io.BytesIO()
        picture.save(file, format="PNG")
        if len(file.getvalue()) < len(data):
            kind, data = "png", file.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
