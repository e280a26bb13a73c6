"""The keys of SPADE's generator and of its encoder; its discriminator is `multiscale`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from limner.settings import Gain, Init, Norm, PositiveInt, Section, Size

UPSAMPLINGS = {"normal": 5, "more": 6, "most": 7}


class SPADESettings(Section):
    """Spatially-adaptive normalisation (Park et al. 2019): labels modulate every layer."""

    name: Literal["spade"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the last layers (ngf); the first ones have 16 times as many."""
    upsampling: Literal["normal", "more", "most"] = "normal"
    """How often the first map is doubled: 5, 6 or 7 times; sides must be multiples of 2 ** that."""
    norm: Literal["sync-batch", "batch", "instance"] = "sync-batch"
    """What is modulated; sync-batch takes its statistics over all processes."""
    spectral: bool = True
    """Whether the blocks' convolutions are divided by their spectral norm."""
    hidden: PositiveInt = 128
    """Filters between labels and modulation."""
    kernel: Literal[1, 3, 5, 7] = 3
    """Side of the modulation's convolutions."""
    latent: Annotated[int, Field(ge=0)] = 0
    """Length of the style code (256 with an encoder); 0 begins from the label map instead."""
    size: Size | None = None
    """Pictures' height and width that a style code begins; nothing means data.size."""
    checkpointing: bool = False
    """Keep fewer features for the backward pass and compute them again: less memory, more time."""
    init: Init = "xavier"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 2 ** UPSAMPLINGS[self.upsampling]


class SPADEEncoderSettings(Section):
    """The style of a picture as a normal distribution over codes (Park et al. 2019, section 3)."""

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
    init_gain: Gain = 0.02
    """Standard deviation for normal, gain for the others."""
