"""Where the record of a training is read: a run, a log of another project, a CSV, TensorBoard."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from limner.errors import CheckpointError, DataError, printable
from limner.files import check_file, read_events, read_text, read_yaml
from limner.health.foreign_logs import NAMES, is_loss_log, read_loss_log, series_of
from limner.health.history import History, Series

MOST_BYTES = 2**30
"""Of a log: hours of training fill some megabytes."""


def read_history(path: Path) -> History:
    """Return the record that a path names.

    Args:
        path: a run's folder; a folder with TensorBoard's events; a loss_log.txt; a CSV with a
            column `step`.

    Raises:
        DataError, CheckpointError, FileError: it is none of these, or cannot be read.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: name a run's folder or a log")
    if path.is_dir():
        if (path / "log.jsonl").is_file():
            return history_of_run(path)
        if any(path.glob("**/events.out.tfevents*")):
            return _of_scalars(_tensorboard(path), path)
        if (path / "loss_log.txt").is_file():
            return read_history(path / "loss_log.txt")
        raise DataError(
            f"{path} holds neither log.jsonl nor TensorBoard's events nor loss_log.txt: "
            "name a run's folder or a log"
        )
    if path.name == "log.jsonl":
        return history_of_run(path.parent)
    if ".tfevents" in path.name:
        return _of_scalars(_tensorboard(path), path)
    text = read_text(path, at_most=MOST_BYTES, error=DataError)
    if is_loss_log(text):
        return _of_scalars(read_loss_log(text, str(path)), path)
    return _of_scalars(_table(text, path), path)


def history_of_run(run: Path) -> History:
    """Return what a run's log and settings tell, be it alive or over.

    Raises:
        CheckpointError: its config.yaml cannot be read. DataError: the log holds no scalars.
    """
    settings: Any = {}
    if (run / "config.yaml").is_file():
        text = read_text(run / "config.yaml", error=CheckpointError)
        settings = read_yaml(text, run / "config.yaml", error=CheckpointError) or {}
    return history_of_events(
        read_events(run), settings if isinstance(settings, dict) else {}, name=str(run)
    )


def history_of_events(
    events: list[dict[str, Any]], settings: Mapping[str, Any], *, name: str = "the log"
) -> History:
    """Return the record that the events of a log make.

    Raises:
        DataError: they hold no scalars.
    """
    points: dict[str, dict[int, float]] = defaultdict(dict)
    steps, ended, stopped = 0, False, ""
    for event in events:
        kind, step = event["event"], event.get("step", 0)
        if kind in ("train", "validation"):
            steps = max(steps, step)
            for key, value in event.items():
                number = _number(value)
                if number is not None and key not in ("step", "time", "epoch"):
                    points[key][step] = number
        elif kind in ("start", "resume"):
            ended, stopped = False, ""
        elif kind == "finished":
            ended = True
        elif kind in ("stopped", "interrupted"):
            stopped = str(
                event.get("reason") or f"interrupted by {event.get('signal', 'a signal')}"
            )
            steps = max(steps, step)
    if not points and not stopped:
        raise DataError(f"{name} holds no scalars yet: let it train for some steps first")
    scalars = {key: series_of(values) for key, values in points.items()}
    objective = settings.get("objective")
    objective = objective if isinstance(objective, Mapping) else {}
    gan = objective.get("gan")
    return History(
        scalars,
        steps=steps,
        settings=settings,
        gan=gan if isinstance(gan, str) else guessed_gan(scalars),
        scales=_added_scales(settings, objective),
        ended=ended,
        stopped=stopped,
    )


def _added_scales(settings: Mapping[str, Any], objective: Mapping[str, Any]) -> int:
    """How many scales' losses add up in `d/real`: those of the first discriminator, or 1."""
    discriminators = settings.get("discriminators")
    if objective.get("scales") != "sum" or not isinstance(discriminators, list):
        return 1
    first = discriminators[0] if discriminators else {}
    scales = first.get("scales", 1) if isinstance(first, Mapping) else 1
    return scales if isinstance(scales, int) and scales > 0 else 1


def guessed_gan(scalars: Mapping[str, Series]) -> str | None:
    """Return the adversarial loss that values suggest, where no settings tell it.

    Only hinge and the critic's can be negative for the generator; only vanilla's exceeds what a
    square of a bounded logit reaches. At first discriminators guess, each loss at its own level.
    """
    adversarial, real, fake = (scalars.get(name) for name in ("g/gan", "d/real", "d/fake"))
    if real is None or fake is None or not len(real.values) or not len(fake.values):
        return None
    if "g/gan" in scalars and adversarial is not None and np.nanmin(adversarial.values) < -0.01:
        lowest = min(float(np.nanmin(real.values)), float(np.nanmin(fake.values)))
        return "wgan-gp" if lowest < -0.01 else "hinge"
    count = max(1, min(len(real.values), len(fake.values)) // 20)
    start = float(np.nanmedian(real.values[:count]) + np.nanmedian(fake.values[:count]))
    highest = 0.0 if adversarial is None else float(np.nanpercentile(adversarial.values, 90))
    if highest > 1.6:
        return "vanilla"
    return "lsgan" if start < 0.9 else "vanilla" if start < 1.75 else "hinge"


def _of_scalars(scalars: dict[str, Series], path: Path) -> History:
    if not scalars:
        raise DataError(
            f"{path} holds none of the scalars of a training, such as g/gan, g/l1, d/real: "
            "name its columns or tags so"
        )
    steps = int(max(series.steps[-1] for series in scalars.values() if len(series.steps)))
    # pix2pixHD adds its scales' losses, two of them by itself; SPADE takes their mean.
    gan, scales = guessed_gan(scalars), 1
    if "g/feature_matching" in scalars and "g/kl" not in scalars:
        adversarial = scalars.get("g/gan")
        if adversarial is not None and np.nanmin(adversarial.values) > -0.01:
            gan, scales = "lsgan", 2
    return History(scalars, steps=steps, gan=gan, scales=scales)


def _table(text: str, path: Path) -> dict[str, Series]:
    """Return the columns of a CSV, each over the column `step`."""
    try:
        rows = csv.DictReader(io.StringIO(text), strict=True)
        header = [str(name).strip() for name in rows.fieldnames or []]
        rows.fieldnames = header
        if "step" not in header:
            raise DataError(
                f"{path} is no log: give a CSV with a column step and Limner's names of scalars "
                "(g/gan, d/real, ...), a loss_log.txt or a run's folder"
            )
        points: dict[str, dict[int, float]] = defaultdict(dict)
        for number, row in enumerate(rows, start=2):
            step = _number(_read(row["step"]))
            if step is None or not 0 <= step < 2**53:
                raise DataError(
                    f"{path}, line {number}: step is {printable(str(row['step'])[:40])}: give a "
                    "whole number from 0"
                )
            for name, cell in row.items():
                if name in (None, "", "step", "epoch", "time") or not isinstance(cell, str):
                    continue
                value = _read(cell)
                if value is not None:
                    points[NAMES.get(name, name)][int(step)] = value
    except csv.Error as reason:
        raise DataError(f"{path} is no CSV ({printable(str(reason))}): name a log") from None
    return {name: series_of(values) for name, values in points.items() if _is_scalar(name)}


def _read(cell: object) -> float | None:
    """Return the number of a cell; None where it is empty or none."""
    text = str(cell).strip()
    try:
        return float(text)
    except ValueError:
        return None


def _is_scalar(name: str) -> bool:
    """Whether a name is one of Limner's: of a loss, of health, of validation, a metric."""
    plain = ("lr", "l1", "lpips", "ssim", "psnr", "seconds_per_step")
    return re.match(r"(g|d\d*|val|health)/", name) is not None or name in plain


def _tensorboard(path: Path) -> dict[str, Series]:
    """Return the scalars of TensorBoard's event files, by Limner's names."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folders = (
        sorted({file.parent for file in path.glob("**/events.out.tfevents*")})
        if path.is_dir()
        else [path]
    )
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for folder in folders:
        for file in folder.glob("*tfevents*") if folder.is_dir() else [folder]:
            check_file(file, at_most=MOST_BYTES, error=DataError)
        accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        accumulator.Reload()
        for tag in accumulator.Tags().get("scalars", []):
            name = re.sub(r"^(train|validation)/", "", tag)
            name = NAMES.get(name.rpartition("/")[2], name)
            if _is_scalar(name):
                for event in accumulator.Scalars(tag):
                    found[name][int(event.step)] = float(event.value)
    return {name: series_of(values) for name, values in found.items()}


def _number(value: object) -> float | None:
    """Return an event's number; words for what is not finite are NaN, other words None."""
    if isinstance(value, str):
        return math.nan if value in ("nan", "inf", "-inf") else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON bounds no whole number
        return math.inf
