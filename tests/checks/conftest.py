"""What is found in a data set, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limner.checks.checking import check_data
from limner.findings import Finding

Found = Callable[..., dict[tuple[str, str | None], Finding]]


@pytest.fixture
def found() -> Found:
    """Return the findings of a data set by (name, split); keywords as `check_data` has them."""

    def check(root: Path, **given: Any) -> dict[tuple[str, str | None], Finding]:
        result = check_data(root, **given)
        every = {(finding.name, finding.split): finding for finding in result.findings}
        assert len(every) == len(result.findings), "a name stands twice for one split"
        return every

    return check
