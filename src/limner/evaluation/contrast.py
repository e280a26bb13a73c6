"""Runs against each other by their results: tests image by image, and where they differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from limner.errors import DataError
from limner.evaluation import significance
from limner.evaluation.metrics import FIGURES
from limner.evaluation.significance import holm, paired_test

BELIEVED = 0.05
"""The corrected p-value below which a difference is taken for one."""
MOST_DIFFERENT = 12
"""Images listed for each metric."""

Results = Mapping[str, dict[str, Any]]
"""The contents of each run's results.json by the run's label."""


def compare_results(results: Results, *, seed: int) -> dict[str, Any]:
    """Compare runs by the results that measuring them gave.

    Returns:
        `tests`: for each metric with a value an image and each two runs, the mean difference a - b
        with its interval, on how many images each is better, and the p-value as it is and
        corrected for all of them (Holm). `method` says how. `best`: the best run by each metric,
        `clear` where every other one is told from it. `differ`: for each such metric the images
        on which the runs lie furthest apart. `notes`: what to bear in mind.

    Raises:
        DataError: the runs were not measured on the same images.
    """
    names = _common_names(results)
    tests: list[dict[str, Any]] = []
    differ: dict[str, list[dict[str, Any]]] = {}
    for metric in _paired_metrics(results, len(names)):
        values = {label: one["scores"]["per_image"][metric] for label, one in results.items()}
        tests += [_test(metric, a, b, values, seed) for a, b in combinations(values, 2)]
        differ[metric] = _most_different(names, values)
    for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = p
        sign = test["mean_difference"] * (1 if FIGURES[test["metric"]].better == "higher" else -1)
        test["better"] = None if p >= BELIEVED else test["a"] if sign > 0 else test["b"]
    return {
        "images": len(names),
        "tests": tests,
        "method": {
            "test": "paired permutation test of the mean difference, two-sided",
            "sign_patterns": significance.FLIPS,
            "correction": "Holm, over all metrics and pairs of runs",
            "interval": "percentile bootstrap over images",
            "draws": significance.DRAWS,
            "level": significance.LEVEL,
            "believed_below": BELIEVED,
            "seed": seed,
        },
        "best": _best(results, tests),
        "differ": differ,
        "notes": _notes(results, len(names)),
    }


def _common_names(results: Results) -> list[str]:
    (first, one), *others = results.items()
    names = list(one["names"])
    for label, other in others:
        if list(other["names"]) != names:
            raise DataError(
                f"{first} and {label} were measured on different images: evaluate both on one split"
            )
    return names


def _paired_metrics(results: Results, count: int) -> list[str]:
    """Return the metrics that every run has a value an image of."""
    first = next(iter(results.values()))["scores"]["per_image"]
    return [
        metric
        for metric in first
        if metric in FIGURES
        and all(
            len(one["scores"]["per_image"].get(metric, ())) == count for one in results.values()
        )
    ]


def _test(
    metric: str, a: str, b: str, values: Mapping[str, Sequence[float]], seed: int
) -> dict[str, Any]:
    apart = [x - y for x, y in zip(values[a], values[b], strict=True)]
    found = paired_test(apart, seed=seed)
    up, down = sum(d > 0 for d in apart), sum(d < 0 for d in apart)
    wins = (up, down) if FIGURES[metric].better == "higher" else (down, up)
    return {
        "metric": metric,
        "a": a,
        "b": b,
        "mean_difference": found.mean,
        "interval": list(found.interval),
        "a_better": wins[0],
        "b_better": wins[1],
        "p": found.p,
    }


def _most_different(
    names: Sequence[str], values: Mapping[str, Sequence[float]]
) -> list[dict[str, Any]]:
    """Return the images with the widest spread of a metric over the runs, the widest first."""
    spread = [max(column) - min(column) for column in zip(*values.values(), strict=True)]
    order = sorted(range(len(names)), key=lambda k: -spread[k])[:MOST_DIFFERENT]
    return [
        {"name": names[k], "values": {label: each[k] for label, each in values.items()}}
        for k in order
    ]


def _best(results: Results, tests: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    best: dict[str, dict[str, Any]] = {}
    shared = [
        metric
        for metric in next(iter(results.values()))["scores"]["values"]
        if metric in FIGURES and all(metric in one["scores"]["values"] for one in results.values())
    ]
    for metric in shared:
        values = {label: one["scores"]["values"][metric] for label, one in results.items()}
        pick = max if FIGURES[metric].better == "higher" else min
        label = pick(values, key=lambda name: values[name])
        won = [
            t["better"] == label
            for t in tests
            if t["metric"] == metric and label in (t["a"], t["b"])
        ]
        best[metric] = {"run": label, "clear": bool(won) and all(won)}
    return best


def _notes(results: Results, count: int) -> list[str]:
    """Return in sentences what makes figures less than comparable."""
    notes = []
    keys = ("size", "mode", "channels", "convert", "interpolation")
    prepared = [one.get("provenance", {}).get("preparation", {}) for one in results.values()]
    changed = [key for key in keys if any(one.get(key) != prepared[0].get(key) for one in prepared)]
    if changed:
        told = "; ".join(
            f"{label}: {', '.join(f'{key} {one.get(key)}' for key in changed)}"
            for label, one in zip(results, prepared, strict=True)
        )
        notes.append(
            f"The runs prepare their pictures differently ({told}), so each was measured against "
            "targets of its own; the figures compare the runs as they are, not their networks."
        )
    if count < 20:
        notes.append(
            f"{count} image{'' if count == 1 else 's'} can show a large difference only; the "
            "intervals are rough."
        )
    return notes
