"""Checkpoints: a folder a step, written whole or not at all, newest and best kept.

RUN/checkpoints/00000400/generator.safetensors
                         generator_ema.safetensors     (with training.ema)
                         discriminator_0.safetensors
                         state.pt                      optimisers, step, best, weights of the
                                                       discriminators; no code in it
                         checksums.json                SHA-256 of each of these
RUN/checkpoints/best.json                              which step was best, by what
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from limner.errors import (
    DISK_ERRORS,
    CheckpointError,
    ConfigError,
    DiskError,
    TrainingError,
    ran_out_of_memory,
)
from limner.files import fsync_folder, printable, write_bytes, write_text
from limner.networks.pretrained import load_pickled
from limner.run import CHECKSUMS, load_weights, step_of, unusable, verified
from limner.training.discriminator_weights import restored, to_be_saved
from limner.training.fine_tuning import optimized_names
from limner.training.state import State, TrainedNetwork, all_finite, average_buffers

FORMAT = 2
"""The form of state.pt; what has none is of format 1, and read alike."""


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
    weighting = to_be_saved(state.discriminator_weights, state.fabric)
    if not state.fabric.is_global_zero:
        return None
    weights = [
        tensor for network in state.networks.values() for tensor in network.plain.parameters()
    ]
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
            _write(state, weighting, temporary)
            temporary.rename(folder)
            fsync_folder(folder.parent)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise TrainingError(
                    f"the disk is full, so the checkpoint of step {state.step} was not written; "
                    f"the one before stands: make room in {run}, then --resume"
                ) from error
            if error.errno in DISK_ERRORS:  # of the folder that it was to become
                raise DiskError(folder, error) from error
            raise
    _write_best(state, run)
    prune(run, keep={state.step, *([state.best["step"]] if state.best else [])})
    return folder


def write_first(state: State, run: Path) -> None:
    """Write the state as the first checkpoint of a run that is being made, in this process alone.

    Raises:
        DiskError: the disk is full, over quota, read-only or failing.
    """
    folder = run / "checkpoints" / f"{state.step:08d}"
    folder.mkdir(parents=True)
    _write(state, to_be_saved(state.discriminator_weights, state.fabric), folder)


def _write(state: State, weighting: dict[str, Any], folder: Path) -> None:
    checksums = {}
    for name, data in _files(state, weighting):
        checksums[name] = hashlib.sha256(data).hexdigest()
        write_bytes(folder / name, data)
    write_text(folder / CHECKSUMS, json.dumps(checksums))


def _files(state: State, weighting: dict[str, Any]):
    """Yield the name and content of each file, the state last."""
    for name, network in state.networks.items():
        yield f"{name}.safetensors", to_bytes(contiguous(network.plain))
    if state.ema is not None:
        yield "generator_ema.safetensors", to_bytes(contiguous(state.ema))
    buffer = io.BytesIO()
    content = {
        "format": FORMAT,
        "step": state.step,
        "best": state.best,
        "data": state.data,
        "balance": weighting,
        "optimizers": {
            name: network.optimizer.state_dict() for name, network in state.networks.items()
        },
        "parameters": {
            name: optimized_names(network.plain, network.optimizer)
            for name, network in state.networks.items()
        },
    }
    start = {name: _start(network) for name, network in state.networks.items() if network.start}
    torch.save({**content, **({"start": start} if start else {})}, buffer)
    yield "state.pt", buffer.getbuffer()  # no second copy of what may be gigabytes


def _start(network: TrainedNetwork) -> dict[str, Tensor]:
    """Return what another run lent, by the names of the parameters."""
    names = {parameter: name for name, parameter in network.plain.named_parameters()}
    return {names[parameter]: lent.cpu() for parameter, lent in network.start.items()}


def contiguous(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state as safetensors wants it: contiguous, on the CPU, nothing shared."""
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}


def load_checkpoint(state: State, folder: Path, *, begin_average: bool = False) -> None:
    """Make `state` what it was when the checkpoint was written.

    Args:
        state: of the same settings, or of settings that keep the networks' shapes.
        folder: the checkpoint.
        begin_average: whether the running average begins here, where the checkpoint has none.

    Raises:
        CheckpointError: a file is missing, damaged or of another architecture.
    """
    for name, network in state.networks.items():
        load_weights(network.plain, folder / f"{name}.safetensors")
    if state.ema is not None and begin_average:
        state.ema.load_state_dict(state.generator.plain.state_dict())
    elif state.ema is not None:
        load_weights(state.ema, folder / "generator_ema.safetensors")
    content = read_state(folder)
    averages = averages_of(content, state, origin=folder / "state.pt")
    for name, network in state.networks.items():
        if name not in averages:
            raise unusable(folder / "state.pt", f"holds no optimizer of {name}")
        load_averages(network, averages[name], origin=folder / "state.pt")
    if state.config.training.l2_sp:
        _load_start(state, content.get("start"), origin=folder / "state.pt")
    state.step, state.best, state.data = content["step"], content["best"], content["data"]
    state.discriminator_weights = restored(
        state.discriminator_weights, content.get("balance"), state.fabric
    )


def _load_start(state: State, saved: Any, *, origin: Path) -> None:
    """Load the weights that parameters are drawn back to.

    Raises:
        ConfigError: there are none. CheckpointError: they are others' than the parameters'.
    """
    if saved is None:
        raise ConfigError(
            f"training.l2_sp={state.config.training.l2_sp}: {origin} has not kept the weights that "
            "the run began with, since it was 0 then: leave it at 0, or start a new run"
        )
    for name, network in state.networks.items():
        own = dict(network.plain.named_parameters())
        try:
            # In the memory format of the parameters, so that a resumed step rounds alike.
            network.start = {
                own[key]: torch.empty_like(own[key], requires_grad=False).copy_(lent)
                for key, lent in saved.get(name, {}).items()
            }
        except (AttributeError, KeyError, RuntimeError, TypeError):
            raise unusable(origin, "holds first weights of other parameters") from None


Averages = dict[str, dict[str, Tensor]]
"""An optimizer's averages by the name of the parameter, then their own."""


def load_averages(network: TrainedNetwork, averages: Averages, *, origin: Path) -> None:
    """Give a network's optimizer averages; its rates and coefficients stay those of the settings.

    What learns and has none, since it stood still before, begins without.

    Raises:
        CheckpointError: the averages are not those of this network's parameters.
    """
    parameters = dict(network.plain.named_parameters())
    if not all(
        name in parameters and value.shape in (parameters[name].shape, torch.Size([]))
        for name, values in averages.items()
        for value in values.values()
    ):
        raise unusable(origin, "holds an optimizer of other parameters")
    own: Any = network.optimizer.state_dict()
    names = optimized_names(network.plain, network.optimizer)
    known = {number: averages[name] for number, name in enumerate(names) if name in averages}
    network.optimizer.load_state_dict({**own, "state": known})


def averages_of(content: dict[str, Any], state: State, *, origin: Path) -> dict[str, Averages]:
    """Return the optimizers' averages of a state that was read, by network.

    Checkpoints of earlier versions do not name the parameters: all learnt, in the order of the
    network, which is that of `state`.

    Raises:
        CheckpointError: they are of other parameters, or infinite.
    """
    found: dict[str, Averages] = {}
    for name in content["optimizers"].keys() & state.networks.keys():
        order = [key for key, _ in state.networks[name].plain.named_parameters()]
        try:
            names, saved = (
                content.get("parameters", {name: order})[name],
                content["optimizers"][name],
            )
            indices = [index for group in saved["param_groups"] for index in group["params"]]
            averages = {names[index]: values for index, values in saved["state"].items()}
            sound = indices == list(range(len(names))) and all(
                value.is_floating_point() and bool(torch.isfinite(value).all())
                for values in averages.values()
                for value in values.values()
            )
        except (AttributeError, IndexError, KeyError, TypeError):
            sound, averages = False, {}
        if not sound:
            raise unusable(origin, "holds an optimizer of other parameters, or infinite numbers")
        found[name] = averages
    return found


def read_state(folder: Path) -> dict[str, Any]:
    """Read state.pt: plain values and tensors only.

    Raises:
        CheckpointError: it is missing, damaged, or holds anything else.
    """
    path = folder / "state.pt"
    try:
        verified(path)
        content = load_pickled(path)
    except CheckpointError:
        raise
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        if not path.exists():
            raise unusable(path, "is missing") from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise unusable(path, f"is damaged ({printable(reason)})") from None
    expected = {"step": int, "data": dict, "optimizers": dict}
    if not isinstance(content, dict) or any(
        not isinstance(content.get(key), kind) for key, kind in expected.items()
    ):
        raise unusable(path, "holds no state of a training")
    if not (_is_best(content.get("best")) and _is_weighting(content.get("balance"))):
        raise unusable(path, "holds no best step, or no weights of discriminators")
    if content.get("format", 1) not in (1, FORMAT) or content["step"] != step_of(folder):
        raise unusable(path, "is of another version, or of another step than its folder")
    return content


def _is_best(best: object) -> bool:
    """Whether it is None, or a metric with its finite value and the step of it."""
    if best is None:
        return True
    kinds = {"metric": str, "value": int | float, "step": int}
    return (
        isinstance(best, dict)
        and all(isinstance(best.get(key), kind) for key, kind in kinds.items())
        and math.isfinite(best["value"])
    )


def _is_weighting(saved: object) -> bool:
    """Whether it is None, or of the form that `discriminator_weights.to_be_saved` returns."""
    if saved is None:
        return True
    if not isinstance(saved, dict):
        return False
    weights, losses = saved.get("weights"), saved.get("losses")
    return (
        (
            weights is None
            or (
                isinstance(weights, list)
                and all(isinstance(weight, float) and math.isfinite(weight) for weight in weights)
            )
        )
        and isinstance(losses, Tensor)
        and losses.ndim == 2
        and bool(torch.isfinite(losses).all())
        and isinstance(saved.get("steps"), int)
    )


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
