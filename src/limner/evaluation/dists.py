"""DISTS: how alike two images are in structure and texture, in the layers of VGG16.

Ding et al. 2020 (arXiv:2004.07728): the channels' means (texture) and covariances (structure) of
the image itself and of five layers, compared as in SSIM with learnt weights; VGG16's maximum pools
are replaced by l2 pools, which let no frequencies fold back.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import DataError, WeightsError
from limner.networks.vgg import VGGFeatures, imagenet_normalised

CHANNELS = (3, 64, 128, 256, 512, 512)
# The guards of equations 6 and 7.
_C1 = _C2 = 1e-6


class DISTS(nn.Module):
    """DISTS with the published weights; use it in `eval()`, weights come with `load`."""

    alpha: Tensor
    beta: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = VGGFeatures(depth=16)
        self.register_buffer("alpha", torch.zeros(sum(CHANNELS)))
        self.register_buffer("beta", torch.zeros(sum(CHANNELS)))
        hanning = torch.tensor([0.5, 1.0, 0.5])  # five points less the two zeros at the ends
        window = hanning[:, None] * hanning
        self.register_buffer("window", window / window.sum())

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return N distances (0: alike) of two N x 3 x H x W batches in [0, 1]; differentiable.

        Raises `DataError` for images below 16 pixels.
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

    def _layers(self, images: Tensor) -> list[Tensor]:
        found = [images]
        x = imagenet_normalised(images)
        for layer in self.net.features:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
                x = self._l2_pooled(x)
            else:
                x = layer(x)
        return [*found, x]

    def _l2_pooled(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.window.expand(channels, 1, 3, 3)
        mean = F.conv2d(x.square(), kernel, stride=2, padding=1, groups=channels)
        return (mean + 1e-12).sqrt()

    def load(
        self,
        backbone: Mapping[str, Tensor],
        heads: Mapping[str, Tensor],
        *,
        backbone_origin: str = "the given backbone",
        heads_origin: str = "the given heads",
    ) -> None:
        """Load VGG16 (torchvision's names) and the learnt `alpha` and `beta`.

        The origins name the files in the `WeightsError` raised where something does not fit.
        """
        self.net.load(backbone, origin=backbone_origin)
        for name in ("alpha", "beta"):
            if name not in heads or heads[name].numel() != sum(CHANNELS):
                raise WeightsError(
                    f"{heads_origin} has no {name!r} of {sum(CHANNELS)} numbers, so it does not "
                    "hold the weights of DISTS"
                )
            getattr(self, name).copy_(heads[name].flatten())
