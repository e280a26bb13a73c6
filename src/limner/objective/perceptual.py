"""The perceptual loss as a training uses it: a fixed VGG with its weights, found beforehand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from limner.config import ObjectiveSettings
from limner.losses import perceptual
from limner.networks.vgg import VGGFeatures, imagenet_normalised
from limner.networks.weights import find, read

# What the classifier is given of pictures in [-1, 1].
INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    # As pix2pixHD and SPADE have it, whose losses were tuned with it.
    "raw": lambda pictures: pictures,
    # As the classifier was trained.
    "imagenet": lambda pictures: imagenet_normalised((pictures + 1) / 2),
}


@dataclass(frozen=True)
class Perceptual:
    """Compares pictures by the features of a fixed classifier: see `losses.perceptual`.

    Attributes:
        network: maps N x 3 x H x W to a list of features.
        weights: one for each of them.
        given: a key of `INPUTS`.
        context: made for each forward pass; mixed precision's, where it is used.
    """

    network: nn.Module
    weights: tuple[float, ...]
    given: str = "raw"
    context: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext

    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return the loss of N x 3 x H x W pictures in [-1, 1] against the real ones."""
        prepare = INPUTS[self.given]
        with self.context():
            features = self.network(prepare(fake))
            with torch.no_grad():
                wanted = self.network(prepare(real))
        return perceptual(features, wanted, self.weights)


def make_perceptual(
    settings: ObjectiveSettings,
    *,
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    context: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> Perceptual | None:
    """Return the perceptual loss that the settings ask for, or nothing where its weight is 0.

    Raises:
        WeightsError: the classifier's weights are missing or damaged.
    """
    if not settings.vgg:
        return None
    path = find(settings.vgg_network, weights=weights)
    network = VGGFeatures(depth=int(settings.vgg_network[3:]), taps=settings.vgg_taps)
    network.load(read(path), origin=str(path))
    network.to(device, dtype).requires_grad_(False).eval()
    return Perceptual(network, settings.vgg_weights, settings.vgg_input, context)
