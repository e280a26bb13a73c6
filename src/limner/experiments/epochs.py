"""How long an epoch takes, fairly: all cells on one machine, by turns, from where they ended."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, FiniteFloat, ValidationError

from limner.api import build_fabric, build_objective
from limner.config import read_config, replace
from limner.errors import LimnerError
from limner.files import read_json, write_text
from limner.networks.cpu_speed import kept_memory
from limner.run import newest
from limner.timing import Watch, by_turns, paired_ratio, processor
from limner.training.checkpoint import load_checkpoint
from limner.training.datasets import TrainingData, open_training_data
from limner.training.parts import FIELDS
from limner.training.state import State, build_state, set_learning_rates
from limner.training.step import training_step

FILE = "times.json"
ROUNDS, STEPS, WARM = 5, 24, 4


def measure_times(
    runs: Mapping[str, Path],
    *,
    out: Path,
    root: Path,
    device: str = "cpu",
    weights: Path | None = None,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    warm: int = WARM,
) -> dict[str, Any]:
    """Time training steps of several runs in turn, and write OUT/times.json.

    In each round every run is taken up from its newest checkpoint, takes `warm` steps that do not
    count and then `steps` that do: its data, both updates, nothing of what is done between steps.
    The order turns round from round to round, so that a machine that grows slower or faster
    favours none. What is reported is the median over rounds; ratios are taken within rounds.

    Args:
        runs: the runs' folders by the cells' names, the first being what the others are compared
            with.
        out: the experiment's folder.
        root: the data set.
        device: cpu or cuda.
        weights: pretrained weights, for a perceptual loss.
        rounds, steps, warm: how much is timed.

    Returns:
        What times.json holds: `cells`, each with `seconds_per_step` of every round,
        `epoch_seconds` (median, low and high) and `ratio` to the first; `others`, the part of the
        machine's time that other processes used meanwhile; what machine it was.

    Raises:
        LimnerError: a run cannot be taken up.
    """
    data = {}
    for name, run in runs.items():
        config = replace(read_config(run / "config.yaml"), {"data.root": str(root)})
        data[name] = open_training_data(config)
    others: list[float] = []

    def turn(name: str) -> float:
        watch = Watch()
        with kept_memory():
            one = _seconds_per_step(
                runs[name], data[name], device=device, weights=weights, steps=steps, warm=warm
            )
        others.append(watch.others())
        return one

    seconds = by_turns({name: name for name in runs}, turn, rounds=rounds)
    first = next(iter(runs))
    times = {
        "rounds": rounds,
        "steps": steps,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "machine": processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "time": round(time.time()),
        "others": {
            "median": round(statistics.median(others), 4),
            "most": round(max(others), 4),
        },
        "baseline": first,
        "cells": {
            name: {
                "seconds_per_step": [round(one, 6) for one in each],
                "steps_per_epoch": data[name].steps_per_epoch,
                "epoch_seconds": _spread([one * data[name].steps_per_epoch for one in each]),
                "ratio": round(
                    paired_ratio(each, seconds[first])
                    * (data[name].steps_per_epoch / data[first].steps_per_epoch),
                    4,
                ),
            }
            for name, each in seconds.items()
        },
    }
    write_text(out / FILE, json.dumps(times, indent=1))
    return times


def _seconds_per_step(
    run: Path, data: TrainingData, *, device: str, weights: Path | None, steps: int, warm: int
) -> float:
    """Return the mean time of a step of a run, taken up from its newest checkpoint."""
    config = data.config
    fabric = build_fabric(config, "cpu" if device == "cpu" else "cuda", None)
    objective = build_objective(config, fabric, weights)
    state: State = build_state(config, fabric)
    if (checkpoint := newest(run)) is not None:
        load_checkpoint(state, checkpoint)
    state.step = 0  # the data begin anew: those of the end are used up
    set_learning_rates(state, 1)
    batches = data.batches(0)
    begun = 0.0
    for number in range(warm + steps):
        if number == warm:
            _synchronise(device)
            begun = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:  # a training shorter than what is timed
            batches = data.batches(0)
            batch = next(batches)
        tensors = {key: value for key, value in batch.items() if key in FIELDS}
        training_step(state, fabric.to_device(tensors), objective)
    _synchronise(device)
    return (time.perf_counter() - begun) / steps


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and most."""
    return {
        "median": round(statistics.median(values), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
    }


def measure_task(task: Mapping[str, Any]) -> None:
    """Do the task that `running.time_epochs` hands in."""
    measure_times(
        {name: Path(run) for name, run in task["runs"].items()},
        out=Path(task["out"]),
        root=Path(task["root"]),
        device=task["device"],
        weights=None if task["weights"] is None else Path(task["weights"]),
        rounds=task["rounds"],
        steps=task["steps"],
        warm=task["warm"],
    )


class _Spread(BaseModel):
    median: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


class _CellTimes(BaseModel):
    seconds_per_step: list[FiniteFloat]
    steps_per_epoch: int
    epoch_seconds: _Spread
    ratio: FiniteFloat


class _Others(BaseModel):
    median: FiniteFloat
    most: FiniteFloat


class _Times(BaseModel):
    rounds: int
    steps: int
    device: str
    machine: str
    threads: int
    python: str
    torch: str
    time: int
    others: _Others
    baseline: str
    cells: dict[str, _CellTimes]


def read_times(out: Path) -> dict[str, Any] | None:
    """Return what was timed, or None where nothing was, or the file is damaged: time it again."""
    try:
        return _Times.model_validate(read_json(out / FILE)).model_dump(mode="json")
    except (OSError, LimnerError, ValidationError):
        return None


def runs_to_time(out: Path, cells: Sequence[str], seeds: Sequence[int]) -> dict[str, Path]:
    """Return for each cell the first seed's run that has a checkpoint, if one has."""
    runs: dict[str, Path] = {}
    for cell in cells:
        for seed in seeds:
            run = out / "cells" / cell / f"seed{seed}"
            if cell not in runs and newest(run) is not None:
                runs[cell] = run
    return runs
