"""OUT/comparison.html: several runs side by side, in one file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.data import natural
from limner.evaluation.compare import widest_first
from limner.evaluation.metrics import FIGURES
from limner.files import write_text
from limner.reporting import score_table
from limner.reporting.gallery import Layer, encoded, swipe
from limner.reporting.run_page import render

MOST_SHOWN = 6  # images shown for each metric
TILE = 256  # longest side of each of their pictures
BUDGET = 7_500_000  # bytes of the pictures that are swiped


def write_comparison(out: Path, comparison: dict[str, Any]) -> Path:
    """Write OUT/comparison.json and OUT/comparison.html, and return the page's path.

    `comparison` is what `comparing.compare_runs` returns; the pictures are read from the runs'
    evaluations.
    """
    write_text(out / "comparison.json", json.dumps(comparison, indent=1))
    page = out / "comparison.html"
    write_text(page, render("comparison.html", _contents(comparison)))
    return page


def _contents(comparison: dict[str, Any]) -> dict[str, Any]:
    runs, tests = comparison["runs"], comparison["tests"]
    return {
        "title": " and ".join(runs) if len(runs) == 2 else f"{len(runs)} runs",
        "runs": list(runs),
        "images": f"{comparison['images']:,}",
        "split": comparison["split"],
        "data": comparison["data"],
        "scores": _scores(comparison),
        "intervals": score_table.interval_methods(next(iter(runs.values()))),
        "tests": [in_words(test) for test in tests],
        "method": comparison["method"] | {"comparisons": len(tests)},
        "notes": comparison["notes"],
        "view": _view(comparison),
        "differ": _differ(comparison),
        "settings": [
            {"key": key, "values": [_plain(values[label]) for label in runs]}
            for key, values in comparison["settings"].items()
            if not any(other.startswith(f"{key}.") for other in comparison["settings"])
        ],
        "bases": [_basis(label, comparison) for label in runs],
        "command": comparison["command"],
        "provenance": json.dumps(
            {label: results.get("provenance", {}) for label, results in runs.items()}, indent=1
        ),
    }


def _plain(value: object) -> str:
    return "\N{EM DASH}" if value is None else str(value)


def _scores(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row a metric: each run's figure and interval, and what the figures rest on."""
    runs = comparison["runs"]
    tables = {
        label: {row["name"]: row for row in score_table.rows(results)}
        for label, results in runs.items()
    }
    rows = []
    for metric in next(iter(tables.values())):
        cells = [tables[label].get(metric) for label in runs]
        first = next(cell for cell in cells if cell is not None)
        best = comparison["best"].get(metric, {})
        rows.append(
            {
                "name": metric,
                "better": first["better"],
                "about": first["about"],
                "caveats": first["caveats"],
                "cells": [
                    {
                        "value": cell["value"] if cell else "",
                        "interval": cell["interval"] if cell else "",
                        "best": bool(best.get("clear")) and best.get("run") == label,
                    }
                    for label, cell in zip(runs, cells, strict=True)
                ],
            }
        )
    return rows


def in_words(test: dict[str, Any]) -> dict[str, str]:
    """Return one test as people read it."""
    digits = score_table.digits(max(map(abs, test["interval"])) or 1.0)
    low, high = (f"{value:+.{digits}f}" for value in test["interval"])
    return {
        "metric": test["metric"],
        "pair": f"{test['a']} \N{MINUS SIGN} {test['b']}",
        "mean": f"{test['mean_difference']:+.{digits}f}",
        "interval": f"{low} to {high}",
        "wins": f"{test['a_better']} : {test['b_better']}",
        "p": p_value(test["p_holm"]),
        "verdict": f"{test['better']} is better" if test["better"] else "no difference shown",
    }


def p_value(p: float) -> str:
    """Return a p-value with the digits that mean something."""
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _folders(comparison: dict[str, Any]) -> dict[str, Path]:
    return {
        label: Path(run) / "evaluation" / comparison["split"]
        for label, run in comparison["folders"].items()
    }


def _columns(comparison: dict[str, Any]) -> dict[str, Path]:
    """Return the folders of pictures by their titles: source, the runs' outputs, target."""
    folders = _folders(comparison)
    first = next(iter(folders.values()))
    outputs = {label: folder / "images" for label, folder in folders.items()}
    return {"source": first / "source", **outputs, "target": first / "target"}


def _view(comparison: dict[str, Any]) -> dict[str, Any] | None:
    """Return the pictures to swipe between, by name and by how much the runs differ."""
    runs = comparison["runs"]
    names = next(iter(runs.values()))["names"]
    per_image = {label: results["scores"]["per_image"] for label, results in runs.items()}
    metrics = list(comparison["differ"])
    spread = {
        metric: [names[k] for k in widest_first([per_image[label][metric] for label in runs])]
        for metric in metrics
    }
    # Where not all fit, those on which the runs differ by any metric come first.
    wanted = [name for ranked in zip(*spread.values(), strict=True) for name in ranked]
    layers = [
        Layer(title, folder, _notes(per_image.get(title, {}), metrics, names))
        for title, folder in _columns(comparison).items()
    ]
    orders = {f"difference in {metric}": order for metric, order in spread.items()}
    return swipe(
        layers,
        list(dict.fromkeys(wanted or names)),
        orders={"name": sorted(names, key=natural), **orders},
        budget=BUDGET,
        start=(1, 2),
    )


def _notes(
    per_image: Mapping[str, Sequence[float]], metrics: Sequence[str], names: Sequence[str]
) -> dict[str, str]:
    """Return for each image its values by the metrics, in words."""
    known = [metric for metric in metrics if metric in per_image]
    return {
        name: ", ".join(f"{metric} {score_table.figure(per_image[metric][k])}" for metric in known)
        for k, name in enumerate(names)
        if known
    }


def _differ(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Return for each metric the pictures of the images on which the runs lie furthest apart."""
    columns = _columns(comparison)
    sections: list[dict[str, Any]] = []
    for metric, images in comparison["differ"].items():
        rows = []
        for image in images[:MOST_SHOWN]:
            files = {title: folder / f"{image['name']}.png" for title, folder in columns.items()}
            values = {k: score_table.figure(v) for k, v in image["values"].items()}
            pictures = [
                {"title": title, "value": values.get(title, ""), "uri": uri}
                for title, file in files.items()
                if (uri := encoded(file, quality=85, longest=TILE)) is not None
            ]
            if pictures:
                rows.append({"name": image["name"], "pictures": pictures})
        if rows:
            sections.append({"metric": metric, "better": FIGURES[metric].better, "rows": rows})
    return sections


def _basis(label: str, comparison: dict[str, Any]) -> dict[str, str]:
    """Return what one run's figures rest on."""
    results = comparison["runs"][label]
    provenance = results.get("provenance", {})
    return {
        "label": label,
        "folder": comparison["folders"][label],
        "basis": score_table.basis(results),
        "generator": str(provenance.get("generator", {}).get("sha256", ""))[:12],
        "pairs": str(provenance.get("pairs", {}).get("sha256", ""))[:12],
        "command": str(results.get("command", "")),
    }
