"""SPADE's generator and encoder (Park et al. 2019, sections 3.1 and 3.2, appendix A)."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from limner.errors import ConfigError, DataError, unknown_name
from limner.networks.layers import (
    GeneratorSettings,
    Stage,
    check_image,
    checkpointed,
    in_stages,
    numbered,
)
from limner.networks.normalisation import SpectralConv2d, SyncBatchNorm2d
from limner.settings import Init, PositiveInt, Size

PLAIN_NORMS: dict[str, Callable[[int], nn.Module]] = {
    # None has a scale or a shift of its own: those come from the labels.
    "instance": nn.InstanceNorm2d,
    "batch": lambda channels: nn.BatchNorm2d(channels, affine=False),
    "sync-batch": lambda channels: SyncBatchNorm2d(channels, affine=False),
}

DOUBLINGS: dict[str, tuple[bool, ...]] = {
    # Whether the map is doubled before each block.
    "normal": (False, True, False, True, True, True, True),
    "more": (False, True, True, True, True, True, True),
    "most": (False, True, True, True, True, True, True, True),
}

WIDTHS = (16, 16, 16, 16, 8, 4, 2, 1, 0.5)
"""Channels before and after each block, in units of `width`."""


def conv_layer(spectral: bool) -> type[nn.Conv2d]:
    """Return the kind of convolution, divided by its spectral norm or not."""
    return SpectralConv2d if spectral else nn.Conv2d


class SPADE(nn.Module):
    """Normalise, then scale and shift every pixel by what the labels there say (equation 1).

    Features N x channels x h x w and labels N x label_channels x H x W give N x channels x h x w:
    (1 + gamma) * normalised + beta, where two convolutions make gamma and beta of the labels,
    resized to h x w by the nearest. `norm` is a name in PLAIN_NORMS.

    Raises:
        ConfigError: an unknown norm.
    """

    def __init__(
        self,
        channels: int,
        label_channels: int,
        *,
        norm: str = "sync-batch",
        hidden: int = 128,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        if norm not in PLAIN_NORMS:
            raise unknown_name("norm", norm, PLAIN_NORMS)

        def conv(before: int, after: int) -> nn.Conv2d:
            return nn.Conv2d(before, after, kernel, padding=kernel // 2)

        self.norm = PLAIN_NORMS[norm](channels)
        first = conv(label_channels, hidden)
        self.shared = nn.Sequential(OrderedDict(conv=first, relu=nn.ReLU(inplace=True)))
        self.gamma = conv(hidden, channels)
        self.beta = conv(hidden, channels)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return `features`, normalised and modulated by `labels`."""
        shared = self.shared(resized(labels, features.shape[-2:]))
        return self.norm(features) * (1 + self.gamma(shared)) + self.beta(shared)


def resized(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return N x C x H x W of `size`, each pixel that of the nearest: labels stay labels."""
    return labels if labels.shape[-2:] == size else F.interpolate(labels, size=size, mode="nearest")


class SPADEBlock(nn.Module):
    """A residual block whose norms the labels modulate (figure 4, left).

    N x before x h x w to N x after x h x w; the shortcut is a convolution where the two differ.
    """

    def __init__(
        self,
        before: int,
        after: int,
        label_channels: int,
        *,
        norm: str,
        spectral: bool,
        hidden: int,
        kernel: int,
    ) -> None:
        super().__init__()
        middle = min(before, after)
        conv = conv_layer(spectral)

        def modulated(channels: int) -> SPADE:
            return SPADE(channels, label_channels, norm=norm, hidden=hidden, kernel=kernel)

        self.norm1, self.norm2 = modulated(before), modulated(middle)
        self.conv1 = conv(before, middle, 3, padding=1)
        self.conv2 = conv(middle, after, 3, padding=1)
        self.activation = nn.LeakyReLU(0.2, inplace=True)
        self.shortcut = nn.ModuleDict()
        if before != after:
            self.shortcut["norm"] = modulated(before)
            self.shortcut["conv"] = conv(before, after, 1, bias=False)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return what the block makes of `features` where the labels are `labels`."""
        labels = resized(labels, features.shape[-2:])
        hidden = self.conv1(self.activation(self.norm1(features, labels)))
        hidden = self.conv2(self.activation(self.norm2(hidden, labels)))
        if self.shortcut:
            features = self.shortcut["conv"](self.shortcut["norm"](features, labels))
        return features + hidden


class SPADEGenerator(nn.Module):
    """Grow a picture from a small map, its labels modulating every block.

    Input N x in_channels x H x W (labels as 0 and 1, edges), output N x out_channels x H x W in
    [-1, 1]; H and W are multiples of `multiple`: 32, 64 or 128 for `upsampling` normal, more or
    most. Each doubles the first map once more; the last has a block more, too.

    With `latent=0` the first map is made of the labels, resized. With `latent` > 0 it is made of
    a style code z, N x latent, drawn from a standard normal where none is given; `size`
    (height, width) is that of the pictures to which its map belongs (for pictures of another size
    the map is resized). `norm` is a name in PLAIN_NORMS, `spectral` divides the blocks'
    convolutions by their spectral norm, `hidden` and `kernel` are those of the modulation.
    `activation_checkpointing` trades time for memory and changes no result. With the defaults and
    184, 151 or 36 inputs it has 97.5, 96.5 or 93.0 million parameters (COCO, ADE20K, Cityscapes).

    Raises:
        ConfigError: an unknown norm or upsampling; a latent code without a size that divides.
        DataError: in `forward`, for labels of the wrong size or number of channels, or codes of
            another shape.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 64,
        upsampling: str = "normal",
        norm: str = "sync-batch",
        spectral: bool = True,
        hidden: int = 128,
        kernel: int = 3,
        latent: int = 0,
        size: tuple[int, int] | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if upsampling not in DOUBLINGS:
            raise unknown_name("upsampling", upsampling, DOUBLINGS)
        self.doublings = DOUBLINGS[upsampling]
        self.multiple = 2 ** sum(self.doublings)
        self.in_channels, self.out_channels, self.latent = in_channels, out_channels, latent
        self.activation_checkpointing = activation_checkpointing
        widths = [int(width * share) for share in WIDTHS[: len(self.doublings) + 1]]
        if latent:
            if size is None or any(side % self.multiple or side < 1 for side in size):
                raise ConfigError(
                    f"generator.size is {size}: with a latent code it must be given, and both "
                    f"sides be multiples of {self.multiple}"
                )
            self.start_size = (size[0] // self.multiple, size[1] // self.multiple)
            self.start = nn.Linear(latent, widths[0] * self.start_size[0] * self.start_size[1])
        else:
            self.start_size = None
            self.start = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            SPADEBlock(
                before,
                after,
                in_channels,
                norm=norm,
                spectral=spectral,
                hidden=hidden,
                kernel=kernel,
            )
            for before, after in itertools.pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
        self.placed: tuple[tuple[int, int, int, int], tuple[int, int]] | None = None
        """Where labels are a window of larger ones: its top, left, bottom and right, and the
        height and width of the whole. A style code then begins that part of the whole's map."""

    def stages(self) -> list[Stage]:
        """Return the first map, the blocks and the last layer: there is nothing but a decoder."""
        return in_stages("decoder", "start", *numbered("blocks", self.blocks), "last")

    def forward(self, source: Tensor, z: Tensor | None = None) -> Tensor:
        """Make the picture of the labels `source`, in the style of `z` (N x latent)."""
        check_image(
            source,
            channels=self.in_channels,
            multiple=self.multiple,
            network="SPADE generator",
            cure=", or choose generator.upsampling=normal",
        )
        hidden = self._first_map(source, z)
        for doubled, block in zip(self.doublings, self.blocks, strict=True):
            if doubled:
                hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
            hidden = checkpointed(block, hidden, source, enabled=self.activation_checkpointing)
        return torch.tanh(self.last(F.leaky_relu(hidden, 0.2)))

    def _first_map(self, source: Tensor, z: Tensor | None) -> Tensor:
        size = (source.shape[-2] // self.multiple, source.shape[-1] // self.multiple)
        if self.start_size is None:
            if z is not None:
                raise DataError("this generator takes no style code: set generator.latent")
            return self.start(resized(source, size))
        if z is None:
            z = torch.randn(len(source), self.latent, device=source.device, dtype=source.dtype)
        if z.shape != (len(source), self.latent):
            raise DataError(
                f"the style code is {' x '.join(map(str, z.shape))}: give {len(source)} x "
                f"{self.latent}"
            )
        # Not `unflatten`, for which ONNX has no operator.
        hidden = self.start(z).reshape(z.shape[0], -1, *self.start_size)
        if self.placed is not None:
            window, whole = ([side // self.multiple for side in sides] for sides in self.placed)
            hidden = _part_of_resized(hidden, whole[0], window[0], window[2], dim=-2)
            return _part_of_resized(hidden, whole[1], window[1], window[3], dim=-1)
        if size == self.start_size:
            return hidden
        return F.interpolate(hidden, size=size, mode="bilinear")


def _part_of_resized(features: Tensor, length: int, begin: int, end: int, *, dim: int) -> Tensor:
    """Resize one side of features to `length`, bilinearly, and return begin to end alone."""
    own = features.shape[dim]
    places = (torch.arange(begin, end, device=features.device) + 0.5) * (own / length) - 0.5
    places = places.clamp(0, own - 1)
    below = places.floor().long()
    share = (places - below).to(features.dtype)
    share = share[:, None] if dim == -2 else share
    above = (below + 1).clamp(max=own - 1)
    low, high = features.index_select(dim, below), features.index_select(dim, above)
    return low * (1 - share) + high * share


class SPADESettings(GeneratorSettings):
    """Spatially-adaptive normalisation (Park et al. 2019): labels modulate every layer."""

    network: ClassVar[type[nn.Module]] = SPADEGenerator

    name: Literal["spade"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the last layers (ngf); the first ones have 16 times as many."""
    upsampling: Literal["normal", "more", "most"] = "normal"
    """How often the first map is doubled: 5, 6 or 7 times; sides must be multiples of 2 ** that."""
    norm: Literal["sync-batch", "batch", "instance"] = "sync-batch"
    """What is modulated; sync-batch takes its statistics over all processes."""
    spectral: bool = True
    """Whether the blocks' convolutions are divided by their spectral norm."""
    hidden: PositiveInt = 128
    """Filters between labels and modulation."""
    kernel: Literal[1, 3, 5, 7] = 3
    """Side of the modulation's convolutions."""
    latent: Annotated[int, Field(ge=0)] = 0
    """Length of the style code (256 with an encoder); 0 begins from the label map instead."""
    size: Size | None = None
    """Pictures' height and width that a style code begins; None means data.size."""
    activation_checkpointing: bool = False
    """Keep fewer features for the backward pass and compute them again: less memory, more time."""
    init: Init = "xavier"
    """Initialisation of the weights; default is PyTorch's own."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 2 ** sum(DOUBLINGS[self.upsampling])

    @property
    def code(self) -> int:
        """Length of the style code that it takes; 0 for none."""
        return self.latent

    @property
    def normalised(self) -> Literal["picture", "batch"]:
        """Over what its first map is normalised."""
        return "picture" if self.norm == "instance" else "batch"

    def fitted(self, size: tuple[int, int]) -> dict[str, object]:
        """Return the pictures' size that a style code begins, where it is left open."""
        return {} if self.size is not None else {"size": list(size)}
