"""A run's folder: whether a training may begin or go on there, its checkpoints, its lock."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from limner.config import Config, differences, read_config
from limner.errors import CheckpointError, ConfigError
from limner.files import check_file, listed, lock, read_json

# What changes no figure of a run, so that a resume may differ in it without being asked.
HARMLESS = {
    "data.root",
    "data.cache_gib",
    "data.type.source",  # a fact of the data, which runs of before did not record
    "data.type.target",
    "generator.activation_checkpointing",
    "training.cuda_graph",
    "training.resident",
    "training.workers",
    "training.log_every",
    "training.checkpoint_every",
    "training.samples_every",
}


def check_run(
    run: Path, config: Config, *, resume: bool, allow: tuple[str, ...] = ()
) -> tuple[Path | None, dict[str, tuple[object, object]]]:
    """Decide whether a training may begin in a folder, or go on; nothing is written.

    Args:
        run: the folder.
        config: resolved settings.
        resume: whether a run that exists is to be taken up; one without a checkpoint yet starts.
        allow: dotted keys (or sections) that may differ from those of the run.

    Returns:
        The checkpoint to go on from, or None; and the differences that were allowed.

    Raises:
        ConfigError: settings differ; each is named with both values.
        CheckpointError: the folder holds a run and `resume` was not asked for.
    """
    path = run / "config.yaml"
    if run.exists() and not run.is_dir():
        raise CheckpointError(f"{run} is a file: give a folder as --out")
    if path.exists() and not resume:
        raise CheckpointError(
            f"{run} already holds a run: repeat with --resume to go on with it, "
            "or give another folder as --out"
        )
    if not path.exists() and run.is_dir() and listed(run):
        raise CheckpointError(f"{run} holds other files: give a new or empty folder as --out")
    changed: dict[str, tuple[object, object]] = {}
    checkpoint = newest(run) if path.exists() else None
    if checkpoint is not None:
        changed = differences(read_config(path), config)
        refused = {key: pair for key, pair in changed.items() if not _allowed(key, allow)}
        if refused.get("data.direction", ("", ""))[0] is None:
            del refused["data.direction"]  # an imported run left it to the data
        if refused:
            named = "; ".join(
                f"{key} was {old} and is {new}" for key, (old, new) in refused.items()
            )
            flags = " ".join(f"--allow {key}" for key in refused)
            raise ConfigError(
                f"{run} cannot be resumed with other settings: {named}; "
                f"leave them as they were, or repeat with {flags}"
            )
    return checkpoint, changed


def _allowed(key: str, allow: tuple[str, ...]) -> bool:
    return key in HARMLESS or any(key == name or key.startswith(f"{name}.") for name in allow)


def step_of(folder: Path) -> int:
    """Return the step that a checkpoint's folder is named after."""
    return int(folder.name)


def checkpoint_folder(run: Path, which: str = "best") -> Path:
    """Return the folder of a run's checkpoint: "best" (else the newest), "newest", or a step.

    Raises:
        CheckpointError: the run has none, or not that one; the message lists what there is.
    """
    root = run / "checkpoints"
    found = sorted(folder for folder in root.glob("[0-9]*") if re.fullmatch(r"\d{8}", folder.name))
    if not run.is_dir():
        raise CheckpointError(f"{run} is no folder: give the --out folder of a training")
    if not found:
        raise CheckpointError(f"{run} has no checkpoint yet: train it, or --resume it")
    if which == "best":
        which = _best(root) or which
    if which in ("best", "newest"):
        return found[-1]
    for folder in found:
        if which.isdigit() and step_of(folder) == int(which):
            return folder
    steps = ", ".join(str(step_of(folder)) for folder in found)
    raise CheckpointError(f"{run} has no checkpoint {which}: give best, newest or one of {steps}")


def generator_file(folder: Path) -> Path:
    """Return a checkpoint's weights that make pictures: the running average where it kept one."""
    averaged = folder / "generator_ema.safetensors"
    return averaged if averaged.exists() else folder / "generator.safetensors"


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a safetensors file into a network, strictly.

    Raises:
        CheckpointError: the file is missing, damaged, not finite or of another architecture.
    """
    try:
        check_file(path, at_most=2**40, error=CheckpointError)
        weights = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: give another checkpoint") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): give another checkpoint") from None
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(
                f"{path} holds numbers that are not finite ({name}): give another checkpoint"
            )
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise CheckpointError(
            f"{path} does not fit the network of config.yaml ({reason}): were they copied together?"
        ) from None


def newest(run: Path) -> Path | None:
    """Return the newest checkpoint's folder, or None where there is none yet."""
    try:
        return checkpoint_folder(run, "newest")
    except CheckpointError:
        return None


def _best(root: Path) -> str | None:
    """Return the step that best.json names, or None where there is no such file.

    Raises:
        CheckpointError: it names none.
    """
    path = root / "best.json"
    if not path.exists():
        return None
    best = read_json(path, error=CheckpointError)
    step = best.get("step") if isinstance(best, dict) else None
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise CheckpointError(
            f"{path} names no step: remove it, then the newest checkpoint is taken"
        )
    return str(step)


@contextlib.contextmanager
def writing(run: Path, *, checkpoint: Path | None) -> Iterator[None]:
    """Hold a run's lock, alone among all who write to it; readers need none.

    Args:
        run: the folder; it is made.
        checkpoint: the newest one that the caller knows.

    Raises:
        LockedError: another process is writing there.
        CheckpointError: another one wrote a newer checkpoint meanwhile.
    """
    with lock(run / ".lock"):
        if newest(run) != checkpoint:
            raise CheckpointError(f"{run} was written to meanwhile: repeat the command")
        yield
