"""Fixtures of the training tests: Fabric on the CPU, a drawn data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image


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
