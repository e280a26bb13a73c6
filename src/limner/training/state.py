"""The state of a training: networks, optimisers and how far it has come; and how it begins."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from limner import schedules
from limner.config import Config
from limner.training.discriminator_weights import DiscriminatorWeights, begin_weights
from limner.training.fine_tuning import draw_back, freeze_first, freeze_parts, learning_groups
from limner.training.parts import Part, Pictures, pictures_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Fused Adam does in one pass over memory what the plain one does in several, to the same digits
# up to rounding; RAdam has no fused form.
OPTIMIZERS = {
    "adam": lambda parameters, **settings: torch.optim.Adam(parameters, fused=True, **settings),
    "adamw": lambda parameters, **settings: torch.optim.AdamW(parameters, fused=True, **settings),
    "radam": torch.optim.RAdam,
}


@dataclass
class TrainedNetwork:
    """A network, what updates it, and (for a discriminator) whether it sees the source."""

    network: nn.Module
    optimizer: Optimizer
    base_lr: float
    conditional: bool = True
    start: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    """What another run lent, for the parameters that are drawn back to it (`training.l2_sp`)."""

    def update(self, *, l2_sp: float) -> None:
        """Update the network with the gradients that it has."""
        self.optimizer.step()
        if self.start:
            draw_back(self.optimizer, self.start, strength=l2_sp)

    @property
    def plain(self) -> nn.Module:
        """The network without the wrappers of precision and of several processes."""
        network: Any = self.network
        while hasattr(network, "module"):
            network = network.module
        return network


@dataclass
class State:
    """Everything that a step reads and changes; complete, so that a resume is exact."""

    config: Config
    fabric: Fabric
    generator: TrainedNetwork
    discriminators: list[TrainedNetwork]
    ema: nn.Module | None
    discriminator_weights: DiscriminatorWeights
    """How much the generator listens to each discriminator."""
    encoder: TrainedNetwork | None = None
    """Reads a target's style for the generator, whose loss teaches it."""
    frozen_until: int = 0
    """The step before which only the generator's outermost enhancer learns."""
    step: int = 0
    best: dict[str, Any] | None = None
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def networks(self) -> dict[str, TrainedNetwork]:
        """Every network by the name that its files bear."""
        discriminators = {f"discriminator_{i}": d for i, d in enumerate(self.discriminators)}
        encoder = {} if self.encoder is None else {"encoder": self.encoder}
        return {"generator": self.generator, **encoder, **discriminators}

    @property
    def learners(self) -> list[TrainedNetwork]:
        """The networks whose loss is the generator's."""
        return [self.generator] if self.encoder is None else [self.generator, self.encoder]

    def update(self, networks: Iterable[TrainedNetwork]) -> None:
        """Update networks with the gradients that they have."""
        for network in networks:
            network.update(l2_sp=self.config.training.l2_sp)

    def make_pictures(self, part: Part) -> Pictures:
        """Return the generator's pictures of a part, in the style that an encoder reads."""
        encoder = None if self.encoder is None else self.encoder.network
        return pictures_of(self.generator.network, encoder, part, style=self.style)

    @property
    def style(self) -> str | None:
        """The kind of the encoder, a key of `parts.STYLES`, or None."""
        return None if self.config.encoder is None else self.config.encoder.name

    @property
    def picture_network(self) -> nn.Module:
        """The generator that makes pictures: the running average where there is one."""
        return self.ema if self.ema is not None else self.generator.plain


def build_generator(config: Config) -> nn.Module:
    """Return the generator that a resolved configuration describes, initialised from its seed."""
    return config.generator.build(
        seed=config.seed,
        in_channels=config.input_channels,
        out_channels=config.data.channels[1],
    )


def build_encoder(config: Config) -> nn.Module | None:
    """Return the encoder, initialised from the seed, or None where the settings have none."""
    if config.encoder is None:
        return None
    return config.encoder.build(seed=config.seed + 999_983, in_channels=config.data.channels[1])


def build_discriminators(config: Config) -> list[nn.Module]:
    """Return the discriminators, each initialised from the seed and its own number."""
    source, target = config.source_channels, config.data.channels[1]
    return [
        section.build(
            seed=config.seed + 1_000_003 * number,
            in_channels=target + (source if section.conditional else 0),
        )
        for number, section in enumerate(config.discriminators, start=1)
    ]


def build_state(config: Config, fabric: Fabric) -> State:
    """Return the state at step 0 of a resolved configuration, on the devices of `fabric`."""
    training = config.training

    def trained(
        network: nn.Module,
        lr: float,
        *,
        optimizer: str | None = None,
        conditional: bool = True,
        layer_decay: float = 1.0,
    ) -> TrainedNetwork:
        module = fabric.setup_module(network)
        updater = OPTIMIZERS[optimizer or training.optimizer](
            learning_groups(network, layer_decay=layer_decay),
            lr=lr,
            betas=training.betas,
            weight_decay=training.weight_decay,
        )
        return TrainedNetwork(module, fabric.setup_optimizers(updater), lr, conditional)  # pyright: ignore[reportArgumentType]

    translator = build_generator(config)
    freeze_parts(translator, training.freeze)
    generator = trained(translator, training.lr, layer_decay=training.layer_decay)
    # An optimiser of its own does what one for both would: Adam treats each weight by itself.
    reader = build_encoder(config)
    encoder = None if reader is None else trained(reader, training.lr)
    # Channels last, a discriminator's convolutions take half the time on a CPU; its layers are all
    # large, where a U-Net's inner ones are matrix products that want their weights as they lie.
    adversaries = build_discriminators(config)
    for adversary in adversaries:
        freeze_first(adversary, training.freeze_discriminator)
    discriminators = [
        trained(
            _channels_last(network) if fabric.device.type == "cpu" else network,
            section.lr or training.discriminator_lr or training.lr,
            optimizer=section.optimizer,
            conditional=section.conditional,
        )
        for network, section in zip(adversaries, config.discriminators, strict=True)
    ]
    ema = None
    if training.ema is not None:
        ema = copy.deepcopy(generator.plain).requires_grad_(False)
    weights = begin_weights(config, fabric.device)
    return State(config, fabric, generator, discriminators, ema, weights, encoder)


def _channels_last(network: nn.Module) -> nn.Module:
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def set_learning_rates(state: State, epoch: int) -> float:
    """Set every network's learning rate for `epoch`, counted from 1; return the generator's.

    During `training.discriminator_warmup` the generator and its encoder have none.
    """
    training = state.config.training
    factor = schedules.value(
        training.schedule, epoch, epochs=training.epochs, decay_start=training.decay_start
    )
    learns = 0.0 if state.step < (training.discriminator_warmup or 0) else 1.0
    rates = [(network, factor * learns) for network in state.learners]
    rates += [(network, factor) for network in state.discriminators]
    for network, share in rates:
        for group in network.optimizer.param_groups:
            group["lr"] = network.base_lr * share * group["factor"]
    return state.generator.base_lr * factor * learns


@torch.no_grad()
def update_ema(state: State) -> None:
    """Move the running average towards the generator; buffers (batch statistics) are copied.

    After t steps the decay is min(training.ema, t / (t + 3)), so that the average is about one
    over the last third of the training until `ema` bounds its memory (a window that grows with
    t, as in Karras et al. 2024, section 3.1): a short training is not shown its first weights.
    """
    if state.ema is None or state.config.training.ema is None:
        return
    plain, steps = state.generator.plain, state.step + 1
    decay = min(state.config.training.ema, steps / (steps + 3))
    # One call for all weights: the same operation on each, without the way through Python.
    averages: list[Tensor] = list(state.ema.parameters())
    weights: list[Tensor] = list(plain.parameters())
    torch._foreach_lerp_(averages, weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
    for average, buffer in zip(state.ema.buffers(), plain.buffers(), strict=True):
        average.copy_(buffer)


@torch.no_grad()
def average_buffers(state: State) -> None:
    """Give every process the mean of all processes' batch statistics, before they are used."""
    if state.fabric.world_size == 1:
        return
    for network in state.networks.values():
        for buffer in network.plain.buffers():
            if buffer.is_floating_point():
                buffer.copy_(_tensor(state.fabric.all_reduce(buffer, reduce_op="mean")))


def _tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor)
    return value


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no value of any tensor is NaN or infinite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
