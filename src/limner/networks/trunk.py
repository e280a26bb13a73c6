"""What pix2pixHD's generators and encoder share: stages, and a residual network of them."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from limner.errors import unknown_name
from limner.networks.layers import norm_layer
from limner.networks.recomputing import run
from limner.networks.resnet import PADDINGS, PaddingMode, ResidualBlock


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


def residual_blocks(
    channels: int, count: int, *, norm: str, padding: PaddingMode, bias: bool
) -> nn.Sequential:
    """Return `count` residual blocks."""
    blocks = (
        ResidualBlock(channels, norm=norm, dropout=nn.Identity(), padding=padding, bias=bias)
        for _ in range(count)
    )
    return nn.Sequential(*blocks)


def last_stage(into: int, out: int, *, padding: PaddingMode) -> nn.Sequential:
    """Return a 7x7 convolution and tanh."""
    conv = nn.Conv2d(into, out, 7, padding=3, padding_mode=padding)
    return nn.Sequential(OrderedDict(conv=conv, tanh=nn.Tanh()))


def padding_mode(padding: str) -> PaddingMode:
    """Return PyTorch's word for the padding of that name."""
    if padding not in PADDINGS:
        raise unknown_name("padding", padding, PADDINGS)
    return PADDINGS[padding]


def smallest_side(multiple: int) -> int:
    """Sides that leave two pixels to reflect and to normalise, and 7x7 kernels four."""
    return max(4, 2 * multiple)


class Trunk(nn.Module):
    """Halve `downs` times, pass the blocks, double as often: to N x width x H x W features."""

    def __init__(
        self,
        *,
        in_channels: int,
        width: int,
        downs: int,
        blocks: int,
        norm: str,
        padding: PaddingMode,
        bias: bool,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        widths = [width * 2**level for level in range(downs)]
        inside = width * 2**downs
        self.first = first_stage(in_channels, width, norm=norm, padding=padding, bias=bias)
        self.downs = nn.Sequential(*(down_stage(c, norm=norm, bias=bias) for c in widths))
        self.blocks = residual_blocks(inside, blocks, norm=norm, padding=padding, bias=bias)
        self.ups = nn.Sequential(*(up_stage(c, norm=norm, bias=bias) for c in reversed(widths)))

    def features(self, image: Tensor) -> Tensor:
        """Return N x width x H x W."""
        hidden = image
        for stage in (self.first, *self.downs, *self.blocks, *self.ups):
            hidden = run(stage, hidden, checkpointing=self.checkpointing)
        return hidden
