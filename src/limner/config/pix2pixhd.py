"""The keys of pix2pixHD's networks: two generators, a discriminator, an encoder."""

from __future__ import annotations

from typing import Literal

from limner.settings import Gain, Init, Norm, Optimizer, PositiveInt, Rate, Section


class Pix2PixHDSettings(Section):
    """The global generator (Wang et al. 2018, section 3.1), whole by itself up to about 1024."""

    name: Literal["pix2pixhd"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ngf)."""
    downs: PositiveInt = 4
    """Halvings; sides must be multiples of 2 ** downs."""
    blocks: PositiveInt = 9
    """Residual blocks."""
    norm: Norm = "instance"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    padding: Literal["reflect", "replicate", "zero"] = "reflect"
    """How convolutions see beyond the border."""
    checkpointing: bool = False
    """Keep fewer features for the backward pass and compute them again: less memory, more time."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 2**self.downs


class Pix2PixHDLocalSettings(Section):
    """The global generator within local enhancers, each of twice the resolution (section 3.1)."""

    name: Literal["pix2pixhd-local"]
    """The network."""
    width: PositiveInt = 32
    """Filters of the outermost enhancer (ngf); the global part has width * 2 ** enhancers."""
    downs: PositiveInt = 4
    """Halvings of the global part; sides must be multiples of 2 ** (downs + enhancers)."""
    blocks: PositiveInt = 9
    """Residual blocks of the global part."""
    enhancers: PositiveInt = 1
    """Local enhancers."""
    local_blocks: PositiveInt = 3
    """Residual blocks of each enhancer."""
    norm: Norm = "instance"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    padding: Literal["reflect", "replicate", "zero"] = "reflect"
    """How convolutions see beyond the border."""
    checkpointing: bool = False
    """Keep fewer features for the backward pass and compute them again: less memory, more time."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 2 ** (self.downs + self.enhancers)


class MultiscaleSettings(Section):
    """PatchGANs at several resolutions: pix2pixHD's (section 3.2) and SPADE's discriminator."""

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


class FeatureEncoderSettings(Section):
    """Features of the target, averaged over each instance, as further input (section 3.4)."""

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
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""
