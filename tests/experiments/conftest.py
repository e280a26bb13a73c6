"""Fixtures of the experiments' tests: a drawn data set, and cells trained without processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_pairs import write_pairs


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 8 training and 4 test pairs, side by side, 40 pixels."""
    return write_pairs(tmp_path_factory.mktemp("drawn"), train=8, test=4)


@pytest.fixture(autouse=True)
def _no_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
