"""Look before training: what is measured of a data set, and what is found wrong with it.

Here stands what checks and splits return. What works them out (`checking`, `splitting`,
`before_training`) needs SciPy, half a second's import, and is imported when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.findings import Finding

Advancing = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Shows a bar: given what is done and how many there are, it gives what to call for each."""


@dataclass(frozen=True)
class CheckResult:
    """What was found: worst first; `splits` tells pairs and independent images of each split.

    `tones` are the mean histograms of brightness of each side of each split, `classes` the shares
    of the pixels that each class has in a split.
    """

    data: str
    splits: Mapping[str, Mapping[str, float]]
    findings: tuple[Finding, ...]
    seconds: float
    tones: Mapping[str, list[float]] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings with which training would fail, or its figures be wrong."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def to_json(self) -> dict[str, Any]:
        """The result as `limner check --json` prints it."""
        return {
            "data": self.data,
            "splits": {name: dict(facts) for name, facts in self.splits.items()},
            "findings": [finding.to_json() for finding in self.findings],
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True)
class SplitResult:
    """What was written: how many pairs and units (sets that stay together) each part has."""

    file: Path
    pairs: Mapping[str, int]
    units: Mapping[str, int]
    left_out: int
