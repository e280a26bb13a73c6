"""The keys of `generator` and of each of `discriminators`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from limner.config.pix2pixhd import (
    FeatureEncoderSettings,
    MultiscaleSettings,
    Pix2PixHDLocalSettings,
    Pix2PixHDSettings,
)
from limner.config.spade import SPADEEncoderSettings, SPADESettings
from limner.settings import Fraction, Gain, Init, Norm, Optimizer, PositiveInt, Rate, Section

Join = Literal["concat", "add", "multiply"]


class UNetSettings(Section):
    """The encoder-decoder with skip connections (Isola et al. 2017, section 3.2.1)."""

    name: Literal["unet"] = "unet"
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ngf)."""
    depth: Annotated[int, Field(ge=2)] | None = None
    """Number of halvings; nothing means as many as data.size allows, at most 8."""
    norm: Norm = "batch"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    dropout: Fraction = 0.5
    """Probability, in the innermost decoder levels of full width."""
    dropout_kind: Literal["element", "channel", "none"] = "element"
    """What is dropped: single values, whole channels, nothing."""
    dropout_innermost: bool = False
    """Whether dropout begins at the innermost decoder level, one further in, as in the study."""
    skips: Literal["concat", "add", "multiply", "alternating"] | tuple[Join, ...] = "concat"
    """How each level's features are joined; alternating is concat and multiply by turns. A list
    names the joins one by one, from the outermost inwards."""
    rectify_last_skip: bool = True
    """Whether the outermost skip passes the last ReLU too; in the study it does not."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""

    @property
    def multiple(self) -> int | None:
        """What the sides of pictures must be multiples of; None while depth is not known."""
        return None if self.depth is None else 2**self.depth


class ResNetSettings(Section):
    """The residual generator (Johnson et al. 2016)."""

    name: Literal["resnet"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ngf)."""
    blocks: PositiveInt = 9
    """Residual blocks: 9 for 256 pixels and more, 6 for 128."""
    norm: Norm = "instance"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    dropout: Fraction = 0.0
    """Probability, within each block."""
    dropout_kind: Literal["element", "channel", "none"] = "element"
    """What is dropped: single values, whole channels, nothing."""
    padding: Literal["reflect", "replicate", "zero"] = "reflect"
    """How convolutions see beyond the border."""
    block_padding: Literal["reflect", "replicate", "zero"] | None = None
    """The same for the residual blocks alone; None means as `padding` says."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 4


class PatchSettings(Section):
    """The n-layer PatchGAN (Isola et al. 2017, section 3.2.2)."""

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
    """What both sides of the picture are divided by before it is judged."""
    norm: Norm = "batch"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    conditional: bool = True
    """Whether it sees the source beside the picture it judges."""
    lr: Rate | None = None
    """Its learning rate before the schedule; nothing means training.discriminator_lr."""
    optimizer: Optimizer | None = None
    """Its optimiser; nothing means training.optimizer."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""

    @property
    def smallest(self) -> int:
        """The least side of a picture that it can judge; `PatchDiscriminator.smallest`."""
        least = max(2, self.kernel - 2)
        before = least + 1 if self.last_stride == 1 else 2 * least
        return self.scale * 2**self.layers * before


class PixelSettings(Section):
    """The 1 x 1 PixelGAN (Isola et al. 2017, section 4.4)."""

    name: Literal["pixel"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ndf)."""
    norm: Norm = "batch"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    conditional: bool = True
    """Whether it sees the source beside the picture it judges."""
    lr: Rate | None = None
    """Its learning rate before the schedule; nothing means training.discriminator_lr."""
    optimizer: Optimizer | None = None
    """Its optimiser; nothing means training.optimizer."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""


GeneratorSettings = Annotated[
    UNetSettings | ResNetSettings | Pix2PixHDSettings | Pix2PixHDLocalSettings | SPADESettings,
    Field(discriminator="name"),
]
DiscriminatorSettings = Annotated[
    PatchSettings | PixelSettings | MultiscaleSettings, Field(discriminator="name")
]
EncoderSettings = Annotated[
    SPADEEncoderSettings | FeatureEncoderSettings, Field(discriminator="name")
]
