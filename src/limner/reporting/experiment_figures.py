"""Pictures of an experiment: the losses of every cell, and the same test images from each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from limner.files import write_from
from limner.reporting.curves import PALETTE, Line, smooth, thin
from limner.sheets import sample_sheet, spread

IMAGES = 6
"""Test images in the sheet."""
WIDEST = 2400
"""Pixels that the sheet may be wide; with many cells the pictures are made smaller."""
GREEN, BLUE = PALETTE[2], PALETTE[0]  # the generator's and the discriminator's, as in the study


def draw_curves(lines: Mapping[str, Mapping[str, Line]], paths: Sequence[Path]) -> None:
    """Draw a small diagram a cell, generator left in green and discriminator right in blue.

    All share their axes, so that heights may be compared.

    Args:
        lines: for each cell the losses `generator` and `discriminator`; none where it has not run.
        paths: files to write, each a .png or a .svg.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    high = -(-len(lines) // 4)
    columns = -(-len(lines) // high)
    top = {kind: _top(lines, kind) for kind in ("generator", "discriminator")}
    with mpl.rc_context({"font.size": 8, "svg.fonttype": "path", "svg.hashsalt": "limner"}):
        figure = Figure(figsize=(2.9 * columns, 2.1 * high + 0.3), layout="constrained")
        FigureCanvasAgg(figure)
        for number, (cell, kinds) in enumerate(lines.items()):
            left = figure.add_subplot(high, columns, number + 1)
            right = left.twinx()
            for axes, kind, colour in (
                (left, "generator", GREEN),
                (right, "discriminator", BLUE),
            ):
                if kind in kinds:
                    line = thin(kinds[kind], 300)
                    span = max(4, len(line.values) / 25)
                    axes.plot(line.steps, line.values, color=colour, linewidth=0.5, alpha=0.3)
                    axes.plot(line.steps, smooth(line.values, span=span), color=colour)
                axes.set_ylim(0, top[kind])
                axes.tick_params(axis="y", colors=colour, length=2)
                axes.spines[["top"]].set_visible(False)
            left.set_title(cell if kinds else f"{cell}: not run", fontsize=9)
            left.tick_params(axis="x", length=2)
            if number % columns == 0:
                left.set_ylabel("generator's loss", color=GREEN)
            if number % columns == columns - 1 or number == len(lines) - 1:
                right.set_ylabel("discriminator's loss", color=BLUE)
        for path in paths:
            form = path.suffix.removeprefix(".")
            metadata = {"Date": None} if form == "svg" else None
            write_from(path, partial(figure.savefig, format=form, dpi=120, metadata=metadata))


def _top(lines: Mapping[str, Mapping[str, Line]], kind: str) -> float:
    """Return the height of the axes of a kind of loss: what all but the first 2 % stays below."""
    values = sorted(
        value
        for kinds in lines.values()
        if kind in kinds
        for value in kinds[kind].values
        if math.isfinite(value)
    )
    return 1.05 * values[min(len(values) - 1, int(0.98 * len(values)))] if values else 1.0


def draw_sheet(folders: Mapping[str, Path | None], path: Path) -> bool:
    """Write one sheet: some test images in rows; source, target and every row of the table.

    Args:
        folders: for each label the folder of an evaluation, which holds `source`, `target` and
            `images`; None where there is none, whose pictures are left grey.
        path: the JPEG to write.

    Returns:
        Whether there was anything to show.
    """
    known = [folder for folder in folders.values() if folder is not None]
    if not known:
        return False
    names = sorted(file.name for file in (known[0] / "target").iterdir())
    chosen = [names[k] for k in spread(len(names), IMAGES)]
    side = WIDEST // (len(folders) + 2) - 12
    columns = {"source": known[0] / "source", "target": known[0] / "target"} | {
        label if folder else f"{label}: not run": folder and folder / "images"
        for label, folder in folders.items()
    }
    rows = []
    for name in chosen:
        tiles = [_tile(folder and folder / name, side) for folder in columns.values()]
        size = next(tile.shape[1:] for tile in tiles if tile is not None)
        grey = torch.full((3, *size), 225, dtype=torch.uint8)
        rows.append([grey if tile is None else tile for tile in tiles])
    captions = [Path(name).stem for name in chosen]
    sheet = sample_sheet(rows, titles=list(columns), names=captions)
    write_from(path, partial(sheet.save, format="JPEG", quality=88))
    return True


def _tile(path: Path | None, side: int) -> Tensor | None:
    """Return a picture as 3 x H x W uint8, its longer side at most `side`; None for no file."""
    if path is None or not path.is_file():
        return None
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    levels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return levels.reshape(picture.height, picture.width, 3).permute(2, 0, 1)
