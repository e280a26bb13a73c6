"""The scores of a run as tables for people: rounded sensibly, each with what it rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from limner.errors import LimnerError
from limner.evaluation.metrics import FIGURES
from limner.files import read_json

ARROWS = {"lower": "↓ lower", "higher": "↑ higher"}
# Shown in their own columns, or of no use to a reader of the page.
_COLUMNS = {
    *("images", "images_real", "images_fake", "note", "weights", "std", "seed", "cap_db"),
    *("interval", "interval_method", "reference_from_cache", "real"),
}


class _Scores(BaseModel):
    """What the page takes of an evaluation's figures, in the form that it can rely on."""

    model_config = ConfigDict(strict=True)

    values: dict[str, Any]
    per_image: dict[str, list[float]] = {}
    details: dict[str, dict[str, Any] | None] | None = None
    names: list[str] | None = None


class _Results(BaseModel):
    model_config = ConfigDict(strict=True)

    scores: _Scores
    names: list[str] | None = None


def read_results(run: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return RUN/evaluation/*/results.json by folder name, and a sentence for each unreadable one.

    The test split comes first, the others by name.
    """
    results, problems = {}, []
    # A hidden folder is an evaluation under way, or one that was killed.
    paths = [p for p in run.glob("evaluation/*/results.json") if p.parent.name[0] != "."]
    for path in sorted(paths, key=lambda p: (p.parent.name != "test", p.parent.name)):
        try:
            loaded = read_json(path)
            _Results.model_validate(loaded)
        except (OSError, ValueError, LimnerError):
            name = path.relative_to(run).as_posix()
            problems.append(f"{name} cannot be read: run limner evaluate again.")
            continue
        results[path.parent.name] = loaded
    return results, problems


def basis(results: dict[str, Any]) -> str:
    """Return what an evaluation as a whole rests on: images, checkpoint, version."""
    parts = []
    if isinstance(results.get("images"), int):
        parts.append(f"{results['images']:,} images")
    if results.get("checkpoint"):
        step = str(results["checkpoint"])
        parts.append(f"checkpoint {int(step):,}" if step.isdigit() else f"checkpoint {step}")
    if results.get("version"):
        parts.append(f"limner {results['version']}")
    return ", ".join(parts)


def rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row a metric: name, value, which way is better, images, what it rests on."""
    scores = results["scores"]
    table = []
    for name, value in scores["values"].items():
        details = (scores.get("details") or {}).get(name) or {}
        metric = FIGURES.get(name)
        table.append(
            {
                "name": name,
                "value": figure(value),
                "interval": interval(details.get("interval"), value),
                "better": ARROWS[metric.better] if metric else "",
                "images": _images(details, results),
                "about": metric.about if metric else "",
                "caveats": _caveats(details, value),
            }
        )
    return table


def figure(value: object) -> str:
    """Return a score with about four digits that mean something; what is no number as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:.{digits(value)}f}"


def interval_methods(results: dict[str, Any]) -> list[str]:
    """Return in words how the intervals came about, each way once."""
    details = (results["scores"].get("details") or {}).values()
    bounded = [one for one in details if isinstance(one, dict) and one.get("interval")]
    methods = [one["interval_method"] for one in bounded if one.get("interval_method")]
    return list(dict.fromkeys(map(str, methods)))


def interval(bounds: object, value: object) -> str:
    """Return an interval with the digits of its figure; "" where there is none."""
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        return ""
    if not isinstance(value, int | float):
        return ""
    if not all(isinstance(bound, int | float) for bound in bounds):
        return ""
    low, high = (f"{bound:.{digits(value)}f}" for bound in bounds)
    return f"{low} to {high}"


def digits(value: float) -> int:
    """Return the decimals that leave a figure of this size about four digits."""
    size = abs(value) or 1e-2
    return next((d for low, d in ((100, 1), (10, 2), (1, 3), (0.01, 4)) if size >= low), 6)


def _images(details: dict[str, Any], results: dict[str, Any]) -> str:
    """Return how many images a figure rests on; `real / fake` where the numbers differ."""
    real, fake = details.get("images_real"), details.get("images_fake")
    if isinstance(real, int) and isinstance(fake, int):
        return f"{real:,}" if real == fake else f"{real:,} / {fake:,}"
    count = details.get("images", results.get("images"))
    return f"{count:,}" if isinstance(count, int) else ""


def _caveats(details: dict[str, Any], value: object) -> list[str]:
    """Return the note, the spread, the weights and the other details of a metric, a line each."""
    lines = [str(details["note"])] if details.get("note") else []
    spread = details.get("std")
    if isinstance(spread, int | float) and isinstance(value, int | float):
        lines.append(f"± {spread:.{digits(value)}f}, the standard deviation over subsets")
    weights = details.get("weights") or []
    named = [_weights(one) for one in (weights if isinstance(weights, list) else [weights])]
    if named:
        lines.append(f"weights {'; '.join(named)}")
    plain = (str, int, float)
    rest = {k: v for k, v in details.items() if k not in _COLUMNS and isinstance(v, plain) and v}
    if rest:
        lines.append("; ".join(f"{key.replace('_', ' ')} {value}" for key, value in rest.items()))
    return lines


def _weights(one: object) -> str:
    """Return the file of pretrained weights and the start of its checksum."""
    if not isinstance(one, dict):
        return str(one)
    start = f" (SHA-256 {str(one['sha256'])[:8]}…)" if one.get("sha256") else ""
    return f"{one.get('file', one.get('name', ''))}{start}"
