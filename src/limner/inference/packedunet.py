"""A U-Net regrouped for packing: rectifiers behind convolutions, joins without a pass of their own.

The ReLU before a decoder's convolution acts on the skip and on the decoder's features. Where the
two are concatenated it is the same to rectify each and write it to its part of the joined maps: the
features' rectifier then belongs to the convolution before, and neither joining nor rectifying reads
the joined maps again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.inference.packedconv import PackedDoubling
from limner.networks import UNet
from limner.networks.layers import check_image
from limner.networks.unet import JOINS


class RegroupedUNet(nn.Module):
    """What a simplified U-Net computes, N x in_channels x H x W in and float32 pictures out.

    Its convolutions are still to be packed. `downs` and `ups` are sequences of a convolution, its
    norm, dropout and the rectifier that comes next, as far as nothing comes between.
    """

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.in_channels, self.out_channels = network.in_channels, network.out_channels
        self.multiple = network.multiple
        *downs, innermost = network.downs
        self.downs = nn.ModuleList([_sequence(down, network.activation) for down in downs])
        self.innermost = _sequence(innermost, nn.ReLU(inplace=True))
        # Joins, and whether their result is rectified, from the innermost join outwards.
        self.joins = list(reversed(network.skips))
        self.rectified = [True] * len(self.joins)
        self.rectified[-1] = isinstance(network.before_last_join, nn.Identity)
        self.ups = nn.ModuleList()
        for number, up in enumerate(network.ups[:-1]):
            early = self.joins[number] == "concat" or not self.rectified[number]
            after = nn.ReLU(inplace=True) if early else nn.Identity()
            self.ups.append(_sequence(up, after)[1:])  # its own rectifier is behind what it gets
        self.last = _sequence(network.ups[-1], nn.Identity())[1]

    def forward(self, image: Tensor) -> Tensor:
        """Translate `image`, N x in_channels x H x W, channels-last."""
        check_image(
            image, channels=self.in_channels, multiple=self.multiple, network="U-Net", cure=""
        )
        skips: list[Tensor] = []
        hidden = image
        for down in self.downs:
            hidden = down(hidden)
            skips.append(hidden)
        hidden = self.innermost(hidden)
        for up, join, rectified in zip(self.ups, self.joins, self.rectified, strict=True):
            skip = skips.pop()
            if join == "concat":
                hidden = _concatenated(skip, hidden, up, rectified=rectified)
            else:
                hidden = JOINS[join].join(skip, up(hidden))
                if rectified:
                    hidden = hidden.relu_()
        picture = image.new_empty(
            (len(image), self.out_channels, *image.shape[-2:]), dtype=torch.float32
        )
        assert isinstance(self.last, PackedDoubling)
        return self.last(hidden, into=picture).tanh_()


def _sequence(stage: nn.Module, after: nn.Module) -> nn.Sequential:
    assert isinstance(stage, nn.Sequential)
    return nn.Sequential(*stage, after)


def _concatenated(skip: Tensor, hidden: Tensor, up: nn.Module, *, rectified: bool) -> Tensor:
    """Return the skip, `rectified` or not, and what `up` makes of `hidden`, beside each other."""
    assert isinstance(up, nn.Sequential)
    conv, *after = up
    assert isinstance(conv, PackedDoubling)
    count, own, height, width = skip.shape
    joined = torch.empty(
        (count, own + conv.channels, height, width),
        dtype=skip.dtype,
        device=skip.device,
        memory_format=torch.channels_last,
    )
    if rectified:
        torch.clamp_min(skip, 0, out=joined[:, :own])
    else:
        joined[:, :own] = skip
    after = [module for module in after if not isinstance(module, nn.Identity)]
    if not after:
        conv(hidden, into=joined[:, own:])
        return joined
    hidden = conv(hidden)
    for module in after:
        hidden = module(hidden)
    joined[:, own:] = hidden
    return joined
