"""Encoders of a picture's style: SPADE's codes, pix2pixHD's features of instances."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import DataError
from limner.networks.layers import EncoderSettings, check_image, conv_bias
from limner.networks.normalisation import norm_layer
from limner.networks.pix2pixhd import Trunk, smallest_side
from limner.networks.resnet import last_stage, padding_mode
from limner.networks.spade import conv_layer
from limner.settings import Init, Norm, PositiveInt


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
        conv = conv_layer(spectral)
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


def instance_mean(features: Tensor, instance: Tensor) -> Tensor:
    """Give every pixel the mean of `features` over the pixels of its picture's same instance.

    `features` is N x F x H x W, `instance` N x H x W of any integer ids; ids that occur in several
    pictures are apart.

    Raises:
        DataError: the shapes do not belong together.
    """
    count, channels, height, width = features.shape
    if instance.shape != (count, height, width):
        raise DataError(
            f"instance ids of shape {tuple(instance.shape)} do not belong to features of "
            f"{tuple(features.shape)}: give N x H x W"
        )
    ids, dense = torch.unique(instance, return_inverse=True)
    picture = torch.arange(count, device=instance.device)[:, None, None]
    group = (picture * len(ids) + dense).flatten()
    groups = count * len(ids)
    pixels = features.movedim(1, -1).reshape(-1, channels)
    sums = pixels.new_zeros(groups, channels).index_add(0, group, pixels)
    sizes = torch.bincount(group, minlength=groups).clamp(min=1)
    means = sums / sizes[:, None]
    return means[group].reshape(count, height, width, channels).movedim(-1, 1)


class FeatureEncoder(Trunk):
    """Features in [-1, 1] of a picture, the same over each instance: what it looks like, in short.

    A picture N x in_channels x H x W and its instances N x H x W give N x features x H x W, to be
    put beside the labels as further channels of the generator's input. H and W are multiples of
    `multiple`, 2 ** downs. With `width=16, features=3, downs=4` it has 788,803 parameters.

    `bias` is that of the convolutions within; None gives them one where the norm has none.

    Raises:
        ConfigError: an unknown norm.
        DataError: in `forward`, for pictures of the wrong size or instances of another.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: int = 16,
        features: int = 3,
        downs: int = 4,
        norm: str = "instance",
        bias: bool | None = None,
    ) -> None:
        mode = padding_mode("reflect")
        super().__init__(
            in_channels=in_channels,
            width=width,
            downs=downs,
            blocks=0,
            norm=norm,
            padding=mode,
            bias=conv_bias(norm, bias),
            activation_checkpointing=False,
        )
        self.in_channels = in_channels
        self.multiple = 2**downs
        self.smallest = smallest_side(self.multiple)
        self.last = last_stage(width, features, padding=mode)

    def forward(self, picture: Tensor, instance: Tensor) -> Tensor:
        """Return the features of `picture`, averaged over each of its instances."""
        check_image(
            picture,
            channels=self.in_channels,
            multiple=self.multiple,
            smallest=self.smallest,
            network="feature encoder",
            cure=", or lower encoder.downs",
        )
        return instance_mean(self.last(self.features(picture)), instance)


class SPADEEncoderSettings(EncoderSettings):
    """The style of a picture as a normal distribution over codes (Park et al. 2019, section 3)."""

    network: ClassVar[type[nn.Module]] = SPADEEncoder

    name: Literal["spade-encoder"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ngf)."""
    layers: PositiveInt = 6
    """Strided layers; pictures are resized to squares of 4 * 2 ** layers pixels, 256 for 6."""
    latent: PositiveInt = 256
    """Length of the style code, the same as generator.latent."""
    norm: Norm = "instance"
    """Normalisation."""
    spectral: bool = True
    """Whether convolutions are divided by their spectral norm."""
    init: Init = "xavier"
    """Initialisation of the weights; default is PyTorch's own."""

    @property
    def code(self) -> int:
        """Length of the style code that it makes."""
        return self.latent


class FeatureEncoderSettings(EncoderSettings):
    """Features of the target, averaged over each instance, as further input (section 3.4)."""

    network: ClassVar[type[nn.Module]] = FeatureEncoder

    name: Literal["features"]
    """The network."""
    width: PositiveInt = 16
    """Filters of the first layer (nef)."""
    features: PositiveInt = 3
    """Channels that it adds to the generator's input (feat_num)."""
    downs: PositiveInt = 4
    """Halvings; sides must be multiples of 2 ** downs."""
    norm: Norm = "instance"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; None means where the norm has none."""
    init: Init = "normal-weights"
    """Initialisation of the weights; biases are PyTorch's own, as pix2pixHD leaves them."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 2**self.downs

    @property
    def maps(self) -> int:
        """Channels that it adds to the generator's input, means over instances."""
        return self.features
