"""Perceptual distances of two images in the layers of a classifier: LPIPS 0.1 and DISTS.

LPIPS, Zhang et al. 2018 (arXiv:1801.03924), equation 1: the taps' channel vectors scaled to unit
length, the squared difference weighted by channel, averaged over positions and summed over taps.

DISTS, Ding et al. 2020 (arXiv:2004.07728): the channels' means (texture) and covariances
(structure) of the image itself and of five layers of VGG16, compared as in SSIM with learnt
weights; VGG16's maximum pools are replaced by l2 pools, which let no frequencies fold back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import DataError, WeightsError, unknown_name
from limner.networks.vgg import AlexNetFeatures, VGGFeatures, imagenet_normalised


class PerceptualDistance(nn.Module, ABC):
    """A network that compares pictures: a classifier's layers, and learnt weights for them.

    Use it in `eval()`; its weights come with `load`.
    """

    def __init__(self, net: AlexNetFeatures | VGGFeatures) -> None:
        super().__init__()
        self.net = net

    def load(
        self,
        backbone: Mapping[str, Tensor],
        heads: Mapping[str, Tensor],
        *,
        backbone_origin: str = "the given backbone",
        heads_origin: str = "the given heads",
    ) -> None:
        """Load the classifier (torchvision's names) and the learnt weights, as published.

        Args:
            backbone, heads: the two state dicts.
            backbone_origin, heads_origin: what messages call them, such as their files.

        Raises:
            WeightsError: one of them does not fit.
        """
        self.net.load(backbone, origin=backbone_origin)
        self._load_heads(heads, heads_origin)

    @abstractmethod
    def _load_heads(self, heads: Mapping[str, Tensor], origin: str) -> None: ...

    @abstractmethod
    def compare_bytes(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return N distances of two uint8 batches N x 3 x H x W."""


BACKBONES = {"alex": AlexNetFeatures, "vgg": VGGFeatures}

# ImageNet's mean and deviation as they stand for images in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class LPIPS(PerceptualDistance):
    """LPIPS 0.1 on a `backbone` of `BACKBONES`, with heads named `linK.model.1.weight`.

    Raises:
        ConfigError: an unknown backbone.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, *, backbone: str) -> None:
        if backbone not in BACKBONES:
            raise unknown_name("backbone of LPIPS", backbone, BACKBONES)
        super().__init__(BACKBONES[backbone]())
        self.heads = nn.ParameterList(torch.zeros(1, c, 1, 1) for c in self.net.channels)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return N distances of two N x 3 x H x W batches in [-1, 1]; differentiable.

        Raises:
            DataError: images too small for the backbone (31 pixels alex, 16 vgg).
        """
        height, width = real.shape[-2:]
        least = self.net.minimum_size
        if min(height, width) < least:
            raise DataError(
                f"LPIPS on {self.net.title} needs images of at least {least}x{least} pixels, not "
                f"{width}x{height}: leave it out or measure larger images"
            )
        pairs = zip(self._units(real), self._units(fake), self.heads, strict=True)
        parts = [((a - b).square() * head).sum(dim=1).mean(dim=(1, 2)) for a, b, head in pairs]
        return torch.stack(parts).sum(dim=0)

    def compare_bytes(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return N distances of two uint8 batches N x 3 x H x W."""
        return self(real.float() / 127.5 - 1, fake.float() / 127.5 - 1)

    def _units(self, images: Tensor) -> list[Tensor]:
        taps = self.net((images - self.shift) / self.scale)
        # 1e-10 is the published guard for positions where all channels are zero.
        return [x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10) for x in taps]

    def _load_heads(self, heads: Mapping[str, Tensor], origin: str) -> None:
        for number, own in enumerate(self.heads):
            name = f"lin{number}.model.1.weight"
            if name not in heads or heads[name].shape != own.shape:
                raise WeightsError(
                    f"{origin} has no {name!r} of shape {tuple(own.shape)}, so it does not "
                    f"hold the heads of LPIPS on {self.net.title}"
                )
            own.data.copy_(heads[name])


CHANNELS = (3, 64, 128, 256, 512, 512)
# The guards of equations 6 and 7 of DISTS.
_C1 = _C2 = 1e-6


class DISTS(PerceptualDistance):
    """DISTS on VGG16, whose learnt weights are `alpha` and `beta`."""

    alpha: Tensor
    beta: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__(VGGFeatures(depth=16))
        self.register_buffer("alpha", torch.zeros(sum(CHANNELS)))
        self.register_buffer("beta", torch.zeros(sum(CHANNELS)))
        hanning = torch.tensor([0.5, 1.0, 0.5])  # five points less the two zeros at the ends
        window = hanning[:, None] * hanning
        self.register_buffer("window", window / window.sum())

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return N distances (0: alike) of two N x 3 x H x W batches in [0, 1]; differentiable.

        Raises:
            DataError: images below 16 pixels.
        """
        height, width = real.shape[-2:]
        if min(height, width) < self.net.minimum_size:
            raise DataError(
                f"dists needs images of at least 16x16 pixels, not {width}x{height}: leave it out"
            )
        total = (self.alpha + self.beta).sum()
        alpha, beta = ((w / total).split(CHANNELS) for w in (self.alpha, self.beta))
        alike = torch.zeros(len(real), device=real.device)
        for a, b, texture, structure in zip(
            self._layers(real), self._layers(fake), alpha, beta, strict=True
        ):
            mean_a, mean_b = a.mean(dim=(2, 3)), b.mean(dim=(2, 3))
            da, db = a - mean_a[:, :, None, None], b - mean_b[:, :, None, None]
            covariance = (da * db).mean(dim=(2, 3))
            spread = da.square().mean(dim=(2, 3)) + db.square().mean(dim=(2, 3))
            s1 = (2 * mean_a * mean_b + _C1) / (mean_a.square() + mean_b.square() + _C1)
            s2 = (2 * covariance + _C2) / (spread + _C2)
            alike = alike + s1 @ texture + s2 @ structure
        return 1 - alike

    def compare_bytes(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return N distances of two uint8 batches N x 3 x H x W."""
        return self(real.float() / 255, fake.float() / 255)

    def _layers(self, images: Tensor) -> list[Tensor]:
        layers = [images]
        x = imagenet_normalised(images)
        for layer in self.net.features:
            if isinstance(layer, nn.MaxPool2d):
                layers.append(x)
                x = self._l2_pooled(x)
            else:
                x = layer(x)
        return [*layers, x]

    def _l2_pooled(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.window.expand(channels, 1, 3, 3)
        mean = F.conv2d(x.square(), kernel, stride=2, padding=1, groups=channels)
        return (mean + 1e-12).sqrt()

    def _load_heads(self, heads: Mapping[str, Tensor], origin: str) -> None:
        for name in ("alpha", "beta"):
            if name not in heads or heads[name].numel() != sum(CHANNELS):
                raise WeightsError(
                    f"{origin} has no {name!r} of {sum(CHANNELS)} numbers, so it does not "
                    "hold the weights of DISTS"
                )
            getattr(self, name).copy_(heads[name].flatten())
