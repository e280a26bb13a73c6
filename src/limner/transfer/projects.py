"""The projects whose networks can be taken over, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from limner.errors import unknown_name
from limner.networks import make_discriminator, make_encoder, make_generator
from limner.transfer import junyanz, pix2pixhd, spade
from limner.transfer.detecting import detect_pix2pixhd, detect_spade
from limner.transfer.options import Options


@dataclass(frozen=True)
class Project:
    """What must be known of a project, as functions of a role and of options in its own words."""

    complete: Callable[[str, Options], Options]
    """Check the options given and add the project's defaults."""
    settings: Callable[[str, Options], tuple[str, Options]]
    """The name and keywords of our network for a complete set of options."""
    module_names: Callable[[str, Options], dict[str, str]]
    """Its name of every layer with weights, and ours."""
    leftovers: Callable[[str, Options], frozenset[str]]
    """What old files carry beside the weights, to be dropped."""
    detect: Callable[[dict[str, Tensor]], tuple[str, Options] | None]
    """The role and the options that a state dict shows."""
    run_settings: Callable[[Options, Options, Options | None], Options]
    """Dotted keys of a run around the generator of these options and of our keywords, and around
    the encoder of our keywords."""
    preset: str
    """The preset whose losses and training a run of it begins with."""
    encoder_preset: str = ""
    """The same for a run with an encoder."""
    asked_by_encoder: Callable[[Options], Options] | None = None
    """What an encoder of these options makes true of its generator; None where there are none."""
    leaves: dict[str, str] = field(default_factory=dict)
    """What it calls a tensor of a layer under spectral norm, and we."""


PROJECTS: dict[str, Project] = {
    "junyanz": Project(
        junyanz.complete,
        junyanz.settings,
        junyanz.module_names,
        junyanz.leftovers,
        junyanz.detect,
        junyanz.run_settings,
        "pix2pix",
    ),
    "pix2pixHD": Project(
        pix2pixhd.complete,
        pix2pixhd.settings,
        pix2pixhd.module_names,
        pix2pixhd.leftovers,
        detect_pix2pixhd,
        pix2pixhd.run_settings,
        "pix2pixhd-global",
        "pix2pixhd-global",
        pix2pixhd.asked_by_encoder,
    ),
    "SPADE": Project(
        spade.complete,
        spade.settings,
        spade.module_names,
        spade.leftovers,
        detect_spade,
        spade.run_settings,
        "spade",
        "spade-vae",
        spade.asked_by_encoder,
        spade.LEAVES,
    ),
}

MAKERS = {
    "generator": make_generator,
    "discriminator": make_discriminator,
    "encoder": make_encoder,
}


def find(name: str) -> Project:
    """Return the project of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PROJECTS:
        raise unknown_name("project", name, PROJECTS)
    return PROJECTS[name]
