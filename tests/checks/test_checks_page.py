"""docs/checks.md names every finding and tells the thresholds that the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from limner.checks.checking import CHECKS

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"


def test_thresholds_are_those_of_the_code() -> None:
    told = re.findall(r"`(\w+)\.([A-Z_]+)` = ([-\d.e]+)", PAGE.read_text(encoding="utf-8"))
    assert len(told) >= 30
    for module, name, value in told:
        assert getattr(importlib.import_module(f"limner.checks.{module}"), name) == float(value)


def test_every_name_stands_in_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    names = {name for names in CHECKS for name in names}
    assert {name for name in names if f"`{name}`" not in page} == set()
