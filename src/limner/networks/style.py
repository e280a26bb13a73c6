"""SPADE's encoder of style (Park et al. 2019, section 3.2 and figure 14)."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from limner.networks.layers import check_image, norm_layer
from limner.networks.spectral import SpectralConv2d


class SPADEEncoder(nn.Module):
    """Tell the style of a picture: mean and log variance of a normal distribution over codes.

    A picture N x in_channels x H x W of any size, resized to a square of `side`, 4 * 2 ** layers,
    gives mean and log variance, N x latent each. With the defaults it has 10.46 million parameters.
    `spectral` divides the convolutions by their spectral norm; they have a bias only with
    `norm="none"`.

    Raises:
        ConfigError: an unknown norm.
        DataError: in `forward`, for pictures of other channels.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: int = 64,
        layers: int = 6,
        latent: int = 256,
        norm: str = "instance",
        spectral: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.latent, self.side = in_channels, latent, 4 * 2**layers
        conv = SpectralConv2d if spectral else nn.Conv2d
        widths = [in_channels, *(width * min(2**level, 8) for level in range(layers))]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    OrderedDict(
                        conv=conv(before, after, 3, stride=2, padding=1, bias=norm == "none"),
                        norm=norm_layer(norm, after),
                        activation=nn.LeakyReLU(0.2, inplace=True),
                    )
                )
                for before, after in itertools.pairwise(widths)
            )
        )
        self.mean = nn.Linear(widths[-1] * 4 * 4, latent)
        self.logvar = nn.Linear(widths[-1] * 4 * 4, latent)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the codes of `picture`."""
        check_image(picture, channels=self.in_channels, network="style encoder", cure="")
        if picture.shape[-2:] != (self.side, self.side):
            picture = F.interpolate(picture, size=(self.side, self.side), mode="bilinear")
        hidden = self.blocks(picture).flatten(1)
        return self.mean(hidden), self.logvar(hidden)
