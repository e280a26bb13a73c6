"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Small networks on busy machines: a second thread waits more than it works.
torch.set_num_threads(1)
# No test is timed: a busy machine is not a fault of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _no_kept_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the user's cache of features alone; tests of the cache switch it on for themselves."""
    monkeypatch.setenv("LIMNER_FEATURE_CACHE", "off")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data, weights and golden files; skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("../shared (real data, weights, golden files) is not beside this checkout")
    return folder
