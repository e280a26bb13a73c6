"""pix2pixHD's encoder of instances' features (Wang et al. 2018, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.errors import DataError
from limner.networks.layers import check_image, conv_bias
from limner.networks.trunk import Trunk, last_stage, padding_mode, smallest_side


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
            checkpointing=False,
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
