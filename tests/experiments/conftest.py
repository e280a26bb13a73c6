"""Fixtures of the experiments' tests: a drawn data set, and cells trained without processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 8 training and 4 test pairs, side by side, 40 pixels."""
    root = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        (root / split).mkdir()
        for index in range(count):
            pixels = rng.integers(0, 256, (5, 10, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            Image.fromarray(pixels).save(root / split / f"{index}.png")
    return root


@pytest.fixture(autouse=True)
def _no_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
