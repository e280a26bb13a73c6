"""The residual generator (Johnson et al. 2016; CycleGAN, Zhu et al. 2017, appendix 7.2)."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal

from torch import Tensor, nn

from limner.errors import unknown_name
from limner.networks.layers import (
    GeneratorSettings,
    Stage,
    check_image,
    conv_bias,
    dropout_layer,
    in_stages,
    numbered,
)
from limner.networks.normalisation import norm_layer
from limner.settings import Fraction, Norm, PositiveInt

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]

PADDINGS: dict[str, PaddingMode] = {"reflect": "reflect", "replicate": "replicate", "zero": "zeros"}
"""How convolutions see beyond the border, and PyTorch's word for it."""


def _stage(conv: nn.Conv2d | nn.ConvTranspose2d, norm: str) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(conv=conv, norm=norm_layer(norm, conv.out_channels), relu=nn.ReLU(inplace=True))
    )


def first_stage(
    into: int, out: int, *, norm: str, padding: PaddingMode, bias: bool
) -> nn.Sequential:
    """Return a 7x7 convolution that keeps the size."""
    return _stage(nn.Conv2d(into, out, 7, padding=3, padding_mode=padding, bias=bias), norm)


def down_stage(channels: int, *, norm: str, bias: bool) -> nn.Sequential:
    """Return what halves the size and doubles `channels`."""
    return _stage(nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=bias), norm)


def up_stage(channels: int, *, norm: str, bias: bool) -> nn.Sequential:
    """Return what doubles the size and brings twice `channels` down to `channels`."""
    conv = nn.ConvTranspose2d(
        2 * channels, channels, 3, stride=2, padding=1, output_padding=1, bias=bias
    )
    return _stage(conv, norm)


def last_stage(into: int, out: int, *, padding: PaddingMode) -> nn.Sequential:
    """Return a 7x7 convolution and tanh."""
    conv = nn.Conv2d(into, out, 7, padding=3, padding_mode=padding)
    return nn.Sequential(OrderedDict(conv=conv, tanh=nn.Tanh()))


def padding_mode(padding: str) -> PaddingMode:
    """Return PyTorch's word for the padding of that name."""
    if padding not in PADDINGS:
        raise unknown_name("padding", padding, PADDINGS)
    return PADDINGS[padding]


class ResidualBlock(nn.Module):
    """Add to N x C x H x W what two 3x3 convolutions make of it; H and W at least 2."""

    def __init__(
        self, channels: int, *, norm: str, dropout: nn.Module, padding: PaddingMode, bias: bool
    ) -> None:
        super().__init__()

        def conv() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, padding=1, padding_mode=padding, bias=bias)

        self.body = nn.Sequential(
            OrderedDict(
                conv1=conv(),
                norm1=norm_layer(norm, channels),
                relu=nn.ReLU(inplace=True),
                dropout=dropout,
                conv2=conv(),
                norm2=norm_layer(norm, channels),
            )
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Return `hidden` plus its residual."""
        return hidden + self.body(hidden)


class ResNet(nn.Module):
    """Halve twice, pass `blocks` residual blocks, double twice.

    Input N x in_channels x H x W, output N x out_channels x H x W in [-1, 1]; H and W are
    multiples of `multiple`, 4, and at least 8. Dropout sits within each block. With `width=64,
    norm="instance"` and 9 or 6 blocks it has 11,378,179 or 7,837,699 parameters and computes what
    pytorch-CycleGAN-and-pix2pix's resnet_9blocks and resnet_6blocks compute.

    `padding` (a name in PADDINGS) is that of the 7x7 convolutions and of the blocks, which
    `block_padding` gives another; `bias` is that of the convolutions
    within, None gives them one where the norm has none.

    Raises:
        ConfigError: an unknown norm, dropout or padding.
        DataError: in `forward`, for images of the wrong size or number of channels.
    """

    multiple = 4
    smallest = 8

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 64,
        blocks: int = 9,
        norm: str = "instance",
        dropout: float = 0.0,
        dropout_kind: str = "element",
        padding: str = "reflect",
        block_padding: str | None = None,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        mode = padding_mode(padding)
        inner = mode if block_padding is None else padding_mode(block_padding)
        self.in_channels, self.out_channels = in_channels, out_channels
        has_bias = conv_bias(norm, bias)
        widths = (width, 2 * width)
        self.first = first_stage(in_channels, width, norm=norm, padding=mode, bias=has_bias)
        self.downs = nn.Sequential(*(down_stage(c, norm=norm, bias=has_bias) for c in widths))
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(
                    4 * width,
                    norm=norm,
                    dropout=dropout_layer(dropout_kind, dropout),
                    padding=inner,
                    bias=has_bias,
                )
                for _ in range(blocks)
            )
        )
        self.ups = nn.Sequential(*(up_stage(c, norm=norm, bias=has_bias) for c in reversed(widths)))
        self.last = last_stage(width, out_channels, padding=mode)

    def stages(self) -> list[Stage]:
        """Return what halves, the residual blocks, what doubles."""
        return [
            *in_stages("encoder", "first", *numbered("downs", self.downs)),
            *in_stages("blocks", *numbered("blocks", self.blocks)),
            *in_stages("decoder", *numbered("ups", self.ups), "last"),
        ]

    def forward(self, image: Tensor) -> Tensor:
        """Translate `image`, N x in_channels x H x W."""
        check_image(
            image,
            channels=self.in_channels,
            multiple=self.multiple,
            smallest=self.smallest,
            network="ResNet",
            cure="",
        )
        return self.last(self.ups(self.blocks(self.downs(self.first(image)))))


class ResNetSettings(GeneratorSettings):
    """The residual generator (Johnson et al. 2016)."""

    network: ClassVar[type[nn.Module]] = ResNet

    name: Literal["resnet"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ngf)."""
    blocks: PositiveInt = 9
    """Residual blocks: 9 for 256 pixels and more, 6 for 128."""
    norm: Norm = "instance"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; None means where the norm has none."""
    dropout: Fraction = 0.0
    """Probability, within each block."""
    dropout_kind: Literal["element", "channel", "none"] = "element"
    """What is dropped: single values, whole channels, nothing."""
    padding: Literal["reflect", "replicate", "zero"] = "reflect"
    """How convolutions see beyond the border."""
    block_padding: Literal["reflect", "replicate", "zero"] | None = None
    """The same for the residual blocks alone; None means as `padding` says."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 4
