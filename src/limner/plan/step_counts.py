"""What a training step costs, counted and not measured: the real step on tensors without numbers.

Every operation of `training_step` is seen as it is dispatched, so whatever the settings are (orders
of updates, accumulation, penalties, checkpointed activations, perceptual loss) is counted as it
runs. No picture is computed and no memory taken: a step of pix2pixHD is counted in seconds.
"""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from limner.config import Config
from limner.networks import count_parameters
from limner.networks.encoders import FeatureEncoder
from limner.networks.vgg import VGGFeatures
from limner.objective import Objective
from limner.objective.perceptual import Perceptual
from limner.training.parts import Part, Pictures
from limner.training.state import State, build_state
from limner.training.step import update_in_turn


@dataclass(frozen=True)
class Operation:
    """One kernel: multiply-adds of convolutions and products (0 for others), bytes that pass."""

    macs: int
    moved_bytes: int


@dataclass(frozen=True)
class StepCounts:
    """What one step takes.

    Args:
        parameters: of the generator, the encoder (None without one) and each discriminator.
        weights: bytes of parameters, buffers and running averages.
        gradients: bytes of the gradients of all that learns.
        optimizers: bytes of what the optimizers keep between steps.
        activations: bytes that live beside all these at the step's peak.
        operations: every kernel, forwards, backwards and updates.
    """

    generator: int
    encoder: int | None
    discriminators: tuple[int, ...]
    weights: int
    gradients: int
    optimizers: int
    activations: int
    operations: tuple[Operation, ...] = field(repr=False)

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and matrix products in the whole step."""
        return sum(operation.macs for operation in self.operations)

    @property
    def bytes(self) -> int:
        """Bytes of tensors at the peak of a step."""
        return self.weights + self.gradients + self.optimizers + self.activations


def count_step(config: Config) -> StepCounts:
    """Count one step, all passes and updates, of a resolved configuration.

    The second step is counted, when optimizers have what they keep. Instances of pix2pixHD's
    features are taken as they are (averaging over them has no matrix products and keeps nothing).

    Args:
        config: with `data.size` as the networks see it; with label settings that are derived.
    """
    ledger = _Ledger()
    with (
        warnings.catch_warnings(),
        FakeTensorMode(allow_non_fake_inputs=True),
        ledger,
    ):
        warnings.simplefilter("ignore")  # copying a tensor without numbers asks for its address
        fabric = _NoFabric()
        built = build_state(config, fabric)  # pyright: ignore[reportArgumentType]
        fabric.device = torch.device("cpu")
        state = _StateWithoutInstances(**vars(built))
        state.config = _of_pictures(config)
        classifier, objective = _objective(config)
        batch = _batch(state.config)
        with _precision(config):
            update_in_turn(state, batch, objective)
            ledger.start()
            update_in_turn(state, batch, objective)
        modules = [network.plain for network in state.networks.values()]
        kept = [module for module in (state.ema, classifier) if module is not None]
        weights = _bytes(t for m in (*modules, *kept) for t in (*m.parameters(), *m.buffers()))
        gradients = _bytes(p for module in modules for p in module.parameters())
        optimizers = _bytes(
            value
            for network in state.networks.values()
            for values in network.optimizer.state.values()
            for value in values.values()
            if isinstance(value, Tensor)
        )
    return StepCounts(
        generator=count_parameters(state.generator.plain),
        encoder=None if state.encoder is None else count_parameters(state.encoder.plain),
        discriminators=tuple(count_parameters(d.plain) for d in state.discriminators),
        weights=weights,
        gradients=gradients,
        optimizers=optimizers,
        activations=max(0, ledger.peak - weights - gradients - optimizers),
        operations=tuple(ledger.operations),
    )


class _Ledger(TorchDispatchMode):
    """Sees every operation: what it multiplies, what it moves, what lives after it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.living: dict[int, int] = {}
        self.now = self.peak = 0

    def start(self) -> None:
        """Forget what was seen; what lives lives on."""
        self.operations, self.peak = [], self.now

    def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        outputs = [t for t in tree_leaves(made) if isinstance(t, Tensor)]
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        for tensor in outputs:
            self._remember(tensor)
        if not func.is_view:
            counter = flop_registry.get(func._overloadpacket)
            flops = 0 if counter is None else counter(*args, **(kwargs or {}), out_val=made)
            moved = sum(tensor.numel() * tensor.element_size() for tensor in (*inputs, *outputs))
            self.operations.append(Operation(int(flops) // 2, moved))
        return made

    def _remember(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.living:
            self.living[key] = storage.nbytes()
            self.now += self.living[key]
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self.living.pop(key)


def _of_pictures(config: Config) -> Config:
    """The same settings with sources as networks take them: label maps are expanded already."""
    channels = (config.source_channels, config.data.channels[1])
    data = config.data.model_copy(update={"labels": None, "channels": channels})
    return config.model_copy(update={"data": data})


def _batch(config: Config) -> dict[str, Tensor]:
    count = config.training.batch_size * config.training.accumulate
    source, target = config.data.channels
    dtype = torch.float64 if config.training.precision == "64-true" else torch.float32
    return {
        "source": torch.zeros(count, source, *config.data.size, dtype=dtype),
        "target": torch.zeros(count, target, *config.data.size, dtype=dtype),
    }


def _objective(config: Config) -> tuple[nn.Module | None, Objective]:
    """The objective with its classifier, if it has one, whose weights are not looked for."""
    settings = config.objective
    if not settings.vgg:
        return None, Objective(**settings.terms)
    classifier = VGGFeatures(depth=int(settings.vgg_network[3:]), taps=settings.vgg_taps)
    classifier.requires_grad_(False).eval()
    perceptual = Perceptual(classifier, tuple(settings.vgg_weights), settings.vgg_input)
    return classifier, Objective(**settings.terms, perceptual=perceptual)


def _precision(config: Config) -> contextlib.AbstractContextManager[object]:
    if config.training.precision == "bf16-mixed":
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class _NoFabric:
    """One process without a device: leaves networks and optimizers as they are."""

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self) -> None:
        self.device = torch.device("meta")  # whose layouts are nobody's own

    def setup_module(self, module: nn.Module) -> nn.Module:
        return module

    def setup_optimizers(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        return optimizer

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class _StateWithoutInstances(State):
    """A state whose feature encoder does not average over instances, which needs numbers."""

    def make_pictures(self, part: Part) -> Pictures:
        encoder = None if self.encoder is None else self.encoder.network
        if not isinstance(encoder, FeatureEncoder):
            return super().make_pictures(part)
        features = encoder.last(encoder.features(part.target))
        return Pictures(self.generator.network(torch.cat([part.source, features], dim=1)))
