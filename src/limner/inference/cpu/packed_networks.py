"""A generator packed: its convolutions laid out, its maps channels-last, its norms to match.

A U-Net is regrouped before. The ReLU before a decoder's convolution acts on the skip and on the
decoder's features. Where the two are concatenated it is the same to rectify each and write it to
its part of the joined maps: the features' rectifier then belongs to the convolution before, and
neither joining nor rectifying reads the joined maps again.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.inference.cpu.packed_convolutions import PackedConv, PackedDoubling, packed
from limner.inference.folding import CONVOLUTIONS, DROPOUTS, replace
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


class RepeatableDropout(nn.Module):
    """Dropout that draws as on maps that are not channels-last, so that the same values fall."""

    def __init__(self, dropout: nn.modules.dropout._DropoutNd) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with values, or channels, dropped."""
        dropped = self.dropout(x.contiguous())
        return dropped.contiguous(memory_format=torch.channels_last)


class PictureNorm(nn.Module):
    """Instance norm on channels-last maps, which PyTorch's own would turn round and back.

    In float32 the variance is that of centred values, as exact as PyTorch's; in fewer bits the
    group norm of one channel a group is exact enough, and one call.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        channels = norm.num_features
        self.register_buffer(
            "weight", norm.weight.detach() if norm.affine else torch.ones(channels)
        )
        self.register_buffer("bias", norm.bias.detach() if norm.affine else torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised, each channel of each picture by itself."""
        if x.dtype != torch.float32:
            return F.group_norm(x, x.shape[1], self.weight, self.bias, self.eps)
        pixels = x.permute(0, 2, 3, 1)
        centred = pixels - pixels.mean((1, 2), keepdim=True)
        variance = centred.square().mean((1, 2), keepdim=True)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias, centred, scale).permute(0, 3, 1, 2)


class Packed(nn.Module):
    """A simplified generator, packed; float32 in and out whatever it computes in."""

    anchor: Tensor

    def __init__(self, network: nn.Module, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if isinstance(network, UNet):
            network = RegroupedUNet(network)
        replace(network, CONVOLUTIONS, lambda conv: packed(conv, dtype=dtype))
        replace(network, DROPOUTS, RepeatableDropout)
        for stage in network.modules():
            if isinstance(stage, nn.Sequential):
                _fuse(stage)
        replace(network, nn.InstanceNorm2d, PictureNorm)
        network.to(dtype)
        for module in network.modules():
            if isinstance(module, NORMS):
                module.float()  # sums over pictures want more bits than the pictures
        self.network = network
        self.dtype = dtype
        self.register_buffer("anchor", torch.zeros(()))

    def forward(self, image: Tensor, *codes: Tensor) -> Tensor:
        """Translate `image`, N x in_channels x H x W."""
        image = image.to(self.dtype, memory_format=torch.channels_last)
        picture = self.network(image, *(one.to(self.dtype) for one in codes))
        return picture.float().contiguous()


NORMS = (PictureNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def _after(rectifier: nn.Module) -> tuple[str, list[float]] | None:
    """Return what oneDNN calls an activation, and its numbers; None for anything else."""
    if isinstance(rectifier, nn.LeakyReLU):
        return "leaky_relu", [rectifier.negative_slope]
    return next((kind for at, kind in _SIMPLE.items() if isinstance(rectifier, at)), None)


_SIMPLE: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.Tanh: ("tanh", []),
}


def _fuse(stage: nn.Sequential) -> None:
    """Let each convolution of a sequence do what is right after it, where nothing is between."""
    conv: PackedConv | None = None
    for name, module in list(stage._modules.items()):
        if isinstance(module, PackedConv | PackedDoubling):
            conv = module.conv if isinstance(module, PackedDoubling) else module
        elif module is not None and conv is not None and (after := _after(module)):
            conv.after, conv = after, None
            stage._modules[name] = nn.Identity()
        elif not isinstance(module, nn.Identity):
            conv = None
