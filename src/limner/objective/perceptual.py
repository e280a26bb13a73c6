"""The perceptual loss as a training uses it: a fixed VGG with its weights, found beforehand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from limner.losses import perceptual
from limner.networks.pretrained import find, read
from limner.networks.vgg import VGGFeatures, imagenet_normalised

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
        inputs: a key of `INPUTS`.
        context: made for each forward pass; mixed precision's, where it is used.
    """

    network: nn.Module
    weights: tuple[float, ...]
    inputs: str = "raw"
    context: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext

    def __call__(self, fake: Tensor, real: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of N x 3 x H x W pictures in [-1, 1] against the real ones.

        `weight`, N x 1 x H x W, tells how much each pixel counts; None for all alike.
        """
        prepare = INPUTS[self.inputs]
        with self.context():
            features = self.network(prepare(fake))
            with torch.no_grad():
                real_features = self.network(prepare(real))
        return perceptual(features, real_features, self.weights, weight)


def make_perceptual(
    *,
    network: str = "vgg19",
    taps: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    tap_weights: Sequence[float] = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0),
    inputs: str = "raw",
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    context: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> Perceptual:
    """Return the perceptual loss on a classifier whose weights are found, or fetched.

    Args:
        network: vgg16 or vgg19.
        taps, tap_weights: its layers that are compared, and how much each counts.
        inputs: a key of `INPUTS`.
        weights: a file or folder to look for the classifier's weights in first.
        device, dtype, context: where and in what precision it is computed.

    Raises:
        WeightsError: the classifier's weights are missing or damaged.
    """
    path = find(network, weights=weights)
    classifier = VGGFeatures(depth=int(network[3:]), taps=taps)
    classifier.load(read(path), origin=str(path))
    classifier.to(device, dtype).requires_grad_(False).eval()
    return Perceptual(classifier, tuple(tap_weights), inputs, context)
