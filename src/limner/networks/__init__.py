"""The networks: plain modules with explicit keywords, their settings, and the tables of both.

A family is a module: the classes, and beside each its settings, whose `network` is the class. A new
network is one of these and a line of a table here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from limner.errors import unknown_name
from limner.networks.encoders import (
    FeatureEncoder,
    FeatureEncoderSettings,
    SPADEEncoder,
    SPADEEncoderSettings,
)
from limner.networks.layers import (
    DROPOUTS,
    INITS,
    DiscriminatorSettings,
    EncoderSettings,
    GeneratorSettings,
    NetworkSettings,
    initialise,
)
from limner.networks.normalisation import NORMS
from limner.networks.patch import (
    MultiscaleDiscriminator,
    MultiscaleSettings,
    PatchDiscriminator,
    PatchSettings,
    PixelDiscriminator,
    PixelSettings,
    receptive_field,
)
from limner.networks.pix2pixhd import (
    GlobalGenerator,
    LocalEnhancer,
    Pix2PixHDLocalSettings,
    Pix2PixHDSettings,
)
from limner.networks.resnet import ResNet, ResNetSettings
from limner.networks.spade import SPADEGenerator, SPADESettings
from limner.networks.unet import UNet, UNetSettings, depth_for

__all__ = [
    "DISCRIMINATORS",
    "DROPOUTS",
    "ENCODERS",
    "GENERATORS",
    "INITS",
    "NORMS",
    "DiscriminatorSettings",
    "EncoderSettings",
    "FeatureEncoder",
    "FeatureEncoderSettings",
    "GeneratorSettings",
    "GlobalGenerator",
    "LocalEnhancer",
    "MultiscaleDiscriminator",
    "MultiscaleSettings",
    "PatchDiscriminator",
    "PatchSettings",
    "Pix2PixHDLocalSettings",
    "Pix2PixHDSettings",
    "PixelDiscriminator",
    "PixelSettings",
    "ResNet",
    "ResNetSettings",
    "SPADEEncoder",
    "SPADEEncoderSettings",
    "SPADEGenerator",
    "SPADESettings",
    "UNet",
    "UNetSettings",
    "count_parameters",
    "depth_for",
    "initialise",
    "make_discriminator",
    "make_encoder",
    "make_generator",
    "receptive_field",
]

GENERATORS: dict[str, type[GeneratorSettings]] = {
    "unet": UNetSettings,
    "resnet": ResNetSettings,
    "pix2pixhd": Pix2PixHDSettings,
    "pix2pixhd-local": Pix2PixHDLocalSettings,
    "spade": SPADESettings,
}

DISCRIMINATORS: dict[str, type[DiscriminatorSettings]] = {
    "patch": PatchSettings,
    "pixel": PixelSettings,
    "multiscale": MultiscaleSettings,
}

ENCODERS: dict[str, type[EncoderSettings]] = {
    "spade-encoder": SPADEEncoderSettings,
    "features": FeatureEncoderSettings,
}

Settings = TypeVar("Settings", bound=NetworkSettings)


def make_generator(name: str, **keywords: Any) -> nn.Module:
    """Return the generator of that name, built with the keywords of its class.

    N x C x H x W in [-1, 1] to the same size; `multiple` is what H and W must be divisible by.
    Its weights are PyTorch's own first ones until `initialise` draws them.

    Raises:
        ConfigError: no generator has that name.
    """
    return _looked_up("generator", name, GENERATORS).network(**keywords)


def make_discriminator(name: str, **keywords: Any) -> nn.Module:
    """Return the discriminator of that name, built with the keywords of its class.

    N x C x H x W to `list[list[Tensor]]`: scales, then layers, logits last. Its weights are
    PyTorch's own first ones until `initialise` draws them.

    Raises:
        ConfigError: no discriminator has that name.
    """
    return _looked_up("discriminator", name, DISCRIMINATORS).network(**keywords)


def make_encoder(name: str, **keywords: Any) -> nn.Module:
    """Return the encoder of that name, built with the keywords of its class.

    "spade-encoder" maps a picture N x C x H x W to mean and log variance of a style code,
    "features" a picture and its instances to further channels of the generator's input. Its
    weights are PyTorch's own first ones until `initialise` draws them.

    Raises:
        ConfigError: no encoder has that name.
    """
    return _looked_up("encoder", name, ENCODERS).network(**keywords)


def _looked_up(kind: str, name: str, table: Mapping[str, type[Settings]]) -> type[Settings]:
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters, frozen ones too, running statistics not."""
    return sum(parameter.numel() for parameter in network.parameters())
