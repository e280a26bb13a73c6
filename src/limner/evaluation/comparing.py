"""Several runs measured on the same pairs, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from limner import __version__
from limner.config import Config, differences, read_config
from limner.errors import ConfigError
from limner.evaluation.contrast import compare_results
from limner.evaluation.evaluate import evaluate, locate_weights
from limner.evaluation.measure import SEED
from limner.evaluation.weights import Progress
from limner.inference import checkpoint_folder


def compare_runs(
    runs: Sequence[Path],
    data: Path,
    *,
    split: str = "test",
    metrics: Sequence[str] = ("l1", "psnr", "ssim"),
    checkpoint: str = "best",
    weights: Path | None = None,
    device: str | torch.device = "cpu",
    seed: int = SEED,
    progress: Progress | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Evaluate every run on the same split and compare them; arguments as for `evaluate`.

    Each run is measured as by itself, into RUN/evaluation/SPLIT; an earlier evaluation serves
    only where it is provably the same (`provenance.earlier`).

    Returns:
        `runs` (each one's results by its label), `folders`, `settings` (where the runs'
        configurations differ) and all of `compare_results`, ready for JSON.

    Raises:
        ConfigError: fewer than two runs, one given twice, or runs of opposite directions.
        LimnerError: as `evaluate`.
    """
    labelled = labels(runs)
    locate_weights(metrics, weights=weights)
    configs = {}
    for label, run in labelled.items():
        checkpoint_folder(run, checkpoint)
        configs[label] = read_config(run / "config.yaml")
    directions = {label: config.data.direction or "AtoB" for label, config in configs.items()}
    if len(set(directions.values())) > 1:
        told = ", ".join(f"{label} {way}" for label, way in directions.items())
        raise ConfigError(
            f"these runs translate in opposite directions ({told}): compare those of one direction"
        )
    results = {
        label: evaluate(
            run,
            data,
            split=split,
            metrics=metrics,
            checkpoint=checkpoint,
            weights=weights,
            device=device,
            seed=seed,
            progress=_named(progress, label),
            command=command,
            reuse=True,
        )
        for label, run in labelled.items()
    }
    return {
        "split": split,
        "data": str(data),
        "command": command,
        "version": __version__,
        "folders": {label: str(run) for label, run in labelled.items()},
        "runs": results,
        "settings": _settings(configs),
        **compare_results(results, seed=seed),
    }


def labels(runs: Sequence[Path]) -> dict[str, Path]:
    """Return the runs by what they are called: their folders' names, or paths where those clash.

    Raises:
        ConfigError: fewer than two runs, or one given twice.
    """
    if len(runs) < 2:
        raise ConfigError("a comparison needs at least two runs: name them before the data set")
    places = [run.resolve() for run in runs]
    for place in places:
        if places.count(place) > 1:
            raise ConfigError(f"{place} is given twice: name each run once")
    names = [place.name for place in places]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    return dict(zip(names, runs, strict=True))


def _named(progress: Progress | None, label: str) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total, what: progress(done, total, f"{label}: {what}")


def _settings(configs: Mapping[str, Config]) -> dict[str, dict[str, object]]:
    """Return the keys in which the configurations differ, with each run's value."""
    first, *others = configs.values()
    changed = [differences(first, other) for other in others]
    keys = sorted({key for change in changed for key in change} - {"data.root"})
    found: dict[str, dict[str, object]] = {}
    for key in keys:
        base = next(change[key][0] for change in changed if key in change)
        values = [base, *(change[key][1] if key in change else base for change in changed)]
        found[key] = dict(zip(configs, values, strict=True))
    return found
