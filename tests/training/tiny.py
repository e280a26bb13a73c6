"""Tiny networks and batches for the training tests."""

from __future__ import annotations

import torch

from limner.config import Config, with_overrides
from limner.presets import preset
from limner.training.state import resolved

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


def batch(count: int, *, size: int = 32, seed: int = 0, dtype: torch.dtype = torch.float32):
    """Return a batch of random pictures in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    draw = lambda: (torch.rand(count, 3, size, size, generator=rng) * 2 - 1).to(dtype)  # noqa: E731
    return {"source": draw(), "target": draw()}
