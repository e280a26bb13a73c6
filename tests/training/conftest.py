"""Fixtures of the training tests: a small configuration, a drawn data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image

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


@pytest.fixture(scope="session")
def fabric() -> Fabric:
    """One process on the CPU in full precision."""
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


@pytest.fixture
def exact() -> Iterator[Fabric]:
    """One process on the CPU in double precision throughout, where equal means equal to 1e-9."""
    # Fabric hands outputs over in the default type.
    torch.set_default_dtype(torch.float64)
    yield Fabric(accelerator="cpu", devices=1, precision="64-true")
    torch.set_default_dtype(torch.float32)


def small(*overrides: str) -> Config:
    """Return a resolved configuration of tiny networks."""
    return resolved(with_overrides(preset("pix2pix-small"), [*SMALL, *overrides]))


def batch(count: int, *, size: int = 32, seed: int = 0, dtype: torch.dtype = torch.float32):
    """Return a batch of random pictures in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    draw = lambda: (torch.rand(count, 3, size, size, generator=rng) * 2 - 1).to(dtype)  # noqa: E731
    return {"source": draw(), "target": draw()}


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 12 training and 4 validation and test pairs, side by side, 40 pixels."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        (root / split).mkdir()
        for index in range(count):
            pixels = rng.integers(0, 256, (5, 10, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            Image.fromarray(pixels).save(root / split / f"{index}.png")
    return root
