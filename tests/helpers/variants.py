"""Networks of pix2pixHD and SPADE with options of each kind, a few weights large."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from limner.networks import initialise, make_discriminator, make_encoder, make_generator
from limner.transfer import network_settings, to_project

MAKERS = {
    "generator": make_generator,
    "discriminator": make_discriminator,
    "encoder": make_encoder,
}

Variants = dict[str, tuple[str, dict[str, Any]]]
PIX2PIXHD: Variants = {
    "global": ("generator", {"ngf": 2, "n_blocks_global": 2, "input_nc": 6, "output_nc": 4}),
    "batch": ("generator", {"ngf": 2, "n_downsample_global": 1, "norm": "batch", "input_nc": 4}),
    "local": (
        "generator",
        {"netG": "local", "ngf": 2, "n_downsample_global": 2, "n_blocks_global": 1, "input_nc": 3},
    ),
    "local 2": (
        "generator",
        {
            "netG": "local",
            "ngf": 1,
            "n_downsample_global": 1,
            "n_blocks_global": 3,
            "n_local_enhancers": 2,
            "n_blocks_local": 1,
            "input_nc": 5,
            "norm": "batch",
        },
    ),
    "judge": ("discriminator", {"ndf": 2, "n_layers_D": 2, "num_D": 3, "input_nc": 9}),
    "judge in one": (
        "discriminator",
        {"ndf": 2, "n_layers_D": 4, "input_nc": 9, "getIntermFeat": False, "norm": "batch"},
    ),
    "encoder": ("encoder", {"nef": 2, "n_downsample_E": 3, "feat_num": 5}),
}
SPADE: Variants = {
    "normal": ("generator", {"ngf": 2, "semantic_nc": 5}),
    "most": ("generator", {"ngf": 2, "semantic_nc": 5, "num_upsampling_layers": "most"}),
    "instance": (
        "generator",
        {"ngf": 2, "semantic_nc": 3, "norm_G": "spectralspadeinstance3x3"},
    ),
    "plain": ("generator", {"ngf": 2, "semantic_nc": 3, "norm_G": "spadesyncbatch5x5"}),
    "vae": ("generator", {"ngf": 2, "semantic_nc": 3, "use_vae": True, "z_dim": 9}),
    "judge": ("discriminator", {"ndf": 2, "semantic_nc": 6, "num_D": 3}),
    "bare judge": (
        "discriminator",
        {"ndf": 2, "semantic_nc": 6, "n_layers_D": 3, "norm_D": "spectral"},
    ),
    "batch judge": ("discriminator", {"ndf": 2, "semantic_nc": 6, "norm_D": "spectralsync_batch"}),
    "encoder": ("encoder", {"ngf": 2}),
    "batch encoder": ("encoder", {"ngf": 2, "norm_E": "spectralsync_batch"}),
}
VARIANTS = {"pix2pixHD": PIX2PIXHD, "SPADE": SPADE}
"""For each project: role and options by a name of the tests' own."""


def drawn(project: str, variant: str) -> nn.Module:
    """Return limner's network of a variant, with random weights."""
    role, options = VARIANTS[project][variant]
    name, keywords = network_settings(project, role, **options)
    network = MAKERS[role](name, **keywords)
    initialise(network, "xavier", gain=1.0, generator=torch.Generator().manual_seed(1))
    return network


def theirs(project: str, variant: str) -> dict[str, Tensor]:
    """Return the weights of `drawn` as the project names and shapes them."""
    role, options = VARIANTS[project][variant]
    state = drawn(project, variant).state_dict()
    return to_project(state, project=project, role=role, **options)
