"""OUT/report.html and OUT/report.md: an experiment as it stands, with its pictures beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from limner.files import write_text
from limner.reporting import experiment_tables
from limner.reporting.curves import Line, Panel
from limner.reporting.experiment_figures import draw_curves, draw_sheet
from limner.reporting.experiment_tables import Text
from limner.reporting.gallery import embed
from limner.reporting.run_page import drawing, render


def write_pages(
    out: Path,
    results: Mapping[str, Any],
    *,
    losses: Mapping[str, Mapping[str, Line]],
    weights: Mapping[str, Sequence[tuple[int, float]]],
    evaluations: Mapping[str, Path | None],
    commands: Sequence[str],
) -> None:
    """Write the pages of what is done so far, with curves.png, curves.svg and sheet.jpg.

    Cells that were not run are named as such in every table and picture.

    Args:
        out: the experiment's folder.
        results: what its results.json holds.
        losses: `generator` and `discriminator` of each cell; empty for one that has not begun.
        weights: of each cell the steps at which its first discriminator's weight changed, with
            the new weight.
        evaluations: for each row's label the folder of pictures to show, None for none.
        commands: what was typed to come here.
    """
    pictures: dict[str, str] = {}
    if any(losses.values()):
        draw_curves(losses, [out / "curves.png", out / "curves.svg"])
        pictures["curves.png"] = (
            "Losses of the generator (green, left) and of the discriminator (blue, right) over the "
            "steps, the mean over seeds; all diagrams have the same axes"
        )
    if draw_sheet(evaluations, out / "sheet.jpg"):
        pictures["sheet.jpg"] = "The same test images from every cell"
    write_text(out / "report.md", markdown(results, pictures))
    record = results["record"]
    embedded = [embed(out / file, caption) for file, caption in pictures.items()]
    panels = [*_losses(losses), *_weights(weights, seed=record["seeds"][0])]
    page = render(
        "experiment.html",
        {
            "title": results["title"],
            "name": results["name"],
            "facts": experiment_tables.facts(results),
            "scores": experiment_tables.scores(results),
            "along": experiment_tables.along(results),
            "timing": experiment_tables.timing(results),
            "figures": [figure for figure in embedded if figure is not None],
            "panels": [drawing(panel, f"p{k}") for k, panel in enumerate(panels)],
            "cells": [
                {
                    "name": name,
                    "about": cell["about"],
                    "config": yaml.safe_dump(cell["config"], sort_keys=False),
                }
                for name, cell in record["cells"].items()
            ],
            "runs": [
                {
                    "label": row["label"],
                    "seed": seed,
                    "href": f"cells/{row['cell']}/seed{seed}/report.html",
                }
                for row in results["rows"]
                if not row["early"]
                for seed in row["seeds"]
            ],
            "commands": list(dict.fromkeys(commands)),
            "versions": json.dumps(results["versions"], indent=1),
        },
    )
    write_text(out / "report.html", page)


def markdown(results: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the report as Markdown; pictures are named as files beside it."""
    parts = [f"# {results['title']}", ""]
    parts += [f"- {name}: {value}" for name, value in experiment_tables.facts(results)]
    scores = _markdown_table(experiment_tables.scores(results))
    parts += ["", scores, "", experiment_tables.timing(results)]
    losses = experiment_tables.along(results)
    if losses is not None:
        parts += ["", "## Losses along the way", "", _markdown_table(losses)]
    for file, caption in pictures.items():
        parts += ["", f"![{caption}]({file})", "", f"{caption}."]
    return "\n".join(parts) + "\n"


def _markdown_table(table: Text) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in table.plain]
    for row, column in table.best:
        escaped[row][column] = f"**{escaped[row][column]}**"
    lines = [f"| {' | '.join(table.heads)} |", "|---" * len(table.heads) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in escaped]
    notes = [f"\n{note}" for note in table.notes]
    bold = ["\nBold: the best mean of a column."] if table.best else []
    return "\n".join([*lines, *bold, *notes])


def _losses(lines: Mapping[str, Mapping[str, Line]]) -> list[Panel]:
    """Return all cells' losses over each other: the generators', then the discriminators'."""
    panels = []
    for kind, title in (
        ("generator", "Generator's loss, every cell"),
        ("discriminator", "Discriminator's loss, every cell"),
    ):
        drawn = [
            Line(cell, kinds[kind].steps, kinds[kind].values)
            for cell, kinds in lines.items()
            if kind in kinds
        ]
        if drawn:
            panels.append(Panel(title, tuple(drawn)))
    return panels


def _weights(weights: Mapping[str, Sequence[tuple[int, float]]], *, seed: int) -> list[Panel]:
    """Return the weight of each cell's first discriminator over the training, where it changes."""
    lines = [_stairs(cell, points) for cell, points in weights.items() if points]
    if not any(len(set(line.values)) > 1 for line in lines):
        return []
    title, note = "Weight of the first discriminator", f"seed {seed}"
    return [Panel(title, tuple(lines), smooth=False, log=False, note=note)]


def _stairs(name: str, changes: Sequence[tuple[int, float]]) -> Line:
    """Return values that hold from their step until the next as a line."""
    points = [changes[0]]
    for (_, before), (step, weight) in pairwise(changes):
        points += [(step - 0.5, before), (step, weight)]
    steps, weights = zip(*points, strict=True)
    return Line(name, steps, weights)
