"""Imported networks against what their own projects computed: whatever ../shared/golden lists."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from limner.transfer import PROJECTS

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = importlib.util.spec_from_file_location("parity", ROOT / "scripts" / "golden_parity.py")
assert SCRIPT is not None
assert SCRIPT.loader is not None
parity = importlib.util.module_from_spec(SCRIPT)
SCRIPT.loader.exec_module(parity)

FOLDER = ROOT / "../shared/golden"
ENTRIES = parity.entries(FOLDER)


@pytest.mark.skipif(not ENTRIES, reason="../shared/golden is not beside this checkout")
@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["name"] for entry in ENTRIES])
def test_imports_compute_what_the_reference_computed(entry: dict[str, Any]) -> None:
    if entry["source"] not in PROJECTS:
        pytest.skip(f"{entry['source']} cannot be imported yet")
    largest, parameters = parity.compare(FOLDER, entry)
    assert largest <= 1e-5
    assert parameters == entry["params"]
