"""The pictures of a report: embedded in the page, and the best and worst of an evaluation."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from limner.evaluation.metrics import METRICS
from limner.evaluation.sheet import wide_sheet

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
    columns = {
        "source": folder / "source",
        "output": folder / "images",
        "target": folder / "target",
    }
    sheets = []
    for title, group in groups.items():
        number = f"{len(group)} " if len(group) > 1 else ""
        rows = [(names[k], f"{names[k]} · {metric} {values[k]:.4f}") for k in group]
        sheets.append(
            named_sheet(
                columns, rows, needed=("output",), caption=f"The {number}{title} by {metric}"
            )
        )
    return [sheet for sheet in sheets if sheet is not None]


def named_sheet(
    columns: Mapping[str, Path],
    rows: Sequence[tuple[str, str]],
    *,
    needed: Sequence[str],
    caption: str,
    widest: int = 1000,
) -> Figure | None:
    """Return a sheet of pictures by name, or nothing where a column of `needed` cannot be read.

    `columns` are folders of NAME.png by their titles; one that lacks a picture is left out.
    `rows` are names, each with what is written beneath. `widest` is as in `wide_sheet`.
    """
    tiles = [
        {title: _tile(folder / f"{name}.png") for title, folder in columns.items()}
        for name, _ in rows
    ]
    shown = [title for title in columns if all(row[title] is not None for row in tiles)]
    if not rows or not set(needed) <= set(shown):
        return None
    sheet = wide_sheet(
        [[tile for title in shown if (tile := row[title]) is not None] for row in tiles],
        titles=shown,
        names=[text for _, text in rows],
        widest=widest,
    )
    return embed_image(sheet, caption)


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
