"""What all networks are made of: their settings' base, dropouts, initialisations, input checks.

Activation checkpointing stands here too, since it must leave norms as one forward pass does.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sized
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from limner.errors import DataError, unknown_name
from limner.networks.normalisation import SpectralConv2d
from limner.settings import Gain, Init, Optimizer, Rate, Section


@dataclass(frozen=True)
class Stage:
    """Modules of a network that work at one depth.

    Args:
        part: "encoder" (from the source inwards), "blocks" (within) or "decoder" (on to the
            picture) of a generator; "layer" of a discriminator.
        modules: their names within the network.
    """

    part: str
    modules: tuple[str, ...]


def in_stages(part: str, *names: str) -> list[Stage]:
    """Return a stage of that part for each name of a module."""
    return [Stage(part, (name,)) for name in names]


def numbered(name: str, modules: Sized) -> list[str]:
    """Return the names of a list's modules."""
    return [f"{name}.{number}" for number in range(len(modules))]


class NetworkSettings(Section):
    """What every network's settings have: a name, and how the first weights are drawn."""

    network: ClassVar[type[nn.Module]]
    """The class that these settings build."""
    role: ClassVar[frozenset[str]] = frozenset({"name", "init", "init_gain"})
    """Keys that are no keywords of that class."""

    name: Any
    """The network: the word of a family, a Literal there."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords of the network's class, but for the numbers of channels."""
        return self.model_dump(exclude=set(self.role))

    def build(self, *, seed: int | None = None, **channels: int) -> nn.Module:
        """Return the network that these settings describe.

        Args:
            seed: draws its first weights, of which PyTorch's own generator is neither read nor
                moved; None leaves them as PyTorch made them.
            channels: `in_channels`, and for a generator `out_channels`.
        """
        network = self.network(**self.keywords, **channels)
        if seed is not None:
            rng = torch.Generator().manual_seed(seed)
            initialise(network, self.init, gain=self.init_gain, generator=rng)
        return network


class GeneratorSettings(NetworkSettings):
    """What a training asks of any generator's settings."""

    coarse_to_fine: ClassVar[bool] = False
    """Whether it can begin around a generator trained at a lower resolution."""

    @property
    def multiple(self) -> int | None:
        """What the sides of pictures must be multiples of; None while that is not known."""
        return 1

    @property
    def code(self) -> int:
        """Length of the style code that it takes; 0 for none."""
        return 0

    @property
    def normalised(self) -> Literal["picture", "batch"] | None:
        """Over what its smallest map, of one pixel a `multiple`, is normalised; None if it is not.

        One number cannot be: the map needs two pixels, or the batch two pictures.
        """
        return None

    def fitted(self, size: tuple[int, int]) -> dict[str, object]:
        """Return the keys that are left open and follow from the pictures' height and width.

        Raises:
            ConfigError: no sensible value follows from that size.
        """
        return {}


class DiscriminatorSettings(NetworkSettings):
    """What a training asks of any discriminator's settings."""

    role: ClassVar[frozenset[str]] = NetworkSettings.role | {"conditional", "lr", "optimizer"}

    conditional: bool = True
    """Whether it sees the source beside the picture."""
    lr: Rate | None = None
    """Its learning rate before the schedule; None means training.discriminator_lr."""
    optimizer: Optimizer | None = None
    """Its optimiser; None means training.optimizer."""

    @property
    def smallest(self) -> int:
        """The least side of a picture that it can take, in pixels."""
        return 1

    def fitted(self) -> dict[str, object]:
        """Return the keys that follow from others of its own."""
        return {}


class EncoderSettings(NetworkSettings):
    """What a training asks of any encoder's settings."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 1

    @property
    def code(self) -> int:
        """Length of the style code that it makes; 0 for none."""
        return 0

    @property
    def maps(self) -> int:
        """Channels that it adds to the generator's input, means over instances; 0 for none."""
        return 0


DROPOUTS: dict[str, Callable[[float], nn.Module]] = {
    "element": nn.Dropout,
    "channel": nn.Dropout2d,
    "none": lambda probability: nn.Identity(),
}


def dropout_layer(kind: str, probability: float) -> nn.Module:
    """Return the dropout of that kind; at probability 0 it is the identity and draws nothing.

    Raises:
        ConfigError: no dropout has that name.
    """
    if kind not in DROPOUTS:
        raise unknown_name("dropout kind", kind, DROPOUTS)
    return DROPOUTS[kind](probability) if probability > 0 else nn.Identity()


def conv_bias(norm: str, bias: bool | None) -> bool:
    """Return whether the convolutions within a network have a bias: `bias`, or by the norm.

    A norm that shifts makes the bias before it idle, so they have one only where the norm has none
    of its own.
    """
    return norm in ("instance", "none") if bias is None else bias


def _default(weight: Tensor, gain: float, generator: torch.Generator) -> None:
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)


INITS: dict[str, Callable[[Tensor, float, torch.Generator], object]] = {
    # N(0, gain^2): Radford et al. 2015; the pix2pix family uses 0.02.
    "normal": lambda weight, gain, rng: nn.init.normal_(weight, 0.0, gain, generator=rng),
    # Glorot and Bengio 2010, equation 12 in its normal form, times gain.
    "xavier": lambda weight, gain, rng: nn.init.xavier_normal_(weight, gain, generator=rng),
    # He et al. 2015, equation 10; it fixes its own scale, so gain has no part in it.
    "kaiming": lambda weight, gain, rng: nn.init.kaiming_normal_(weight, generator=rng),
    # Saxe et al. 2013, times gain.
    "orthogonal": lambda weight, gain, rng: nn.init.orthogonal_(weight, gain, generator=rng),
    # N(0, gain^2) for weights alone: pix2pixHD leaves the biases as PyTorch draws them.
    "normal-weights": lambda weight, gain, rng: nn.init.normal_(weight, 0.0, gain, generator=rng),
    # What PyTorch itself does to convolutions; gain has no part in it.
    "default": _default,
}

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_AFFINE_NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)
_NORM_SPREAD = 0.02


@torch.no_grad()
def initialise(
    network: nn.Module, init: str = "normal", *, gain: float = 0.02, generator: torch.Generator
) -> None:
    """Draw all weights of `network` in place from `generator`, in the order of its modules.

    Convolutions get the named initialisation and biases 0; norms with a scale get N(1, 0.02^2)
    and shift 0, as the pix2pix family does. `init="default"` is PyTorch's own for all of them,
    "normal-weights" for biases.
    The global generator is neither read nor moved. `generator` lives on the network's device.

    Raises:
        ConfigError: no initialisation has that name.
    """
    if init not in INITS:
        raise unknown_name("init", init, INITS)
    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            INITS[init](module.weight, gain, generator)
            if isinstance(module, SpectralConv2d):
                module.draw_vectors(generator)
            if module.bias is not None:
                # PyTorch takes the size of the second axis for the fan of transposed ones too.
                drawn = init in ("default", "normal-weights")
                bound = 1 / math.sqrt(module.weight[0].numel()) if drawn else 0.0
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, _AFFINE_NORMS) and module.weight is not None:
            spread = 0.0 if init == "default" else _NORM_SPREAD
            nn.init.normal_(module.weight, 1.0, spread, generator=generator)
            nn.init.zeros_(module.bias)


def check_image(
    image: Tensor, *, channels: int, multiple: int = 1, smallest: int = 1, network: str, cure: str
) -> None:
    """Refuse what `network` cannot take, before any work is done.

    `image` is N x C x H x W; H and W must be multiples of `multiple` and at least `smallest`.
    `cure` ends the sentence about a size that does not fit.

    Raises:
        DataError: the number of channels or the size does not fit.
    """
    if image.ndim != 4 or image.shape[1] != channels:
        raise DataError(
            f"the {network} takes N x {channels} x H x W and was given "
            f"{' x '.join(map(str, image.shape))}: make data.channels agree with the images"
        )
    height, width = image.shape[-2:]
    if height % multiple or width % multiple:
        near = "x".join(str(max(multiple, round(s / multiple) * multiple)) for s in (width, height))
        raise DataError(
            f"the {network} cannot take {width}x{height} images, both sides must be multiples of "
            f"{multiple}: resize or crop to {near}{cure}"
        )
    if height < smallest or width < smallest:
        raise DataError(
            f"the {network} cannot take {width}x{height} images, both sides must be at least "
            f"{smallest}: use larger images{cure}"
        )


Vectors = dict[SpectralConv2d, tuple[Tensor, Tensor]]


def checkpointed(segment: nn.Module, *inputs: Tensor, enabled: bool) -> Tensor:
    """Return `segment(*inputs)`; where `enabled` its features are not kept.

    They are computed again when the backward pass needs them (Chen et al. 2016), with the same
    random numbers. Results, gradients and the state afterwards are those without: the second time
    batch norm does not count the batch again and spectral norm uses the vectors of the first.
    """
    if not (enabled and torch.is_grad_enabled()):
        return segment(*inputs)
    vectors: Vectors = {}

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return _first_pass(segment, vectors), _second_pass(segment, vectors)

    output = checkpoint(segment, *inputs, use_reentrant=False, context_fn=contexts)
    assert isinstance(output, Tensor)
    return output


@contextlib.contextmanager
def _first_pass(segment: nn.Module, vectors: Vectors) -> Iterator[None]:
    """Note the vectors that the first pass used."""
    yield
    for module in segment.modules():
        if isinstance(module, SpectralConv2d):
            vectors[module] = (module.u.clone(), module.v.clone())


@contextlib.contextmanager
def _second_pass(segment: nn.Module, vectors: Vectors) -> Iterator[None]:
    """Hold everything as the first pass left it."""
    # Batch norm is given its statistics as before, since it notes them down, and they are put back.
    statistics = [
        (buffer, buffer.clone())
        for module in segment.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        for buffer in module.buffers()
    ]
    for module, pair in vectors.items():
        module.held = pair
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in statistics:
                buffer.copy_(value)
        for module in vectors:
            module.held = None
