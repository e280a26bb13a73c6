"""LPIPS 0.1: the perceptual distance of two images in the layers of a classifier.

Zhang et al. 2018 (arXiv:1801.03924), equation 1: the taps' channel vectors scaled to unit length,
the squared difference weighted by channel, averaged over positions and summed over taps.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from limner.errors import DataError, WeightsError, unknown_name
from limner.networks.vgg import AlexNetFeatures, VGGFeatures

BACKBONES = {"alex": AlexNetFeatures, "vgg": VGGFeatures}

# ImageNet's mean and deviation as they stand for images in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class LPIPS(nn.Module):
    """LPIPS 0.1 on a `backbone` of `BACKBONES`; use it in `eval()`, weights come with `load`."""

    shift: Tensor
    scale: Tensor

    def __init__(self, *, backbone: str) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise unknown_name("backbone of LPIPS", backbone, BACKBONES)
        self.net = BACKBONES[backbone]()
        self.heads = nn.ParameterList(torch.zeros(1, c, 1, 1) for c in self.net.channels)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return N distances of two N x 3 x H x W batches in [-1, 1]; differentiable.

        Raises `DataError` for images too small for the backbone (31 pixels alex, 16 vgg).
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

    def _units(self, images: Tensor) -> list[Tensor]:
        taps = self.net((images - self.shift) / self.scale)
        # 1e-10 is the published guard for positions where all channels are zero.
        return [x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10) for x in taps]

    def load(
        self,
        backbone: Mapping[str, Tensor],
        heads: Mapping[str, Tensor],
        *,
        backbone_origin: str = "the given backbone",
        heads_origin: str = "the given heads",
    ) -> None:
        """Load a backbone (torchvision's names) and heads (`linK.model.1.weight`).

        The origins name the files in the `WeightsError` raised where something does not fit.
        """
        self.net.load(backbone, origin=backbone_origin)
        for number, own in enumerate(self.heads):
            name = f"lin{number}.model.1.weight"
            if name not in heads or heads[name].shape != own.shape:
                raise WeightsError(
                    f"{heads_origin} has no {name!r} of shape {tuple(own.shape)}, so it does not "
                    f"hold the heads of LPIPS on {self.net.title}"
                )
            own.data.copy_(heads[name])
