"""A generator packed: its convolutions laid out, its maps channels-last, its norms to match."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.inference.folding import CONVOLUTIONS, DROPOUTS, replace
from limner.inference.packedconv import PackedConv, PackedDoubling, packed
from limner.inference.packedunet import RegroupedUNet
from limner.networks import UNet


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

    def forward(self, image: Tensor, *told: Tensor) -> Tensor:
        """Translate `image`, N x in_channels x H x W."""
        image = image.to(self.dtype, memory_format=torch.channels_last)
        picture = self.network(image, *(one.to(self.dtype) for one in told))
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
