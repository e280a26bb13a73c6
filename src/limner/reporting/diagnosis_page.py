"""OUT/index.html of `limner diagnose`: the findings, and the curves on which they stand marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limner.files import write_text
from limner.findings import Finding
from limner.health.diagnosis import Diagnosis
from limner.health.history import History
from limner.reporting.curves import Panel, loss_panels, validation_panels
from limner.reporting.run_page import drawing, render

ABOUT: dict[str, tuple[str, ...]] = {
    "divergence": ("g/l1", "g/l2", "d/real", "d/fake"),
    "exploding-gradients": ("health/gradient",),
    "nothing-learned": ("g/l1", "g/vgg", "g/feature_matching", "health/l1", "health/following"),
    "discriminator-wins": ("d", "g/gan"),
    "generator-wins": ("d", "g/gan"),
    "generator-stalled": ("g", "d", "health/update"),
    "collapse": ("health/following",),
    "adversarial-drowned": ("health/share",),
    "discriminator-memorises": ("health/logit",),
    "overfit": ("g/l1", "val/g/l1", "l1"),
    "perceptual-overfit": ("g/vgg", "val/g/vgg"),
    "rate-too-high": ("health/update",),
    "norm-mismatch": ("health/l1",),
    "checkerboard": ("health/checkerboard", "health/checkerboard_decibels"),
    "blob": ("health/blob",),
    "unfinished": ("val/g/l1", "l1", "g/l1"),
}
"""The scalars, or what their names begin with, on which each finding stands."""


def write_diagnosis(diagnosis: Diagnosis, history: History, out: Path) -> Path:
    """Write OUT/index.html and return its path."""
    panels = _panels(history)
    found = [_shown(finding, panels, number) for number, finding in enumerate(diagnosis.findings)]
    contents = {
        "title": diagnosis.run,
        "steps": f"{diagnosis.steps:,}",
        "findings": found,
        "unknown": list(diagnosis.unknown),
        "curves": [drawing(panel, f"c{number}") for number, panel in enumerate(panels)],
    }
    path = out / "index.html"
    write_text(path, render("diagnosis.html", contents))
    return path


def _shown(finding: Finding, panels: list[Panel], number: int) -> dict[str, Any]:
    span = (float(finding.evidence["first_step"]), float(finding.evidence["last_step"]))
    about = ABOUT.get(finding.name, ())
    marked = [
        Panel(panel.title, panel.lines, panel.smooth, panel.log, panel.level, spans=(span,))
        for panel in panels
        if any(_is_about(line.name, about) for line in panel.lines)
    ]
    return {
        **finding.to_json(),
        "cure": "" if finding.remedies else finding.cure,
        "steps": f"{span[0]:,.0f} to {span[1]:,.0f}",
        "diagrams": [drawing(panel, f"f{number}-{k}") for k, panel in enumerate(marked)],
    }


def _is_about(name: str, about: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith((f"{each}/", f"{each}0/")) for each in about)


def _panels(history: History) -> list[Panel]:
    """Return every diagram of a record; those of validation after those of the training."""
    events: dict[str, dict[float, dict[str, Any]]] = {"train": {}, "validation": {}}
    for name, series in history.scalars.items():
        kind = "train" if "/" in name and not name.startswith("val/") else "validation"
        kind = "train" if name in ("lr", "seconds_per_step") else kind
        for step, value in zip(series.steps, series.values, strict=True):
            event = events[kind].setdefault(float(step), {"event": kind, "step": int(step)})
            event[name] = float(value)
    lists = [[kind[step] for step in sorted(kind)] for kind in events.values()]
    return [*loss_panels(lists[0]), *validation_panels(lists[1])]
