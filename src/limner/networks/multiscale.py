"""Patch discriminators at several resolutions: pix2pixHD's (section 3.2) and SPADE's."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.networks.layers import check_image, conv_bias, norm_layer
from limner.networks.spectral import SpectralConv2d

WIDEST = 512


def halved(image: Tensor) -> Tensor:
    """Return N x C x H x W at half the resolution, odd sides rounded up.

    Each pixel is the mean of those of a 3x3 neighbourhood that lie within the image.
    """
    return F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)


class MultiscaleDiscriminator(nn.Module):
    """The same PatchGAN, with weights of its own, at `scales` resolutions, the full one first.

    Input N x in_channels x H x W (source and target side by side along the channels where it is
    conditional), H and W at least `smallest`; output `list[list[Tensor]]`: for each resolution the
    activations of every block, the logits last. Wang et al. 2018, section 3.2; Park et al. 2019,
    appendix A.

    `layers` counts the 4x4 convolutions of stride 2, as in `PatchDiscriminator`; one of stride 1
    and the logits' follow, all padded by 2. It is pix2pixHD's n_layers_D and SPADE's n_layers_D
    less 1. With 39 inputs and `layers=3, norm="instance"` it is pix2pixHD's, of 5,603,202
    parameters; with `spectral=True, bias=False` besides it is SPADE's, of 5,601,410.

    `spectral` divides the convolutions between the first and the logits' by their spectral norm.
    `bias` is that of the same convolutions; None gives them one where the norm has none.

    Raises:
        ConfigError: no layers or scales, or an unknown norm.
        DataError: in `forward`, for images that are too small or have other channels.
    """

    def __init__(
        self,
        *,
        in_channels: int = 6,
        width: int = 64,
        layers: int = 3,
        scales: int = 2,
        norm: str = "instance",
        spectral: bool = False,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        for name, count in (("layers", layers), ("scales", scales)):
            if count < 1:
                raise ConfigError(f"discriminator {name} is {count}: give at least 1")
        self.in_channels = in_channels
        self.smallest = 2 ** (layers + scales - 1)
        has_bias = conv_bias(norm, bias)
        inner = SpectralConv2d if spectral else nn.Conv2d
        widths = [min(width * 2**level, max(width, WIDEST)) for level in range(layers + 1)]

        def block(conv: nn.Conv2d, norm: str) -> nn.Sequential:
            normed = norm_layer(norm, conv.out_channels)
            activation = nn.LeakyReLU(0.2, inplace=True)
            return nn.Sequential(OrderedDict(conv=conv, norm=normed, activation=activation))

        def scale() -> nn.ModuleList:
            blocks = [block(nn.Conv2d(in_channels, width, 4, stride=2, padding=2), "none")]
            for level in range(1, layers + 1):
                stride = 2 if level < layers else 1
                before, after = widths[level - 1], widths[level]
                conv = inner(before, after, 4, stride=stride, padding=2, bias=has_bias)
                blocks.append(block(conv, norm))
            logits = nn.Conv2d(widths[-1], 1, 4, stride=1, padding=2)
            return nn.ModuleList([*blocks, nn.Sequential(OrderedDict(conv=logits))])

        self.scales = nn.ModuleList(scale() for _ in range(scales))

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        """Return the activations of every block at every resolution, the logits last."""
        check_image(
            image,
            channels=self.in_channels,
            smallest=self.smallest,
            network="discriminator",
            cure=" or fewer discriminator layers or scales",
        )
        outputs: list[list[Tensor]] = []
        for number, blocks in enumerate(self.scales):
            assert isinstance(blocks, nn.ModuleList)
            image = halved(image) if number else image
            hidden, features = image, []
            for block in blocks:
                hidden = block(hidden)
                features.append(hidden)
            outputs.append(features)
        return outputs
