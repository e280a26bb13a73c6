"""Discriminators that judge patches: PatchGAN and PixelGAN (Isola et al. 2017, 3.2.2 and 6.1.2)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from limner.errors import ConfigError
from limner.networks.layers import check_image, conv_bias, norm_layer


def receptive_field(layers: int) -> int:
    """Return the side in pixels of what one logit of `PatchDiscriminator(layers=layers)` sees.

    16, 34, 70, 142, 286 for 1 to 5 layers: two 4x4 convolutions of stride 1 see 7 x 7, and each
    of stride 2 before them turns a field of r into 2 (r - 1) + 4.
    """
    field = 1 + 3 + 3
    for _ in range(layers):
        field = 2 * (field - 1) + 4
    return field


class LayeredDiscriminator(nn.Module):
    """A chain of blocks whose every output is handed back: `[[features..., logits]]`, one scale.

    Raises:
        DataError: in `forward`, for images that are too small or have other channels.
    """

    def __init__(
        self, blocks: list[nn.Module], *, in_channels: int, smallest: int, cure: str
    ) -> None:
        super().__init__()
        self.in_channels, self.smallest, self.cure = in_channels, smallest, cure
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        """Return one scale: the activations after each block of `image`, the logits last."""
        check_image(
            image,
            channels=self.in_channels,
            smallest=self.smallest,
            network="discriminator",
            cure=self.cure,
        )
        outputs: list[Tensor] = []
        for block in self.blocks:
            outputs.append(block(outputs[-1] if outputs else image))
        return [outputs]


def _block(conv: nn.Conv2d, norm: str) -> nn.Sequential:
    """Return convolution, norm and LeakyReLU, in place: what is before it keeps no output."""
    return nn.Sequential(
        OrderedDict(
            conv=conv,
            norm=norm_layer(norm, conv.out_channels),
            activation=nn.LeakyReLU(0.2, inplace=True),
        )
    )


class PatchDiscriminator(LayeredDiscriminator):
    """Judge overlapping patches of `receptive_field(layers)` pixels, one logit each.

    Input N x in_channels x H x W (source and target side by side along the channels where it is
    conditional), H and W at least 3 * 2 ** layers; output as every discriminator's. `layers`
    counts the 4x4 convolutions of stride 2; one of stride 1 and the logits' follow. With `width=64,
    layers=3, norm="batch"` on 6 channels it is pix2pix's, of 2,768,705 parameters.

    `bias` is that of the convolutions within; None gives them one where the norm has none.

    Raises:
        ConfigError: fewer than one layer, or an unknown norm.
    """

    def __init__(
        self,
        *,
        in_channels: int = 6,
        width: int = 64,
        layers: int = 3,
        norm: str = "batch",
        bias: bool | None = None,
    ) -> None:
        if layers < 1:
            raise ConfigError(
                f"discriminator layers is {layers}: a PatchGAN needs at least 1; "
                "for single pixels use the discriminator 'pixel'"
            )
        has_bias = conv_bias(norm, bias)
        widths = [width * min(2**level, 8) for level in range(layers + 1)]
        first = nn.Conv2d(in_channels, width, 4, stride=2, padding=1)
        blocks: list[nn.Module] = [_block(first, "none")]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            before, after = widths[level - 1], widths[level]
            conv = nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=has_bias)
            blocks.append(_block(conv, norm))
        logits = nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1)
        blocks.append(nn.Sequential(OrderedDict(conv=logits)))
        super().__init__(
            blocks,
            in_channels=in_channels,
            smallest=3 * 2**layers,
            cure=" or fewer discriminator layers",
        )


class PixelDiscriminator(LayeredDiscriminator):
    """Judge each pixel by itself, one logit each: colours without texture.

    Input N x in_channels x H x W, output as every discriminator's, logits N x 1 x H x W. With
    `width=64, norm="batch"` on 6 channels it has 9,024 parameters.

    `bias` is that of the convolutions after the first, the logits' too; None gives them one where
    the norm has none.

    Raises:
        ConfigError: an unknown norm.
    """

    def __init__(
        self,
        *,
        in_channels: int = 6,
        width: int = 64,
        norm: str = "batch",
        bias: bool | None = None,
    ) -> None:
        has_bias = conv_bias(norm, bias)
        logits = nn.Conv2d(2 * width, 1, 1, bias=has_bias)
        super().__init__(
            [
                _block(nn.Conv2d(in_channels, width, 1), "none"),
                _block(nn.Conv2d(width, 2 * width, 1, bias=has_bias), norm),
                nn.Sequential(OrderedDict(conv=logits)),
            ],
            in_channels=in_channels,
            smallest=1,
            cure="",
        )
