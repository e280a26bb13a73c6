"""The networks: plain modules with explicit keywords, and the three tables that name them."""

from __future__ import annotations

from typing import Any

from torch import nn

from limner.errors import unknown_name
from limner.networks.features import FeatureEncoder
from limner.networks.layers import DROPOUTS, INITS, NORMS, initialise
from limner.networks.multiscale import MultiscaleDiscriminator
from limner.networks.patch import PatchDiscriminator, PixelDiscriminator, receptive_field
from limner.networks.pix2pixhd import GlobalGenerator, LocalEnhancer
from limner.networks.resnet import ResNet
from limner.networks.spade import SPADEGenerator
from limner.networks.style import SPADEEncoder
from limner.networks.unet import UNet, depth_for

__all__ = [
    "DISCRIMINATORS",
    "DROPOUTS",
    "ENCODERS",
    "GENERATORS",
    "INITS",
    "NORMS",
    "Discriminator",
    "Encoder",
    "FeatureEncoder",
    "Generator",
    "GlobalGenerator",
    "LocalEnhancer",
    "MultiscaleDiscriminator",
    "PatchDiscriminator",
    "PixelDiscriminator",
    "ResNet",
    "SPADEEncoder",
    "SPADEGenerator",
    "UNet",
    "count_parameters",
    "depth_for",
    "initialise",
    "make_discriminator",
    "make_encoder",
    "make_generator",
    "receptive_field",
]

Generator = UNet | ResNet | GlobalGenerator | LocalEnhancer | SPADEGenerator
Discriminator = PatchDiscriminator | PixelDiscriminator | MultiscaleDiscriminator
Encoder = SPADEEncoder | FeatureEncoder

GENERATORS: dict[str, type[Generator]] = {
    "unet": UNet,
    "resnet": ResNet,
    "pix2pixhd": GlobalGenerator,
    "pix2pixhd-local": LocalEnhancer,
    "spade": SPADEGenerator,
}

DISCRIMINATORS: dict[str, type[Discriminator]] = {
    "patch": PatchDiscriminator,
    "pixel": PixelDiscriminator,
    "multiscale": MultiscaleDiscriminator,
}

ENCODERS: dict[str, type[Encoder]] = {"spade-encoder": SPADEEncoder, "features": FeatureEncoder}


def make_generator(name: str, **keywords: Any) -> Generator:
    """Return the generator of that name, built with the keywords of its class.

    N x C x H x W in [-1, 1] to the same size; `multiple` is what H and W must be divisible by.
    Its weights are PyTorch's own first ones until `initialise` draws them.

    Raises:
        ConfigError: no generator has that name.
    """
    if name not in GENERATORS:
        raise unknown_name("generator", name, GENERATORS)
    return GENERATORS[name](**keywords)


def make_discriminator(name: str, **keywords: Any) -> Discriminator:
    """Return the discriminator of that name, built with the keywords of its class.

    N x C x H x W to `list[list[Tensor]]`: scales, then layers, logits last. Its weights are
    PyTorch's own first ones until `initialise` draws them.

    Raises:
        ConfigError: no discriminator has that name.
    """
    if name not in DISCRIMINATORS:
        raise unknown_name("discriminator", name, DISCRIMINATORS)
    return DISCRIMINATORS[name](**keywords)


def make_encoder(name: str, **keywords: Any) -> Encoder:
    """Return the encoder of that name, built with the keywords of its class.

    "spade-encoder" maps a picture N x C x H x W to mean and log variance of a style code,
    "features" a picture and its instances to further channels of the generator's input. Its
    weights are PyTorch's own first ones until `initialise` draws them.

    Raises:
        ConfigError: no encoder has that name.
    """
    if name not in ENCODERS:
        raise unknown_name("encoder", name, ENCODERS)
    return ENCODERS[name](**keywords)


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters, frozen ones too, running statistics not."""
    return sum(parameter.numel() for parameter in network.parameters())
