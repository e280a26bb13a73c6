"""OUT/experiment.json: what an experiment's folder holds, and the refusal of anything else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from limner import __version__
from limner.config import Config, differences
from limner.errors import CheckpointError, ConfigError
from limner.experiments.plan import Plan
from limner.files import write_text
from limner.training.run import HARMLESS

FILE = "experiment.json"
FREE = HARMLESS | {"seed"}
"""Keys that change no figure of a cell, or that each of its trainings has its own of."""


def open_record(out: Path, plan: Plan) -> dict[str, Any]:
    """Write what `plan` is into OUT, or refuse as `check_record` does; return what was written."""
    new = check_record(out, plan)
    write_text(out / FILE, json.dumps(new, indent=1))
    return new


def check_record(out: Path, plan: Plan) -> dict[str, Any]:
    """Return the record of `plan` in OUT, ready for JSON; nothing is written.

    More seeds, further cells and further metrics may be asked for later; whatever would make
    finished cells wrong is refused before any work.

    Raises:
        ConfigError: OUT holds another experiment, or this one by other settings.
        CheckpointError: OUT holds other files.
    """
    if out.exists() and not out.is_dir():
        raise CheckpointError(f"{out} is a file: give a folder as --out")
    new = _record(plan)
    if (out / FILE).exists():
        old = read_record(out)
        _check_same(out, old, new)
        new["seeds"] = sorted({*old["seeds"], *new["seeds"]})
    elif out.is_dir() and any(path.name != "log.jsonl" for path in out.glob("[!.]*")):
        raise CheckpointError(f"{out} holds other files: give a new or empty folder as --out")
    return new


def read_record(out: Path) -> dict[str, Any]:
    """Return OUT/experiment.json.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    path = out / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"{out} holds no experiment: run `limner experiment NAME DATA --out {out}` first"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}): give another --out") from None
    if not isinstance(found, dict) or not {"name", "cells", "seeds", "metrics"} <= set(found):
        raise CheckpointError(f"{path} is no record of an experiment: give another --out")
    return found


def _record(plan: Plan) -> dict[str, Any]:
    """Return all that decides the experiment's figures, ready for JSON."""
    cells = {
        one.cell.name: {
            "about": one.cell.about,
            "steps": one.steps,
            "steps_per_epoch": one.steps_per_epoch,
            "measured": [dataclasses.asdict(measurement) for measurement in one.measurements],
            "config": one.config.model_dump(mode="json"),
        }
        for one in plan.cells
    }
    return {
        "name": plan.name,
        "title": plan.table.title,
        "source": plan.table.source,
        "note": plan.table.note,
        "preset": plan.table.preset,
        "scale": plan.scale,
        "data": str(plan.data),
        "pairs": plan.pairs,
        "split": plan.split,
        "metrics": list(plan.metrics),
        "seeds": list(plan.seeds),
        "overrides": list(plan.overrides),
        "cells": cells,
        "version": __version__,
    }


def _check_same(out: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    cure = "give another --out, or remove it"
    for key, what in (("name", "the experiment"), ("scale", "scale"), ("split", "split")):
        if old.get(key) != new[key]:
            raise ConfigError(
                f"{out} holds {what} {old.get(key)!r} and this is {new[key]!r}: {cure}"
            )
    if old.get("pairs") != new["pairs"]:
        raise ConfigError(
            f"{out} was begun on other training pairs ({(old.get('pairs') or {}).get('pairs')} "
            f"then, {new['pairs']['pairs']} now, or other files): give the same data, or another "
            "--out"
        )
    lost = [metric for metric in old["metrics"] if metric not in new["metrics"]]
    if lost:
        raise ConfigError(
            f"{out} is measured by {', '.join(lost)} too: give --weights (or --metrics) as before, "
            "or another --out"
        )
    for name, cell in old["cells"].items():
        if name not in new["cells"]:
            raise ConfigError(f"{out} has a cell {name}, which the definition lacks now: {cure}")
        changed = cell_differences(cell, new["cells"][name])
        if changed:
            raise ConfigError(
                f"cell {name} of {out} was defined otherwise ({'; '.join(changed)}): leave it as "
                "it was, or give another --out"
            )


def cell_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return in words how the definitions of a cell differ in what decides its figures."""
    pairs = differences(
        Config.model_validate(old["config"]), Config.model_validate(new["config"])
    ).items()
    changed = [f"{key} was {was} and is {now}" for key, (was, now) in pairs if key not in FREE]
    steps = [[one["step"] for one in cell["measured"]] for cell in (old, new)]
    if not changed and steps[0] != steps[1]:
        changed.append(f"it was measured at steps {steps[0]} and is at {steps[1]}")
    return changed
