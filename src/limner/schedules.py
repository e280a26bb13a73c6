"""Schedules of the learning rate: what it is multiplied by in each epoch (or step)."""

from __future__ import annotations

import math
from collections.abc import Callable

from limner.errors import ConfigError, unknown_name

Shape = Callable[[float, float, int], float]

SCHEDULES: dict[str, Shape] = {
    # Each takes the progress u of the decay, 0 at its start and below 1 at its last epoch; the
    # factor; and the number of stages.
    "constant": lambda u, factor, stages: 1.0,
    # 1 - u: pix2pix.
    "linear": lambda u, factor, stages: 1.0 - u,
    # (1 + cos(pi u)) / 2: Loshchilov and Hutter 2017, equation 5, one period down to zero.
    "cosine": lambda u, factor, stages: 0.5 * (1.0 + math.cos(math.pi * u)),
    # factor ^ floor(u stages): as many levels as stages, each `factor` times the one before.
    "steps": lambda u, factor, stages: factor ** min(math.floor(u * stages), stages - 1),
    # factor ^ (u stages): the same descent without the steps.
    "geometric": lambda u, factor, stages: factor ** (u * stages),
}


def value(
    name: str,
    epoch: float,
    *,
    epochs: int,
    decay_start: float = 0.5,
    factor: float = 0.1,
    stages: int = 2,
) -> float:
    """Return the multiplier, in [0, 1], of the learning rate during `epoch`, counted from 1.

    The first `decay_start` of the epochs, n = max(1, ceil(decay_start * epochs)), have 1. Then
    the progress of the decay is

        u = (epoch - n) / (epochs - n + 1)

    so that "linear" is pix2pix's 1 - max(0, k - n) / (n_decay + 1): at 200 epochs, 1 up to epoch
    100, 100/101 in epoch 101 and 1/101 in epoch 200; the last epoch still learns. With steps in
    place of epochs it is a schedule by the step; an epoch may be a fraction; beyond `epochs` the
    value stays at its end. `factor` and `stages` belong to "steps" and "geometric".

    Raises:
        ConfigError: no schedule has that name, or a number is out of range.
    """
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, SCHEDULES)
    if epoch < 1 or epochs < 1:
        raise ConfigError(f"epoch {epoch} of {epochs}: epochs count from 1")
    if not (0 <= decay_start <= 1 and 0 < factor <= 1 and stages >= 1):
        raise ConfigError(
            f"schedule {name} with decay_start {decay_start}, factor {factor}, stages {stages}: "
            "they must lie in [0, 1], in (0, 1] and at 1 or above"
        )
    held = max(1, math.ceil(decay_start * epochs - 1e-9))
    progress = min(1.0, max(0.0, epoch - held) / (epochs - held + 1))
    return SCHEDULES[name](progress, factor, stages)
