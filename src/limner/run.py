"""A run's folder: whether a training may begin or go on there, its checkpoints, its lock."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from limner.config import Config, differences, read_config, resolved
from limner.errors import (
    CheckpointError,
    ConfigError,
    LimnerError,
    ShapeError,
    ran_out_of_memory,
)
from limner.filenames import safe_name
from limner.files import check_file, listed, lock, read_json, sha256

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
    "training.health",
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
        changed = differences(resolved(read_config(path)), config)  # older runs lack keys
        for key, (old, new) in changed.items():
            if (reason := _never_changed(key)) is not None:
                raise ConfigError(
                    f"{run} cannot be resumed with another {key} ({old} then, {new} now), since "
                    f"{reason}: leave it as it was, or start a new run"
                )
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


def _never_changed(key: str) -> str | None:
    """Return why no resume can change a key, whatever is allowed; None where one can."""
    section, last = key.partition(".")[0], key.rpartition(".")[2]
    if section not in ("generator", "discriminators", "encoder"):
        begun = (
            "training.start_from",
            "training.keep_optimizer",
            "training.statistics",
        )
        return "a run begins there once" if key in begun else None
    if last in ("init", "init_gain"):
        return "it draws a network's first weights, which have learnt since"
    if last in ("name", "discriminators", "encoder"):
        return "the weights are those of the networks that were trained"
    return None


def misfit(
    run: Path, changed: Mapping[str, tuple[object, object]], error: ShapeError
) -> LimnerError:
    """Return why a run's weights do not fit settings in which it may differ."""
    shaping = ("data.", "generator.", "discriminators.", "encoder.")
    keys = [key for key in changed if key.startswith(shaping) and key not in HARMLESS]
    if not keys:
        return error
    return ConfigError(
        f"{run} cannot be resumed with another {', '.join(keys)}, which gives the networks other "
        f"shapes than its weights have: leave it as it was, or start a new run"
    )


def _allowed(key: str, allow: tuple[str, ...]) -> bool:
    return key in HARMLESS or any(key == name or key.startswith(f"{name}.") for name in allow)


CHECKSUMS = "checksums.json"
"""What a checkpoint's files were when they were written: SHA-256 by name."""

Read = TypeVar("Read")


def step_of(folder: Path) -> int:
    """Return the step that a checkpoint's folder is named after."""
    return int(folder.name)


def checkpoint_folder(run: Path, which: str = "best") -> Path:
    """Return the folder of a run's checkpoint: "best" (else the newest), "newest", or a step.

    Raises:
        CheckpointError: the run has none, or not that one; the message lists what there is.
    """
    root = run / "checkpoints"
    best, folders = _best(root) if which == "best" else None, _checkpoints(root)
    for _ in range(100):
        if best is None or int(best) in map(step_of, folders) or best == _best(root):
            break
        # A training that goes on named another one meanwhile, and removed this.
        best, folders = _best(root), _checkpoints(root)
    if not run.is_dir():
        raise CheckpointError(f"{run} is no folder: give the --out folder of a training")
    if not folders:
        raise CheckpointError(f"{run} has no checkpoint yet: train it, or --resume it")
    if best is not None and int(best) not in map(step_of, folders):
        raise CheckpointError(
            f"{root / 'best.json'} names step {best}, of which there is no checkpoint: remove it, "
            "then the newest is taken"
        )
    which = best or which
    if which in ("best", "newest"):
        return folders[-1]
    for folder in folders:
        if which.isdigit() and step_of(folder) == int(which):
            return folder
    steps = ", ".join(str(step_of(folder)) for folder in folders)
    raise CheckpointError(f"{run} has no checkpoint {which}: give best, newest or one of {steps}")


def _checkpoints(root: Path) -> list[Path]:
    return sorted(folder for folder in root.glob("[0-9]*") if re.fullmatch(r"\d{8}", folder.name))


def read_checkpoint(run: Path, which: str, read: Callable[[Path], Read]) -> Read:
    """Return what `read` makes of a checkpoint's folder, chosen as `checkpoint_folder` does.

    A training that goes on may remove the folder while it is read: then `best` and `newest` are
    looked for again.

    Raises:
        CheckpointError: there is none, or it cannot be read though it stands.
    """
    for _ in range(100):
        folder = checkpoint_folder(run, which)
        try:
            return read(folder)
        except (CheckpointError, OSError):
            if folder.exists():
                raise
    raise CheckpointError(f"{run} replaces its checkpoints faster than they are read: try later")


def verified(path: Path) -> str:
    """Return the SHA-256 of a checkpoint's file, which is what was written there.

    Checkpoints of earlier versions have no checksums to compare with.

    Raises:
        FileNotFoundError: there is none. CheckpointError: it is another; see `unusable`.
    """
    found = _digest(path)
    if _checksums(path.parent).get(path.name, found) != found:
        raise unusable(
            path,
            "is damaged: its bytes are not those that were written (if it was changed on purpose, "
            f"remove {path.parent / CHECKSUMS})",
        )
    return found


def _digest(path: Path) -> str:
    check_file(path, at_most=2**36, error=CheckpointError)
    return sha256(path)


def _checksums(folder: Path) -> dict[str, str]:
    path = folder / CHECKSUMS
    if not path.exists():
        return {}
    known = read_json(path, error=CheckpointError)
    if not isinstance(known, dict):
        raise CheckpointError(f"{path} holds no checksums; restore it from a copy")
    return known


def unusable(path: Path, fault: str) -> CheckpointError:
    """Return the error for a checkpoint's file that cannot be used, with another checkpoint.

    The one named is the newest of those beside it whose files are what was written.
    """
    folder = path.parent
    others = _checkpoints(folder.parent)[::-1] if folder.exists() else []  # else it was removed
    sound = next((other for other in others if other != folder and _is_sound(other)), None)
    if sound is None:
        return CheckpointError(f"{path} {fault}; restore it from a copy")
    step = step_of(sound)
    return CheckpointError(
        f"{path} {fault}; the checkpoint of step {step} is sound: give --checkpoint {step}, or, "
        f"to --resume from there, remove {folder}"
    )


def _is_sound(folder: Path) -> bool:
    try:
        return all(_digest(folder / name) == known for name, known in _checksums(folder).items())
    except (LimnerError, OSError):
        return False


def generator_file(folder: Path) -> Path:
    """Return a checkpoint's weights that make pictures: the running average where it kept one."""
    averaged = folder / "generator_ema.safetensors"
    kept = averaged.exists() or averaged.name in _checksums(folder)
    return averaged if kept else folder / "generator.safetensors"


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a checkpoint's safetensors file by name, and the file's SHA-256.

    Raises:
        CheckpointError: the file is missing, damaged or not finite.
    """
    try:
        digest = verified(path)
        weights = load_file(path)
    except (SafetensorError, OSError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise
        fault = f"is damaged ({error})" if path.exists() else "is missing"
        raise unusable(path, fault) from None
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise unusable(path, f"holds numbers that are not finite ({name})")
    return weights, digest


def load_weights(network: nn.Module, path: Path) -> str:
    """Load a safetensors file of a checkpoint into a network, strictly.

    Returns:
        The file's SHA-256.

    Raises:
        CheckpointError: the file is missing, damaged or not finite. ShapeError: it is of another
            architecture.
    """
    weights, digest = read_weights(path)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ShapeError(
            f"{path} does not fit the network of config.yaml ({reason}): were they copied together?"
        ) from None
    return digest


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


def run_folder(data: Path, preset: str, *, resume: bool) -> Path:
    """Return runs/DATA-PRESET-N for a run that nobody named.

    N is the first number that is free or, to resume, the last that is not. Whatever the names of
    data and preset hold, they become parts of one file name.
    """
    base = safe_name(f"{data.resolve().stem or 'data'}-{preset}")
    number = 1
    while (Path("runs") / f"{base}-{number}").exists():
        number += 1
    return Path("runs") / f"{base}-{max(1, number - resume)}"
