"""Tiny networks and batches for the training tests."""

from __future__ import annotations

import torch
from overriding import with_overrides

from limner.config import Config, resolved
from limner.objective import Objective
from limner.presets import preset
from limner.training.state import State

# Networks of a few thousand weights on pictures of 32 pixels: a step takes milliseconds.
SMALL = (
    "data.size=32",
    "data.load_size=36",
    "generator.width=4",
    "generator.depth=3",
    "discriminators.0.width=4",
    "discriminators.0.layers=1",
    "training.workers=0",
    "training.log_every=1",
)


def small(*overrides: str) -> Config:
    """Return a resolved configuration of tiny networks."""
    return resolved(with_overrides(preset("pix2pix-small"), [*SMALL, *overrides]))


COMMON = (
    "data.size=[32, 64]",
    "data.load_size=[32, 64]",
    "data.labels.classes=4",
    "data.labels.void=9",
    "data.labels.edges=true",
    "discriminators.0.width=4",
    "discriminators.0.layers=1",
    "generator.width=4",
    "objective.vgg=0",
    "training.batch_size=2",
    "training.workers=0",
    "training.log_every=1",
)
HD = ("generator.downs=2", "generator.blocks=1")
SPADE = ("generator.hidden=4",)
VAE = (
    *SPADE,
    "generator.latent=5",
    "encoder.latent=5",
    "encoder.layers=2",
    "encoder.width=4",
    "generator.norm=instance",
)
FEATURES = (*HD, "encoder={name: features, width: 4, downs: 1, features: 2}")

# Presets of label maps, and what makes each tiny.
TINY: dict[str, tuple[str, tuple[str, ...]]] = {
    "pix2pixhd-global": ("pix2pixhd-global", HD),
    "pix2pixhd": ("pix2pixhd", (*HD, "generator.width=2", "generator.local_blocks=1")),
    "pix2pixhd-small": ("pix2pixhd-small", HD),
    "pix2pixhd-features": ("pix2pixhd-global", FEATURES),
    "spade": ("spade", SPADE),
    "spade-vae": ("spade-vae", VAE),
    "spade-small": ("spade-small", SPADE),
}


def tiny(name: str, *overrides: str) -> Config:
    """Return a resolved configuration of tiny networks on label maps; `name` is a key of `TINY`."""
    base, own = TINY[name]
    return resolved(with_overrides(preset(base), [*COMMON, *own, *overrides]))


def label_batch(count: int, *, seed: int = 0, dtype: torch.dtype = torch.float32):
    """Return a batch of label maps (void 9 among them), instances and pictures, 32 x 64."""
    rng = torch.Generator().manual_seed(seed)
    source = torch.tensor([0, 1, 2, 3, 9])[torch.randint(5, (count, 4, 8), generator=rng)]
    source = source.repeat_interleave(8, 1).repeat_interleave(8, 2)
    target = (torch.rand(count, 3, 32, 64, generator=rng) * 2 - 1).to(dtype)
    return {"source": source, "instance": source * 1000 + 1, "target": target}


def batch(count: int, *, size: int = 32, seed: int = 0, dtype: torch.dtype = torch.float32):
    """Return a batch of random pictures in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    draw = lambda: (torch.rand(count, 3, size, size, generator=rng) * 2 - 1).to(dtype)  # noqa: E731
    return {"source": draw(), "target": draw()}


def objective_of(state: State) -> Objective:
    """Return the objective that a state's settings ask for."""
    return Objective(**state.config.objective.terms)
