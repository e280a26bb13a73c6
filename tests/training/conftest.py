"""Fixtures of the training tests: Fabric on the CPU, a drawn data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from random_pairs import write_pairs


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
    return write_pairs(tmp_path_factory.mktemp("pairs"), train=12, val=4, test=4)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label maps (0 to 3 and 9) with instances and photos, in pix2pixHD's folders, 64 x 32."""
    root = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for kind in ("label", "inst", "img"):
            (root / f"{split}_{kind}").mkdir()
        for index in range(count):
            ids = rng.choice([0, 1, 2, 3, 9], (4, 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
            photo = rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)
            Image.fromarray(ids).save(root / f"{split}_label" / f"{index}.png")
            Image.fromarray(ids.astype(np.uint16) * 1000).save(
                root / f"{split}_inst" / f"{index}.png"
            )
            Image.fromarray(photo).save(root / f"{split}_img" / f"{index}.png")
    return root
