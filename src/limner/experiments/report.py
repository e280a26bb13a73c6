"""OUT/report.html and OUT/report.md: an experiment as it stands, with its pictures beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from limner.experiments import wording
from limner.experiments.figures import draw_curves, draw_sheet, loss_lines
from limner.experiments.results import gather
from limner.experiments.wording import Text
from limner.files import read_events, write_text
from limner.reporting.curves import Line, Panel
from limner.reporting.gallery import embed
from limner.reporting.run_page import drawing, render


def write_report(out: Path) -> dict[str, Any]:
    """Write the report of what is done so far, and return what OUT/results.json holds.

    Beside it lie results.json, curves.png, curves.svg and sheet.jpg. Cells that were not run are
    named as such in every table and picture.

    Raises:
        CheckpointError: OUT holds no experiment.
    """
    results = gather(out)
    lines = loss_lines(out, results["record"])
    pictures: dict[str, str] = {}
    if any(lines.values()):
        draw_curves(lines, [out / "curves.png", out / "curves.svg"])
        pictures["curves.png"] = (
            "Losses of the generator (green, left) and of the discriminator (blue, right) over the "
            "steps, the mean over seeds; all diagrams have the same axes"
        )
    if draw_sheet(out, results, out / "sheet.jpg"):
        pictures["sheet.jpg"] = "The same test images from every cell"
    write_text(out / "report.md", markdown(results, pictures))
    write_text(out / "report.html", _page(out, results, pictures, lines))
    return results


def markdown(results: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the report as Markdown; pictures are named as files beside it."""
    parts = [f"# {results['title']}", ""]
    parts += [f"- {name}: {value}" for name, value in wording.facts(results)]
    parts += ["", _markdown_table(wording.scores(results)), "", wording.timing(results)]
    losses = wording.along(results)
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


def _page(
    out: Path,
    results: Mapping[str, Any],
    pictures: Mapping[str, str],
    lines: Mapping[str, Mapping[str, Line]],
) -> str:
    record = results["record"]
    embedded = {file: embed(out / file, caption) for file, caption in pictures.items()}
    commands = [
        event["command"]
        for event in read_events(out)
        if event["event"] == "start" and event.get("command")
    ]
    return render(
        "experiment.html",
        {
            "title": results["title"],
            "name": results["name"],
            "facts": wording.facts(results),
            "scores": wording.scores(results),
            "along": wording.along(results),
            "timing": wording.timing(results),
            "figures": [figure for figure in embedded.values() if figure is not None],
            "panels": [
                drawing(panel, f"p{k}")
                for k, panel in enumerate([*_losses(lines), *_weights(out, record)])
            ],
            "cells": [
                {
                    "name": name,
                    "about": cell["about"],
                    "config": yaml.safe_dump(cell["config"], sort_keys=False),
                }
                for name, cell in record["cells"].items()
            ],
            "runs": [
                {"label": row["label"], "seed": seed, "href": _href(row, seed)}
                for row in results["rows"]
                if not row["early"]
                for seed in row["seeds"]
            ],
            "commands": list(dict.fromkeys(commands)),
            "versions": json.dumps(results["versions"], indent=1),
        },
    )


def _href(row: Mapping[str, Any], seed: str) -> str:
    return f"cells/{row['cell']}/seed{seed}/report.html"


def _losses(lines: Mapping[str, Mapping[str, Line]]) -> list[Panel]:
    """Return all cells' losses over each other: the generators', then the discriminators'."""
    panels = []
    for kind, title in (
        ("generator", "Generator's loss, every cell"),
        ("discriminator", "Discriminator's loss, every cell"),
    ):
        found = [
            Line(cell, kinds[kind].steps, kinds[kind].values)
            for cell, kinds in lines.items()
            if kind in kinds
        ]
        if found:
            panels.append(Panel(title, tuple(found)))
    return panels


def _weights(out: Path, record: Mapping[str, Any]) -> list[Panel]:
    """Return the weight of each cell's first discriminator over the training, where it changes."""
    found = []
    for cell in record["cells"]:
        events = read_events(out / "cells" / cell / f"seed{record['seeds'][0]}")
        told = [(e["step"], e["weights"][0]) for e in events if e["event"] == "weights"]
        if told:
            found.append(_stairs(cell, told))
    if not any(len(set(line.values)) > 1 for line in found):
        return []
    note = f"seed {record['seeds'][0]}"
    return [
        Panel("Weight of the first discriminator", tuple(found), smooth=False, log=False, note=note)
    ]


def _stairs(name: str, told: list[tuple[int, float]]) -> Line:
    """Return values that hold from their step until the next as a line."""
    points = [told[0]]
    for (_, before), (step, weight) in pairwise(told):
        points += [(step - 0.5, before), (step, weight)]
    steps, weights = zip(*points, strict=True)
    return Line(name, steps, weights)
