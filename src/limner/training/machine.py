"""What a training asks of its machine, and what it says of itself as it begins."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from limner import __version__
from limner.config import Config
from limner.errors import TrainingError, memory_errors, ran_out_of_memory
from limner.networks import count_parameters
from limner.networks.cpu_speed import computes_in
from limner.run import newest
from limner.training.datasets import TrainingData
from limner.training.state import State


def training_memory(config: Config, out: Path) -> AbstractContextManager[None]:
    """Answer a lack of memory within the block by what was trained and what needs less.

    Args:
        config: resolved settings.
        out: the run; the networks keep their size from its first checkpoint on.
    """
    height, width = config.data.size
    return memory_errors(
        f"training with batches of {config.training.batch_size} at {width}x{height}",
        cure=lambda: f"repeat with {'; or with '.join(_smaller(config, out))}",
    )


def _smaller(config: Config, out: Path) -> list[str]:
    """Return what may be added to the command so that a training needs less memory."""
    training, generator = config.training, config.generator
    begun = newest(out) is not None
    resume = ["--resume"] if (out / "config.yaml").exists() else []
    ways: list[list[str]] = []
    if (batch := training.batch_size) > 1:
        keys = {"training.batch_size": 1, "training.accumulate": batch * training.accumulate}
        allowed = [f"--allow {key}" for key in keys] if begun else []
        ways.append([*(f"--set {key}={value}" for key, value in keys.items()), *allowed])
    if getattr(generator, "activation_checkpointing", True) is False:
        ways.append(["--set generator.activation_checkpointing=true"])
    if not begun:
        narrower = max(1, int(getattr(generator, "width", 2)) // 2)
        ways += [["a smaller --size"], [f"--set generator.width={narrower}"]]
    return [" ".join([*resume, *way]) for way in ways] or ["--resume on a larger machine"]


# How gloo, NCCL and torch.distributed say that a process they wait for is gone.
_GONE = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|broken pipe|socket|store", re.IGNORECASE
)


@contextlib.contextmanager
def lost_processes(count: int, out: Path) -> Iterator[None]:
    """Say in one sentence that another of `count` processes has ended, and with it the training.

    Raises:
        TrainingError: what joins the processes fails within the block.
    """
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError) or _GONE.search(str(error))
        if count == 1 or not lost or ran_out_of_memory(error):
            raise
        raise TrainingError(
            f"another of the {count} processes has ended, so this one ends, too: its own words "
            f"say why; --resume goes on from the last checkpoint in {out}"
        ) from error


def slow_numbers(config: Config, device: torch.device) -> str | None:
    """Say that the machine only imitates the numbers of `training.precision`, or None.

    Without bfloat16 in its kernels a processor rounds in software, at many times float32's cost.
    """
    if config.training.precision != "bf16-mixed":
        return None
    if device.type == "cpu":
        able = computes_in("bfloat16")
    elif device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        return None
    if able:
        return None
    return (
        "this machine does not compute in bfloat16 and imitates it, which takes many times as "
        "long: --set training.precision=32-true is faster here"
    )


def differences(events: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[str]:
    """Say in which of processes and threads a resumed training differs from its last part.

    Either changes the order of sums, so that the last digits of what follows differ.

    Args:
        events: of the run's log.
        facts: `processes` and `threads` of now.
    """
    before: dict[str, Any] = {}
    for event in events:
        if event["event"] in ("start", "resume"):
            before |= event
    return [
        f"{key} were {before[key]} and are {facts[key]}: the training goes on, and not to the "
        "same last digit"
        for key in ("processes", "threads")
        if key in before and before[key] != facts[key]
    ]


def session_facts(state: State, data: TrainingData, command: str) -> dict[str, Any]:
    """Return what the log says of a training as it begins: versions, machine, data, networks."""
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
            "discriminators": [count_parameters(d.plain) for d in state.discriminators],
        },
    }


def introduction(facts: Mapping[str, Any], data: TrainingData, out: Path) -> list[str]:
    """Say in a few lines what a training is about to do: with which pairs, networks and ends."""
    config, counts = data.config, facts["parameters"]
    (height, width), training = config.data.size, config.training
    networks = [f"{config.generator.name} of {counts['generator']:,} weights"]
    if "encoder" in counts:
        networks.append(f"an encoder of {counts['encoder']:,}")
    networks += [f"a discriminator of {count:,}" for count in counts["discriminators"]]
    epochs = data.total_steps / data.steps_per_epoch if data.steps_per_epoch else 0
    return [
        f"{facts['data']}: {data.introduction()}",
        f"{', '.join(networks)}; {width}x{height} (width x height), batches of "
        f"{training.batch_size * training.accumulate * facts['processes']}, on {facts['device']}",
        f"{data.total_steps:,} steps ({epochs:.4g} epochs) into {out}; the first sheet of samples "
        f"stands in {out / 'samples'}",
    ]


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
