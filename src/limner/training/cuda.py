"""What is special to CUDA: kernels that repeat to the last digit, and the step as one graph.

The step is recorded once and replayed: no Python and no launches between kernels.

At batch 1 a GPU waits for Python most of the time: a step is some hundred kernels of microseconds.
What is recorded is `update_in_turn` whole, both networks' passes and updates; noise, running
average and the weighing of discriminators stay outside, since they change from step to step.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from limner.config import Config
from limner.losses import GAN_LOSSES
from limner.objective import Objective
from limner.training.state import State
from limner.training.step import update_in_turn

WARM = 3
"""Steps as usual before one is recorded: libraries choose their kernels and workspaces in them."""

Call = Callable[[], dict[str, Tensor]]


def why_not(config: Config, device: torch.device, *, processes: int) -> str | None:
    """Return why a training's steps cannot be recorded, or None where they can."""
    objective = config.objective
    if device.type != "cuda":
        return f"steps are recorded on CUDA alone, and this is {device.type}"
    if processes > 1:
        return "several processes exchange gradients within a step"
    if objective.r1 or GAN_LOSSES[objective.gan].penalised:
        return "penalties on gradients are not the same in every step"
    if objective.augment or config.encoder is not None:
        return "augmentation and codes are drawn on the CPU"
    if config.training.fix_global:
        return "what learns changes during training.fix_global"
    return None


class CudaGraph:
    """How CUDA warms up and records."""

    def warm(self, call: Call) -> dict[str, Tensor]:
        """Do `call` beside the default stream, which no recording may wait for."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            outputs = call()
        torch.cuda.current_stream().wait_stream(stream)
        return outputs

    def record(self, call: Call) -> tuple[Callable[[], None], dict[str, Tensor]]:
        """Record `call` without doing it; return what replays it, and where its results come."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            outputs = call()
        return graph.replay, outputs


@dataclass
class CudaGraphStep:
    """`update_in_turn`, recorded as soon as nothing but the pictures' values changes.

    Shapes, learning rates and the discriminators' weights are constants of a recording: where one
    changes, the steps are taken as usual and recorded anew after `WARM` of them; where one changes
    at every step, nothing ever is.
    """

    graphs: CudaGraph = field(default_factory=CudaGraph)
    key: Any = None
    seen: int = 0
    replay: Callable[[], None] | None = None
    inputs: dict[str, Tensor] = field(default_factory=dict)
    scalars: dict[str, Tensor] = field(default_factory=dict)

    def __call__(
        self, state: State, batch: dict[str, Tensor], objective: Objective
    ) -> dict[str, Tensor]:
        """Do what `update_in_turn` does, which see."""
        key = _constants(state, batch)
        if key != self.key:
            self.key, self.seen, self.replay = key, 0, None
            self.inputs, self.scalars = {}, {}
        if self.replay is None:
            self.seen += 1
            if self.seen <= WARM:
                return self.graphs.warm(lambda: update_in_turn(state, batch, objective))
            self.inputs = {name: value.clone() for name, value in batch.items()}
            with _capturable(state):
                self.replay, self.scalars = self.graphs.record(
                    lambda: update_in_turn(state, self.inputs, objective)
                )
        for name, value in batch.items():
            self.inputs[name].copy_(value, non_blocking=True)
        self.replay()
        return {name: value.clone() for name, value in self.scalars.items()}


@contextlib.contextmanager
def _capturable(state: State) -> Iterator[None]:
    """Let optimisers be recorded; their flag does not get into checkpoints, which a CPU may read.

    Gradients are forgotten first, so that the recording's lie in memory of its own.
    """
    groups = []
    for network in state.networks.values():
        network.optimizer.zero_grad()
        groups += network.optimizer.param_groups
    try:
        for group in groups:
            group["capturable"] = True
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def _constants(state: State, batch: dict[str, Tensor]) -> tuple[Any, ...]:
    shapes = tuple((name, tuple(value.shape), value.dtype) for name, value in batch.items())
    rates = tuple(
        group["lr"]
        for network in state.networks.values()
        for group in network.optimizer.param_groups
    )
    return shapes, rates, state.discriminator_weights.weights


@contextlib.contextmanager
def numerics(*, deterministic: bool) -> Iterator[None]:
    """Choose kernels for what runs within, and restore afterwards what was chosen before.

    With `deterministic` every operation that has a reproducible form takes it, and the others
    raise RuntimeError, naming themselves. Without, cuDNN tries its kernels at the first call of
    each shape and keeps the fastest, as pytorch-CycleGAN-and-pix2pix does. On the CPU both are the
    same.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if deterministic:
        # Read when cuBLAS is first used, which has to be after this.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
