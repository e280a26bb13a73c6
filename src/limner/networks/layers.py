"""What the networks are made of: norms, dropouts, initialisations, and the check of their input."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from limner.errors import DataError, unknown_name
from limner.networks.batchnorm import BatchNorm2d, SyncBatchNorm2d
from limner.networks.spectral import SpectralConv2d


def _group_norm(channels: int) -> nn.Module:
    """Return a group norm whose group count divides `channels`.

    At most 32 groups (the default of Wu and He 2018), each of at least 8 channels where there are
    that many: groups of one channel would be instance norm under another name.
    """
    groups = max(
        count
        for count in range(1, 33)
        if channels % count == 0 and (count == 1 or channels // count >= 8)
    )
    return nn.GroupNorm(groups, channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    # Ioffe and Szegedy 2015: scale, shift and running statistics.
    "batch": BatchNorm2d,
    # The same, with the statistics of all processes' batches.
    "sync-batch": SyncBatchNorm2d,
    # Ulyanov et al. 2016, without scale, shift or statistics: the form of the pix2pix family.
    "instance": nn.InstanceNorm2d,
    "instance-affine": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "group": _group_norm,
    "none": lambda channels: nn.Identity(),
}

DROPOUTS: dict[str, Callable[[float], nn.Module]] = {
    "element": nn.Dropout,
    "channel": nn.Dropout2d,
    "none": lambda probability: nn.Identity(),
}


def norm_layer(name: str, channels: int) -> nn.Module:
    """Return the norm of that name for N x `channels` x H x W.

    Raises:
        ConfigError: no norm has that name.
    """
    if name not in NORMS:
        raise unknown_name("norm", name, NORMS)
    return NORMS[name](channels)


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
    and shift 0, as the pix2pix family does. `init="default"` is PyTorch's own for all of them.
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
                bound = 1 / math.sqrt(module.weight[0].numel()) if init == "default" else 0.0
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
