"""From a configuration and a data set to a trained run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from limner import __version__
from limner.config import Config
from limner.errors import ConfigError, TrainingError
from limner.networks import count_parameters
from limner.networks.cpu import kept_memory
from limner.objective import Objective, make_perceptual
from limner.training.callbacks import Samples, Validation, open_validation
from limner.training.checkpoint import load_checkpoint, newest
from limner.training.coarse_to_fine import check_start, start_from_run
from limner.training.cuda_graph import CudaGraphStep, why_not
from limner.training.datasets import TrainingData, keep_resident, open_training_data
from limner.training.events import Events, JsonLog, Progress, TensorBoardLog, forget_after
from limner.training.loop import Loop
from limner.training.numerics import numerics
from limner.training.run import open_run
from limner.training.state import State, build_state

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(
    config: Config,
    *,
    out: Path,
    resume: bool = False,
    allow: tuple[str, ...] = (),
    accelerator: str = "auto",
    devices: int | None = None,
    weights: Path | None = None,
    cache_folder: Path | None = None,
    progress: bool = False,
    command: str = "",
) -> State:
    """Train a run to its end, or until a signal stops it.

    Args:
        config: settings with `data.root`; what is left open is derived and written down.
        out: the run's folder; new, or an existing run with `resume`.
        resume: go on from the newest checkpoint; start where there is none yet.
        allow: dotted keys in which the settings may differ from the run's (and "data").
        accelerator, devices: as Lightning Fabric takes them; under torchrun its processes count.
        weights: file or folder of pretrained weights, for the perceptual loss and for metrics.
        cache_folder: where decoded images are kept; nothing for the user's cache folder.
        progress: show a progress bar on standard error.
        command: what the user typed, for the log.

    Returns:
        The final state.

    Raises:
        LimnerError: anything the user can cure; `Interrupted` after SIGINT or SIGTERM.
    """
    fabric = build_fabric(config, accelerator, devices)
    data = open_training_data(
        config, rank=fabric.global_rank, world_size=fabric.world_size, cache_folder=cache_folder
    )
    config = data.config
    objective = build_objective(config, fabric, weights)
    validation = _validation(config, data, weights, objective, device=fabric.device)
    if newest(out) is None:
        check_start(config)
    checkpoint, changed = None, {}
    if fabric.is_global_zero:
        checkpoint, changed = open_run(out, config, resume=resume, allow=allow)
    checkpoint = fabric.broadcast(checkpoint)
    state = build_state(config, fabric)
    state.data = data.fingerprint
    state.frozen_until = round(config.training.fix_global * data.steps_per_epoch)
    if checkpoint is None:
        start_from_run(state)
    else:
        load_checkpoint(state, checkpoint)
        if not data.same_pairs(state.data) and "data" not in allow:
            raise ConfigError(
                f"the training pairs are not those that {out} was trained on "
                f"({state.data['pairs']} then, {data.fingerprint['pairs']} now, or other files): "
                "give the same data, or repeat with --allow data"
            )
        state.data = data.fingerprint
    if fabric.is_global_zero:
        forget_after(out, state.step)

    bar = Progress(total=data.total_steps, done=state.step) if progress else None
    listeners: list[Any] = [] if bar is None else [bar]
    if fabric.is_global_zero:
        listeners += [JsonLog(out), TensorBoardLog(out, first_step=state.step)]
    events = Events(listeners, silent=not fabric.is_global_zero)
    if checkpoint is None:
        events.emit("start", **_facts(state, data, command))
    else:
        events.emit("resume", step=state.step, changed=changed, command=command)
    loop = Loop(state, data, out, events, Samples(out, data.samples), validation, bar, objective)
    if config.training.cuda_graph:
        reason = why_not(config, fabric.device, processes=fabric.world_size)
        if reason is None:
            loop.turns = CudaGraphStep()
        else:
            events.emit("note", text=f"training.cuda_graph is left out: {reason}")
    if config.training.resident and (reason := keep_resident(data, fabric.device)):
        events.emit("note", text=f"training.resident is left out: {reason}")
    try:
        with kept_memory(), numerics(deterministic=config.training.deterministic):
            loop.run()
    except TrainingError as error:
        events.emit("stopped", step=state.step, reason=str(error))
        raise
    finally:
        events.close()
    return state


def build_fabric(config: Config, accelerator: str, devices: int | None) -> Fabric:
    """Return a launched Fabric; torchrun's processes are found by the variables that it sets."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    elif devices is not None and devices > 1:
        raise ConfigError(
            f"--devices {devices} needs as many processes: "
            f"start with torchrun --nproc-per-node={devices} -m limner train ..."
        )
    # The step keeps batch statistics apart while it runs (each network sees several batches
    # before its gradients are taken) and averages them whenever they are used.
    strategy = DDPStrategy(broadcast_buffers=False) if world > 1 else "auto"
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices or 1,
        num_nodes=max(1, world // (devices or 1)),
        strategy=strategy,
        precision=config.training.precision,
    )
    fabric.launch()
    return fabric


def build_objective(config: Config, fabric: Fabric, weights: Path | None) -> Objective:
    """Return the objective, its perceptual loss on the device, in the precision of the networks."""
    settings, perceptual = config.objective, None
    if settings.vgg:
        perceptual = make_perceptual(
            network=settings.vgg_network,
            taps=settings.vgg_taps,
            tap_weights=settings.vgg_weights,
            inputs=settings.vgg_input,
            weights=weights,
            device=fabric.device,
            dtype=torch.float64 if config.training.precision == "64-true" else torch.float32,
            context=fabric.autocast,
        )
    return Objective(**settings.terms, perceptual=perceptual)


def _validation(
    config: Config,
    data: TrainingData,
    weights: Path | None,
    objective: Objective,
    *,
    device: torch.device,
) -> Validation | None:
    settings = config.validation
    if settings.every is None or data.validation is None:
        return None
    return open_validation(
        config, data.validation, weights=weights, objective=objective, device=device
    )


def _facts(state: State, data: TrainingData, command: str) -> dict[str, Any]:
    return {
        "version": __version__,
        "torch": torch.__version__,
        "command": command,
        "device": _device_name(state.fabric.device),
        "processes": state.fabric.world_size,
        "threads": torch.get_num_threads(),
        "data": state.config.data.root,
        "pairs": data.fingerprint["pairs"],
        "notes": data.notes,
        "parameters": {
            "generator": count_parameters(state.generator.plain),
            **({"encoder": count_parameters(state.encoder.plain)} if state.encoder else {}),
            "discriminators": [count_parameters(judge.plain) for judge in state.discriminators],
        },
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
