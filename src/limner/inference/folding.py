"""A generator in its plainest form: the same pictures with fewer operations.

In evaluation a batch norm with running statistics is a scale and a shift a channel, so it goes
into the weights and the bias of the convolution before it (in float64, rounded once); a spectral
norm is a constant. A batch norm with a picture's own statistics is an instance norm, so that
pictures may share a batch. Instance and group norms depend on the picture: they stay.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from limner.networks.normalisation import SpectralConv2d

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
BATCH_NORMS = nn.modules.batchnorm._BatchNorm
DROPOUTS = nn.modules.dropout._DropoutNd


def simplified(network: nn.Module, *, statistics: str, dropout: bool) -> nn.Module:
    """Return a frozen copy of a generator that makes the same pictures up to rounding.

    It stays in the mode in which pictures are made: `eval()` and `train()` change no result but
    that of dropout. N x C x H x W in and out, as before.

    Args:
        network: any generator; it is not changed.
        statistics: "running" for batch norm's statistics of training, "batch" for each picture's
            own (in a batch of several too, where batch norm itself would mix them).
        dropout: whether dropout is live; its modules are then in training mode, otherwise gone.
    """
    # Autograd's inference tensors cannot be copied from within inference mode and used outside.
    with torch.inference_mode(False), torch.no_grad():
        plain = copy.deepcopy(network).eval().requires_grad_(False)
        replace(plain, SpectralConv2d, _divided)
        if statistics == "batch":
            replace(plain, BATCH_NORMS, _of_one_picture)
        else:
            for module in plain.modules():
                if isinstance(module, nn.Sequential):
                    _fold(module)
        replace(plain, DROPOUTS, lambda module: module.train() if dropout else nn.Identity())
    return plain


def replace(network: nn.Module, kinds: Any, make: Callable[[Any], nn.Module]) -> None:
    """Put `make(module)` in the place of each module of `kinds` within `network`."""
    for name, module in list(network.named_modules()):
        if name and isinstance(module, kinds):
            network.set_submodule(name, make(module))


def _divided(conv: SpectralConv2d) -> nn.Conv2d:
    """Return a plain convolution with W / sigma for its weights."""
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # pyright: ignore[reportArgumentType]
        stride=conv.stride,  # pyright: ignore[reportArgumentType]
        padding=conv.padding,  # pyright: ignore[reportArgumentType]
        padding_mode=conv.padding_mode,  # pyright: ignore[reportArgumentType]
        bias=conv.bias is not None,
    )
    plain.weight = nn.Parameter(conv.normalised_weight(), requires_grad=False)
    plain.bias = conv.bias
    return plain.eval()


def _of_one_picture(norm: nn.BatchNorm2d) -> nn.InstanceNorm2d:
    """Return batch norm with the statistics of each picture of the batch by itself."""
    alone = nn.InstanceNorm2d(norm.num_features, eps=norm.eps, affine=norm.affine)
    if norm.affine:
        alone.weight, alone.bias = norm.weight, norm.bias
    return alone.eval()


def _fold(stage: nn.Sequential) -> None:
    """Fold each batch norm of a sequence into the convolution right before it."""
    names = list(stage._modules)
    for before, name in itertools.pairwise(names):
        conv, norm = stage._modules[before], stage._modules[name]
        if isinstance(conv, CONVOLUTIONS) and isinstance(norm, BATCH_NORMS):
            fold_pair(conv, norm)
            stage._modules[name] = nn.Identity()


def fold_pair(conv: nn.Conv2d | nn.ConvTranspose2d, norm: Any) -> None:
    """Give `conv` the weights and the bias of `norm` after it: y = (x - mean) * scale + shift."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    bias: Tensor = -norm.running_mean.double()
    if conv.bias is not None:
        bias = bias + conv.bias.double()
    bias = bias * scale
    if norm.affine:
        bias = bias + norm.bias.double()
    # Output channels are the second axis of a transposed convolution (without groups).
    across = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    kind = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * scale.reshape(across)).to(kind), False)
    conv.bias = nn.Parameter(bias.to(kind), requires_grad=False)
