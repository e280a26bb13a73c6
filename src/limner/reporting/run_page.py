"""RUN/report.html: what a run did and how good it is, in one file that needs no network.

The page is made from what the run's folder holds at the moment, be it half a training without
any evaluation: config.yaml, log.jsonl, samples/ and evaluation/SPLIT/results.json.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from limner.errors import CheckpointError, DataError
from limner.files import read_events, read_text, read_yaml, write_text
from limner.health.diagnosis import diagnose_history
from limner.health.records import history_of_events
from limner.reporting import facts, score_table
from limner.reporting.curves import (
    PALETTE,
    Panel,
    best_step,
    draw,
    final,
    loss_panels,
    validation_panels,
)
from limner.reporting.gallery import Figure, Layer, embed, extremes, swipe
from limner.sheets import spread

MOST_SHEETS = 6  # of those written during training
SWIPED = 12  # pictures of an evaluation to swipe between
TEMPLATES = Path(__file__).parent / "templates"
SWIPE_BUDGET = 1_500_000  # bytes of the page that these may take


def write_report(run: Path) -> Path:
    """Write RUN/report.html from what the folder holds, and return its path.

    Raises:
        CheckpointError: `run` is no run (it has neither config.yaml nor log.jsonl), or its
            config.yaml cannot be read.
    """
    if not (run / "config.yaml").is_file() and not (run / "log.jsonl").is_file():
        raise CheckpointError(f"{run} is not a run: it has neither config.yaml nor log.jsonl")
    page = run / "report.html"
    write_text(page, render("report.html", _contents(run)))
    return page


def render(template: str, contents: dict[str, Any]) -> str:
    """Fill a template of this room; text is escaped but what it calls safe.

    That are drawings, which hold none of the run's text, and the pictures' JSON (`swipe.swipe`).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(contents)


def _contents(run: Path) -> dict[str, Any]:
    """Return everything that the template shows, in words and figures."""
    events = read_events(run)
    text, config = _read_config(run / "config.yaml")
    results, problems = score_table.read_results(run)
    losses, validation = loss_panels(events), validation_panels(events)
    best = best_step(events)
    return {
        "title": run.resolve().name,
        "state": facts.state(events),
        "facts": facts.facts(run, config, events),
        "evaluations": [
            _evaluation(run / "evaluation" / split, scores, f"swipe-{number}")
            for number, (split, scores) in enumerate(results.items())
        ],
        "problems": problems,
        "evaluate_command": facts.evaluate_command(run, events, config),
        "samples": _samples(run, events),
        "losses": [drawing(panel, f"t{k}") for k, panel in enumerate(losses)],
        "smoothed": any(panel.is_smoothed for panel in losses),
        "resumed": any(panel.breaks for panel in losses),
        "validation": [drawing(panel, f"v{k}") for k, panel in enumerate(validation)],
        "best": f"{best:,.0f}" if best is not None else "",
        "findings": _findings(events, config),
        "events": facts.happenings(events),
        "commands": facts.commands(run, events, list(results.values())),
        "config": text,
    }


def _findings(events: list[dict[str, Any]], config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a diagnosis of the log says, as JSON has it; nothing where nothing is logged."""
    try:
        history = history_of_events(events, config)
    except DataError:
        return []
    return [
        {**finding.to_json(), "cure": "" if finding.remedies else finding.cure}
        for finding in diagnose_history(history).findings
    ]


def _read_config(path: Path) -> tuple[str, dict[str, Any]]:
    """Return config.yaml as text and as values; empty where there is no such file."""
    if not path.is_file():
        return "", {}
    text = read_text(path, error=CheckpointError)
    config = read_yaml(text, path, error=CheckpointError) or {}
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds no settings: restore it, or train anew")
    return text, config


def _evaluation(folder: Path, results: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the table and the pictures of one evaluated split."""
    sheet = folder / "sheet.jpg"
    figure = embed(sheet, f"From the split {folder.name}") if sheet.is_file() else None
    return {
        "split": results.get("split", folder.name),
        "basis": score_table.basis(results),
        "rows": score_table.rows(results),
        "intervals": score_table.interval_methods(results),
        "pictures": [figure] if figure else [],
        "extremes": extremes(folder, results),
        "view": _view(folder, results, prefix),
    }


def _view(folder: Path, results: dict[str, Any], prefix: str) -> dict[str, Any] | None:
    """Return some pictures of an evaluation, spread over it, to swipe between."""
    names = [str(name) for name in results.get("names") or []]
    chosen = [names[k] for k in spread(len(names), SWIPED)]
    layers = [
        Layer(title, folder / kind, {})
        for title, kind in (("source", "source"), ("output", "images"), ("target", "target"))
    ]
    return swipe(
        layers, chosen, orders={"name": chosen}, budget=SWIPE_BUDGET, start=(1, 2), prefix=prefix
    )


def _samples(run: Path, events: list[dict[str, Any]]) -> list[Figure]:
    """Return the first, the last and some sheets between of those made during training."""
    logged = {
        Path(str(e.get("file"))).name: e.get("step") for e in events if e["event"] == "samples"
    }
    paths = sorted((run / "samples").glob("*.jpg"))
    figures = []
    for path in (paths[k] for k in spread(len(paths), MOST_SHEETS)):
        step = logged.get(path.name, int(path.stem) if path.stem.isdigit() else None)
        figures.append(embed(path, f"Step {step:,}" if isinstance(step, int) else path.stem))
    return [figure for figure in figures if figure is not None]


def drawing(panel: Panel, prefix: str) -> dict[str, Any]:
    """Return a diagram with the key to its lines, for a template; a key shows a last value."""
    legend = []
    for k, line in enumerate(panel.lines):
        value = final(panel, line)
        legend.append(
            {
                "name": "last" if len(panel.lines) == 1 else line.name,
                "colour": PALETTE[k % len(PALETTE)],
                "last": "not finite" if math.isnan(value) else f"{value:.4g}",
            }
        )
    return {
        "title": panel.title,
        "legend": legend,
        "note": panel.note,
        "svg": draw(panel, prefix=prefix),
    }
