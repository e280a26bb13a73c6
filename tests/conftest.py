"""Fixtures and rules of every test."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

# Small networks on busy machines: a second thread waits more than it works.
torch.set_num_threads(1)
# No test is timed: a busy machine is not a fault of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# The tests start about a hundred processes: compiled once, the package is there sooner in each.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A shell lets what it starts in the background ignore Ctrl-C; the tests of it must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests: where files are shared out among processes, none
    is left alone with a long one at the end.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed what weights, dropout and shuffles are drawn with: no test hangs on those before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


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
