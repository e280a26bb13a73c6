"""A run's checkpoints as readers see them: which there are, and their weights into a network."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from limner.errors import CheckpointError
from limner.files import check_file


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
        with contextlib.suppress(FileNotFoundError):
            which = str(json.loads((root / "best.json").read_text())["step"])
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
        CheckpointError: the file is missing, damaged or of another architecture.
    """
    try:
        check_file(path, at_most=2**40, error=CheckpointError)
        weights = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: give another checkpoint") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): give another checkpoint") from None
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise CheckpointError(
            f"{path} does not fit the network of config.yaml ({reason}): were they copied together?"
        ) from None
