"""Discriminators of patches: PatchGAN, PixelGAN and PatchGANs at several resolutions.

Sources: Isola et al. 2017, sections 3.2.2 and 6.1.2; Wang et al. 2018, section 3.2.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.networks.layers import (
    DiscriminatorSettings,
    Stage,
    check_image,
    conv_bias,
    in_stages,
    numbered,
)
from limner.networks.normalisation import SpectralConv2d, norm_layer
from limner.settings import Norm, PositiveInt

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
    shapes = {
        receptive_field(layers, kernel=kernel, last_stride=last_stride): (layers, kernel)
        for kernel in reversed(KERNELS)  # of two that see as much, the first in KERNELS stays
        for layers in range(1, 8)
    }
    if field not in shapes:
        near = sorted(sorted(shapes, key=lambda known: abs(known - field))[:4])
        raise ConfigError(
            f"no patch discriminator sees {field} pixels: choose a field of "
            f"{', '.join(str(known) for known in near[:-1])} or {near[-1]}"
        )
    return shapes[field]


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

    def stages(self) -> list[Stage]:
        """Return the blocks, the logits' last."""
        return in_stages("layer", *numbered("blocks", self.blocks))

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

    def stages(self) -> list[Stage]:
        """Return the blocks, each at every resolution, the logits' last."""
        names = [numbered(f"scales.{k}", blocks) for k, blocks in enumerate(self.scales)]  # pyright: ignore[reportArgumentType]
        return [Stage("layer", level) for level in zip(*names, strict=True)]

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


class PatchSettings(DiscriminatorSettings):
    """The n-layer PatchGAN (Isola et al. 2017, section 3.2.2)."""

    network: ClassVar[type[nn.Module]] = PatchDiscriminator

    name: Literal["patch"] = "patch"
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ndf)."""
    layers: PositiveInt = 3
    """Strided layers; 1 to 5 see fields of 16, 34, 70, 142 and 286 pixels."""
    field: PositiveInt | None = None
    """What one logit sees, in pixels; if given, it decides layers and kernel."""
    kernel: PositiveInt = 4
    """Side of the logits' kernel."""
    last_stride: Literal[1, 2] = 1
    """Stride of the convolution before the logits: 1 in pix2pix, 2 in the study."""
    scale: PositiveInt = 1
    """What both sides of the picture are divided by before the first layer."""
    norm: Norm = "batch"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; None means where the norm has none."""

    @property
    def smallest(self) -> int:
        """The least side of a picture that it can take; `PatchDiscriminator.smallest`."""
        least = max(2, self.kernel - 2)
        before = least + 1 if self.last_stride == 1 else 2 * least
        return self.scale * 2**self.layers * before

    def fitted(self) -> dict[str, object]:
        """Return the layers and the kernel that `field` stands for, where it is given."""
        if self.field is None:
            return {}
        layers, kernel = shape_for_field(self.field, last_stride=self.last_stride)
        return {"layers": layers, "kernel": kernel}


class PixelSettings(DiscriminatorSettings):
    """The 1 x 1 PixelGAN (Isola et al. 2017, section 4.4)."""

    network: ClassVar[type[nn.Module]] = PixelDiscriminator

    name: Literal["pixel"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ndf)."""
    norm: Norm = "batch"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; None means where the norm has none."""


class MultiscaleSettings(DiscriminatorSettings):
    """PatchGANs at several resolutions: pix2pixHD's (section 3.2) and SPADE's discriminator."""

    network: ClassVar[type[nn.Module]] = MultiscaleDiscriminator

    name: Literal["multiscale"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ndf)."""
    layers: PositiveInt = 3
    """Strided layers: pix2pixHD's n_layers_D, SPADE's less 1."""
    scales: PositiveInt = 2
    """Discriminators (num_D), each at half the resolution of the one before."""
    norm: Norm = "instance"
    """Normalisation."""
    spectral: bool = False
    """Whether inner convolutions are divided by their spectral norm, as SPADE's are."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; None means where the norm has none."""

    @property
    def smallest(self) -> int:
        """The least side of a picture that it can take; `MultiscaleDiscriminator.smallest`."""
        return 2 ** (self.layers + self.scales - 1)
