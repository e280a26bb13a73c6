"""Pictures in a page: the best and worst of an evaluation, and what one swipes between."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from limner.evaluation.metrics import METRICS
from limner.sheets import sample_sheet

WIDEST = 1400  # of an embedded picture, in pixels; the page is about 1000 wide
LARGEST = 1_000_000  # bytes of a file that is embedded as it stands
TILE = 256  # longest side of a picture among the best and the worst
RANKED_BY = ("lpips", "lpips-alex", "lpips-vgg", "l1")


@dataclass(frozen=True)
class Figure:
    """An embedded picture: its data URI, its size in pixels and what it says."""

    uri: str
    width: int
    height: int
    caption: str


def embed(path: Path, caption: str) -> Figure | None:
    """Return the picture at `path` as a data URI, reduced if it is very large.

    A picture that cannot be read (the run may be writing it, or have been killed) is left out.
    """
    try:
        with Image.open(path) as image:
            image.load()
            small = image.width <= WIDEST and path.stat().st_size <= LARGEST
            if small and image.format in ("JPEG", "PNG"):
                kind, data = image.format.lower(), path.read_bytes()
                return Figure(_uri(kind, data), image.width, image.height, caption)
            return embed_image(image.convert("RGB"), caption)
    except OSError:
        return None


def embed_image(image: Image.Image, caption: str) -> Figure:
    """Return an RGB image as a data URI (JPEG), reduced to `WIDEST` if it is wider."""
    if image.width > WIDEST:
        height = max(1, round(image.height * WIDEST / image.width))
        image = image.resize((WIDEST, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=88)
    return Figure(_uri("jpeg", file.getvalue()), image.width, image.height, caption)


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def extremes(folder: Path, results: dict[str, Any], *, count: int = 3) -> list[Figure]:
    """Return sheets of the best and the worst pictures of an evaluation, by LPIPS or L1.

    `folder` is RUN/evaluation/SPLIT with `images/NAME.png` and, where they are kept,
    `source/NAME.png` and `target/NAME.png`. No sheet is made where the values or the pictures
    are missing or where there are fewer than two pictures.
    """
    scores = results.get("scores", {})
    per_image = scores.get("per_image", {})
    names = results.get("names") or scores.get("names") or []
    metric = next((name for name in RANKED_BY if len(per_image.get(name, ())) == len(names)), None)
    if metric is None or len(names) < 2:
        return []
    values = per_image[metric]
    rising = sorted(range(len(names)), key=lambda k: values[k])
    if METRICS[metric].better == "higher":
        rising.reverse()
    count = min(count, len(names) // 2)
    groups = {"best": rising[:count], "worst": rising[-count:][::-1]}
    return [
        figure
        for title, group in groups.items()
        if (figure := _ranked(folder, title, metric, [(names[k], values[k]) for k in group]))
    ]


def _ranked(
    folder: Path, title: str, metric: str, chosen: Sequence[tuple[str, float]]
) -> Figure | None:
    """Return one sheet of named pictures with their values; None where none can be read."""
    columns = {"source": "source", "images": "output", "target": "target"}
    tiles = [{kind: _tile(folder / kind / f"{name}.png") for kind in columns} for name, _ in chosen]
    shown = [kind for kind in columns if all(row[kind] is not None for row in tiles)]
    if "images" not in shown:
        return None
    sheet = sample_sheet(
        [[tile for kind in shown if (tile := row[kind]) is not None] for row in tiles],
        titles=[columns[kind] for kind in shown],
        names=[f"{name} · {metric} {value:.4f}" for name, value in chosen],
    )
    plural = f"{len(chosen)} {title} by {metric}" if len(chosen) > 1 else f"{title} by {metric}"
    return embed_image(sheet, f"The {plural}")


def _tile(path: Path) -> torch.Tensor | None:
    """Return a picture file as 3 x H x W uint8, its longer side at most `TILE`, if it is there."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except OSError:
        return None
    picture.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    levels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return levels.reshape(picture.height, picture.width, 3).permute(2, 0, 1)


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
    """Return what the template `swipe.html` shows; None where no picture can be read.

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
        encodings = [encoded(_file(layer, name), quality=quality) for layer in layers]
        if all(encodings):
            notes = [layer.notes.get(name, "") for layer in layers]
            pictures[name] = {"name": name, "pictures": encodings, "notes": notes}
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
    """Return a picture as a data URI, at most `longest` wide and high; None if unreadable.

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
