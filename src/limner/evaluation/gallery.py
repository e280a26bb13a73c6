"""The pictures of a report: embedded in the page, and the best and worst of an evaluation."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from limner.evaluation.metrics import METRICS
from limner.evaluation.sheet import sample_sheet

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
    """Return one sheet of named pictures with their values, or nothing where none can be read."""
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
