"""Checkpoints: a folder a step, written whole or not at all, newest and best kept.

RUN/checkpoints/00000400/generator.safetensors
                         generator_ema.safetensors     (with training.ema)
                         discriminator_0.safetensors
                         state.pt                      optimisers, step, best, balance of the
                                                       discriminators; no code in it
RUN/checkpoints/best.json                              which step was best, by what
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from limner.errors import CheckpointError, TrainingError
from limner.files import fsync_folder, write_bytes, write_text
from limner.inference import checkpoint_folder, load_weights, step_of
from limner.networks.pretrained import load_pickled
from limner.training.balance import restored, to_be_saved
from limner.training.state import State, all_finite, average_buffers


def save_checkpoint(state: State, run: Path) -> Path | None:
    """Write the state as the newest checkpoint of a run and remove those not needed any more.

    Every process takes part; the first writes. A checkpoint of this step that already stands is
    left as it is.

    Returns:
        The checkpoint's folder, or nothing on the other processes.

    Raises:
        TrainingError: weights are not finite, or the disk is full; earlier checkpoints stand.
    """
    average_buffers(state)
    balance = to_be_saved(state.balance, state.fabric)
    if not state.fabric.is_global_zero:
        return None
    weights = [tensor for player in state.players.values() for tensor in player.plain.parameters()]
    if not all_finite(weights):
        raise TrainingError(
            f"weights are not finite at step {state.step}, so no checkpoint of it was written: "
            "lower training.lr or use training.precision=32-true, then --resume from the last one"
        )
    folder = run / "checkpoints" / f"{state.step:08d}"
    temporary = run / "checkpoints" / f".{folder.name}.writing"
    if not folder.exists():
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for name, data in _files(state, balance):
                write_bytes(temporary / name, data)
            temporary.rename(folder)
            fsync_folder(folder.parent)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise TrainingError(
                    f"the disk is full, so the checkpoint of step {state.step} was not written; "
                    f"the one before stands: make room in {run}, then --resume"
                ) from error
            raise
    _write_best(state, run)
    prune(run, keep={state.step, *([state.best["step"]] if state.best else [])})
    return folder


def _files(state: State, balance: dict[str, Any]):
    """Yield the name and content of each file, the state last."""
    for name, player in state.players.items():
        yield f"{name}.safetensors", to_bytes(contiguous(player.plain))
    if state.ema is not None:
        yield "generator_ema.safetensors", to_bytes(contiguous(state.ema))
    buffer = io.BytesIO()
    content = {
        "step": state.step,
        "best": state.best,
        "data": state.data,
        "balance": balance,
        "optimizers": {
            name: player.optimizer.state_dict() for name, player in state.players.items()
        },
    }
    torch.save(content, buffer)
    yield "state.pt", buffer.getvalue()


def contiguous(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state as safetensors wants it: contiguous, on the CPU, nothing shared."""
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}


def load_checkpoint(state: State, folder: Path) -> None:
    """Make `state` what it was when the checkpoint was written.

    Raises:
        CheckpointError: a file is missing, damaged or of another architecture.
    """
    for name, player in state.players.items():
        load_weights(player.plain, folder / f"{name}.safetensors")
    if state.ema is not None:
        load_weights(state.ema, folder / "generator_ema.safetensors")
    content = read_state(folder)
    for name, player in state.players.items():
        player.optimizer.load_state_dict(content["optimizers"][name])
    state.step, state.best, state.data = content["step"], content["best"], content["data"]
    state.balance = restored(state.balance, content.get("balance"), state.fabric)


def read_state(folder: Path) -> dict[str, Any]:
    """Read state.pt: plain values and tensors only.

    Raises:
        CheckpointError: it is missing, damaged, or holds anything else.
    """
    path = folder / "state.pt"
    try:
        return load_pickled(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: give another checkpoint") from None
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is damaged ({reason}): give another checkpoint") from None


def newest(run: Path) -> Path | None:
    """Return the newest checkpoint's folder, or nothing where there is none yet."""
    try:
        return checkpoint_folder(run, "newest")
    except CheckpointError:
        return None


def _write_best(state: State, run: Path) -> None:
    path = run / "checkpoints" / "best.json"
    if state.best:
        write_text(path, json.dumps(state.best))
    else:
        path.unlink(missing_ok=True)


def prune(run: Path, *, keep: set[int]) -> None:
    """Remove all checkpoints but those of the steps to keep, each first by name, then by content.

    The rename makes a half-removed folder invisible to whoever looks for checkpoints.
    """
    for folder in (run / "checkpoints").iterdir():
        if re.fullmatch(r"\d{8}", folder.name) and step_of(folder) in keep:
            continue
        if folder.is_dir():
            trash = folder.with_name(f".{folder.name.strip('.')}.removed")
            with contextlib.suppress(OSError):
                folder.rename(trash)
            shutil.rmtree(trash, ignore_errors=True)
