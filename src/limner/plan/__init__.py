"""What a training will take, before anything is spent: parameters, memory, time, disk, cost.

On this machine's CPU a short training is measured (`probe`). What does not fit here, or takes too
long, is counted operation by operation (`step_counts`) and reckoned from a smaller training that is
measured; a named GPU is reckoned by the ceilings of `GPUS`. JSON: `Plan.to_json`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from limner import timing
from limner.config import Config, replace, resolved
from limner.data import Pair, header
from limner.errors import ConfigError, LimnerError, free_memory, unknown_name
from limner.plan.probe import Probe, steps_for, take_steps
from limner.plan.step_counts import StepCounts, count_step
from limner.training.datasets import TrainingData


@dataclass(frozen=True)
class GPU:
    """Ceilings of a GPU, as its maker states them: multiply-adds and bytes a second, memory.

    Convolutions in float32 run on tensor cores as TF32 where there are any, as PyTorch has it.
    """

    name: str
    float32: float
    bfloat16: float | None
    bandwidth: float
    memory: int


# Dense figures of the makers' data sheets, halved since they count a multiply-add as two.
GPUS = {
    "h100": GPU("NVIDIA H100 SXM", 247e12, 494e12, 3.35e12, 80 * 10**9),
    "a100": GPU("NVIDIA A100 SXM 80 GB", 78e12, 156e12, 2.04e12, 80 * 10**9),
    "l4": GPU("NVIDIA L4", 30e12, 60e12, 0.30e12, 24 * 10**9),
    "t4": GPU("NVIDIA T4", 4.05e12, None, 0.32e12, 16 * 10**9),
}
DEVICES = ("cpu", *GPUS)

# What the model of a GPU assumes; not measured on one.
REACHED = 0.4
"""Share of a ceiling that convolutions and copies reach."""
LAUNCH = 6e-6
"""Seconds that a kernel takes to be started, below which none takes part in a step."""
RESERVED = 1.15
"""What the caching allocator reserves, against the tensors at their peak."""
WORKSPACE = 256 * 2**20
"""Bytes of cuDNN's and cuBLAS's workspaces."""


@dataclass(frozen=True)
class Advice:
    """Changes that make a training smaller: settings, and their own peak and seconds a step."""

    set: tuple[str, ...]
    peak_bytes: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What a training takes; the fields of `limner plan --json`.

    `memory_by` adds up to `peak_bytes`. `assumptions` say what was reckoned and not measured.
    """

    device: str
    counts: StepCounts
    seconds_per_step: float
    measured: bool
    peak_bytes: int
    limit_bytes: int | None
    steps: int
    seconds: float
    disk_bytes: int
    cost: float | None
    advice: tuple[Advice, ...]
    assumptions: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the peak is within the memory there is; true where that is unknown."""
        return self.limit_bytes is None or self.peak_bytes <= self.limit_bytes

    @property
    def memory_by(self) -> dict[str, int]:
        """Bytes at the peak by what holds them; `other` is the program itself and workspaces."""
        counts = self.counts
        by = {
            "weights": counts.weights,
            "gradients": counts.gradients,
            "optimizers": counts.optimizers,
            "activations": counts.activations,
        }
        return {**by, "other": max(0, self.peak_bytes - sum(by.values()))}

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON has it."""
        counts = self.counts
        return {
            "device": self.device,
            "parameters": {
                "generator": counts.generator,
                "encoder": counts.encoder,
                "discriminators": list(counts.discriminators),
            },
            "step": {
                "macs": counts.macs,
                "seconds": self.seconds_per_step,
                "measured": self.measured,
            },
            "memory": {"peak_bytes": self.peak_bytes, "by": self.memory_by},
            "training": {
                "steps": self.steps,
                "seconds": self.seconds,
                "disk_bytes": self.disk_bytes,
                "cost": self.cost,
            },
            "fits": self.fits,
            "limit_bytes": self.limit_bytes,
            "advice": [asdict(advice) for advice in self.advice],
            "assumptions": list(self.assumptions),
        }


def plan_training(
    config: Config,
    data: TrainingData,
    *,
    device: str = "cpu",
    memory: int | None = None,
    price: float | None = None,
    weights: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Return what a training takes.

    Args:
        config: the settings as they were chosen, with `data.root`.
        data: what `open_training_data` made of them.
        device: a key of `DEVICES`; cpu is this machine, measured where it fits.
        memory: bytes to fit into; by itself what is free here, or the GPU's.
        price: of an hour, in any currency.
        weights: where pretrained weights are looked for.
        progress: told what is being done.

    Raises:
        ConfigError: an unknown device, or precision that it has not.
        TrainingError: a few steps were tried and failed.
    """
    if device not in DEVICES:
        raise unknown_name("device", device, DEVICES)
    settings = data.config
    model = _model(device, settings)
    progress("counting a step")
    counts = count_step(_sized(settings, data))
    limit = memory if memory is not None else model.memory
    seconds, peak = model.seconds(counts), model.peak(counts)
    probe, beyond, pace = None, 0, 1.0
    if device == "cpu" and _affordable(model, counts):
        probe = take_steps(config, steps=steps_for(seconds), weights=weights, progress=progress)
        beyond, pace = probe.peak_bytes - peak, probe.step / seconds
    smaller: list[_Change] = []
    if (limit is not None and peak + beyond > limit) or (device == "cpu" and probe is None):
        progress("counting what would make it smaller")
        smaller = list(_smaller(config, data, device=device))
    if device == "cpu" and probe is None:
        beyond, pace = _calibrated(smaller, config, weights=weights, progress=progress)
    seconds, peak = seconds * pace, peak + beyond
    total = data.total_steps * seconds + (0 if probe is None else _beside_steps(data, probe))
    saved = model.checkpoint(counts) if probe is None else probe.checkpoint_bytes
    fits = limit is None or peak <= limit
    advice = [
        Advice(change.set, change.peak_bytes + beyond, change.seconds * pace)
        for change in ([] if fits else smaller)
        if change.peak_bytes + beyond < peak
    ]
    return Plan(
        device=model.name,
        counts=counts,
        seconds_per_step=seconds,
        measured=probe is not None,
        peak_bytes=peak,
        limit_bytes=limit,
        steps=data.total_steps,
        seconds=total,
        disk_bytes=2 * saved + _cache_bytes(data),
        cost=None if price is None else price * total / 3600,
        advice=tuple(advice),
        assumptions=() if probe is not None else model.assumptions,
    )


@dataclass(frozen=True)
class _Model:
    """Seconds and bytes reckoned from a step's counts."""

    name: str
    memory: int | None
    seconds: Callable[[StepCounts], float]
    peak: Callable[[StepCounts], int]
    assumptions: tuple[str, ...]

    @staticmethod
    def checkpoint(counts: StepCounts) -> int:
        """Bytes of a checkpoint on disk."""
        return counts.weights + counts.optimizers


def _model(device: str, settings: Config) -> _Model:
    return _cpu_model(settings) if device == "cpu" else _gpu_model(GPUS[device], settings)


def _gpu_model(gpu: GPU, config: Config) -> _Model:
    precision = config.training.precision
    macs = {"32-true": gpu.float32, "bf16-mixed": gpu.bfloat16, "64-true": gpu.float32 / 16}
    rate = macs[precision]
    if rate is None:
        raise ConfigError(
            f"training.precision={precision} on {gpu.name}, which has no bfloat16: set "
            "training.precision=32-true"
        )

    def seconds(counts: StepCounts) -> float:
        return sum(
            max(LAUNCH, kernel.macs / rate / REACHED, kernel.moved_bytes / gpu.bandwidth / REACHED)
            for kernel in counts.operations
        )

    return _Model(
        name=gpu.name,
        memory=gpu.memory,
        seconds=seconds,
        peak=lambda counts: round(counts.bytes * RESERVED) + WORKSPACE,
        assumptions=(
            f"{gpu.name}: {2 * rate / 1e12:.0f} TFLOP/s and {gpu.bandwidth / 1e12:.2f} TB/s, of "
            f"which {REACHED:.0%} are reached; a kernel takes at least {LAUNCH * 1e6:.0f} "
            "microseconds",
            f"the allocator reserves {RESERVED - 1:.0%} more than tensors hold, and libraries "
            f"{WORKSPACE >> 20} MiB; data are ready when a step begins",
        ),
    )


def _cpu_model(config: Config) -> _Model:
    """This machine: the rate of a product that is timed now, the memory of this very process."""
    rate = _products_per_second(DTYPES[config.training.precision])
    program = _resident()

    def seconds(counts: StepCounts) -> float:
        return counts.macs / rate / REACHED

    def peak(counts: StepCounts) -> int:
        # While a checkpoint is written, activations are free and optimizers are there twice.
        writing = counts.weights + counts.gradients + 2 * counts.optimizers
        return program + max(counts.bytes, writing)

    return _Model(
        name=f"cpu: {timing.processor()}",
        memory=free_memory(),
        seconds=seconds,
        peak=peak,
        assumptions=(
            "a smaller training was measured; what this one takes beside it follows from its "
            "operations and tensors, counted",
        ),
    )


DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "64-true": torch.float64}


@functools.cache
def _products_per_second(dtype: torch.dtype) -> float:
    """Multiply-adds a second of a matrix product on this machine."""
    one = torch.ones(1024, 1024, dtype=dtype)
    torch.mm(one, one)
    begun = time.perf_counter()
    for _ in range(4):
        torch.mm(one, one)
    return 4 * 1024**3 / (time.perf_counter() - begun)


PROGRAM = 300 * 2**20
"""Bytes that a training takes for itself, sheets and logs beyond what a plan has imported."""
LONGEST_STEP = 20.0
"""Seconds of a step, as reckoned, beyond which a smaller training is measured in its place."""


def _resident() -> int:
    """Bytes of this process, which has imported what a training imports; 512 MiB if unsaid."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 512 * 2**20


def _beside_steps(data: TrainingData, probe: Probe) -> float:
    """Seconds of a training that are no step's: validations, sheets, checkpoints."""
    config, epochs = data.config, data.total_steps / data.steps_per_epoch

    def times(every: float | None) -> float:
        return 0 if every is None else math.ceil(epochs / every)

    seconds = times(config.training.checkpoint_every) * probe.checkpoint
    if probe.sheet is not None:
        seconds += times(config.training.samples_every) * probe.sheet
    if probe.validated_pair is not None and data.validation is not None:
        pairs = min(len(data.validation), config.validation.images)
        seconds += times(config.validation.every) * pairs * probe.validated_pair
    return seconds


def _cache_bytes(data: TrainingData) -> int:
    """Bytes of decoded images that the training will keep on disk."""
    caches = [data_set.cache for data_set in (data.train, data.validation) if data_set is not None]
    return sum(sum(cache.claims.values()) for cache in caches if cache is not None)


def _affordable(model: _Model, counts: StepCounts) -> bool:
    """Whether a few such steps can be taken here: within memory, and within a minute or two."""
    room = model.memory is None or model.peak(counts) * 1.3 + PROGRAM < model.memory
    return room and model.seconds(counts) <= LONGEST_STEP


@dataclass(frozen=True)
class _Change:
    """Settings that make a step smaller, and what is reckoned of it before any calibration."""

    set: tuple[str, ...]
    config: Config
    peak_bytes: int
    seconds: float
    affordable: bool


def _smaller(config: Config, data: TrainingData, *, device: str) -> Iterator[_Change]:
    """Yield changes from those that leave the result as it is to those that do not."""
    for changes in _changes(config, data.config, bfloat16=_multiplies_bfloat16(device)):
        try:
            changed = replace(config, changes)
            settings = resolved(replace(_with_data(config, data.config), changes))
            counts = count_step(_sized(settings, data))
        except LimnerError:  # settings that contradict each other are no advice
            continue
        model = _model(device, settings)
        yield _Change(
            set=tuple(f"{key}={_text(value)}" for key, value in changes.items()),
            config=changed,
            peak_bytes=model.peak(counts),
            seconds=model.seconds(counts),
            affordable=_affordable(model, counts),
        )


def _calibrated(
    changes: Sequence[_Change],
    config: Config,
    *,
    weights: Path | None,
    progress: Callable[[str], None],
) -> tuple[int, float]:
    """Measure the largest of the changed trainings that can be had here.

    Returns:
        Bytes beyond the reckoned ones, and seconds a reckoned second.
    """
    possible = [change for change in changes if change.affordable]
    if not possible:
        return 0, 1.0
    largest = max(possible, key=lambda change: change.peak_bytes)
    probe = take_steps(
        largest.config, steps=steps_for(largest.seconds), weights=weights, progress=progress
    )
    return probe.peak_bytes - largest.peak_bytes, probe.step / largest.seconds


def _text(value: object) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _changes(config: Config, settings: Config, *, bfloat16: bool) -> list[dict[str, object]]:
    training, generator = settings.training, settings.generator
    changes: list[dict[str, object]] = []
    if training.batch_size > 1:
        parts = training.accumulate * training.batch_size
        changes.append({"training.accumulate": parts, "training.batch_size": 1})
    if getattr(generator, "activation_checkpointing", True) is False:
        changes.append({"generator.activation_checkpointing": True})
    if training.precision == "32-true" and bfloat16:
        changes.append({"training.precision": "bf16-mixed"})
    widths = {"generator": generator}
    widths |= {f"discriminators.{n}": d for n, d in enumerate(settings.discriminators)}
    narrower: dict[str, object] = {
        f"{key}.width": max(1, network.model_dump()["width"] // 2)
        for key, network in widths.items()
    }
    multiple = config.generator.multiple or 1
    half = [max(multiple, side // 2 // multiple * multiple) for side in settings.data.size]
    crops: dict[str, object] = {"data.mode": "crop", "data.size": half}
    return [*changes, crops, narrower, {**narrower, **crops}]


def _multiplies_bfloat16(device: str) -> bool:
    if device == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return GPUS[device].bfloat16 is not None


def _with_data(config: Config, settings: Config) -> Config:
    """The settings as they were chosen, with what the data set told; depths are still open."""
    data = settings.data.model_copy(update={"load_size": config.data.load_size})
    return config.model_copy(update={"data": data})


def _sized(settings: Config, data: TrainingData) -> Config:
    """Settings whose size is what networks see: with data.mode=none that of the largest pair."""
    if settings.data.mode != "none":
        return settings
    largest = max((_size(pair) for pair in data.train.pairs), key=math.prod)
    return settings.model_copy(update={"data": settings.data.model_copy(update={"size": largest})})


def _size(pair: Pair) -> tuple[int, int]:
    """Height and width of a pair's target, told by its header."""
    height, width = header(pair.target)[1:]
    return (height, width) if pair.source_half is None else (height, width // 2)
