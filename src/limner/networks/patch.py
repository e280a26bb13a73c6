"""Discriminators that judge patches: PatchGAN and PixelGAN (Isola et al. 2017, 3.2.2 and 6.1.2)."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.networks.layers import check_image, conv_bias, norm_layer

KERNELS = (4, 3, 2, 1, 5)
"""Sides of the logits' kernel that `shape_for_field` chooses from, the published one first."""


def receptive_field(layers: int, *, kernel: int = 4, last_stride: int = 1) -> int:
    """Return the side in pixels of what one logit of such a `PatchDiscriminator` sees.

    16, 34, 70, 142, 286 for 1 to 5 layers: two 4x4 convolutions of stride 1 see 7 x 7, and each
    of stride 2 before them turns a field of r into 2 (r - 1) + 4.
    """
    field = kernel + 3 if last_stride == 1 else 2 * (kernel - 1) + 4
    for _ in range(layers):
        field = 2 * (field - 1) + 4
    return field


def shape_for_field(field: int, *, last_stride: int = 1) -> tuple[int, int]:
    """Return the layers and the logits' kernel of the discriminator that sees `field` pixels.

    Raises:
        ConfigError: no discriminator sees that many; the message lists the nearest that one does.
    """
    found = {
        receptive_field(layers, kernel=kernel, last_stride=last_stride): (layers, kernel)
        for kernel in reversed(KERNELS)  # of two that see as much, the first in KERNELS stays
        for layers in range(1, 8)
    }
    if field not in found:
        near = sorted(sorted(found, key=lambda known: abs(known - field))[:4])
        raise ConfigError(
            f"no patch discriminator sees {field} pixels: choose a field of "
            f"{', '.join(str(known) for known in near[:-1])} or {near[-1]}"
        )
    return found[field]


class LayeredDiscriminator(nn.Module):
    """A chain of blocks whose every output is handed back: `[[features..., logits]]`, one scale.

    Raises:
        DataError: in `forward`, for images that are too small or have other channels.
    """

    def __init__(
        self,
        blocks: list[nn.Module],
        *,
        in_channels: int,
        smallest: int,
        cure: str,
        scale: int = 1,
    ) -> None:
        super().__init__()
        self.in_channels, self.smallest, self.cure = in_channels, smallest, cure
        self.scale = scale
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
        if self.scale > 1:
            image = F.avg_pool2d(image, self.scale)
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
    conditional); output as every discriminator's. `layers` counts the 4x4 convolutions of stride
    2; one of `last_stride` and the logits', of side `kernel`, follow. With `width=64, layers=3,
    norm="batch"` on 6 channels it is pix2pix's, of 2,768,705 parameters; with `norm="instance",
    last_stride=2` it is the study's large one (94 pixels, 2,767,809 parameters), and with
    `kernel=2` besides its small one (62 pixels, 2,761,665). `field` gives layers and kernel by
    what they see.

    The input is first averaged over squares of side `scale`, so that the field grows as many times.
    `bias` is that of the convolutions within; None gives them one where the norm has none.

    Raises:
        ConfigError: fewer than one layer, an unknown norm, or a field that cannot be had.
    """

    def __init__(
        self,
        *,
        in_channels: int = 6,
        width: int = 64,
        layers: int = 3,
        norm: str = "batch",
        bias: bool | None = None,
        kernel: int = 4,
        last_stride: int = 1,
        field: int | None = None,
        scale: int = 1,
    ) -> None:
        if field is not None:
            layers, kernel = shape_for_field(field, last_stride=last_stride)
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
            stride = 2 if level < layers else last_stride
            before, after = widths[level - 1], widths[level]
            conv = nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=has_bias)
            blocks.append(_block(conv, norm))
        logits = nn.Conv2d(widths[-1], 1, kernel, stride=1, padding=1)
        blocks.append(nn.Sequential(OrderedDict(conv=logits)))
        least = max(2, kernel - 2)  # what the logits' kernel needs, and an instance norm before it
        super().__init__(
            blocks,
            in_channels=in_channels,
            smallest=scale * 2**layers * (least + 1 if last_stride == 1 else 2 * least),
            cure=" or fewer discriminator layers",
            scale=scale,
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
