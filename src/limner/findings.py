"""What an instrument says: `check`, `diagnose` and `shift` speak in one form, people and programs
read it.

    {"name": "misaligned", "severity": "warning", "split": "train", "files": [...], "pairs": [...],
     "evidence": {...}, "items": [{"files": [...], "evidence": {...}}], "message": ..., "cure": ...}

The names are a contract: fields may be added, none changes. How a page draws them is `reporting`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from limner.errors import printable

Severity: TypeAlias = Literal["error", "warning", "note"]
# From worst to mildest: `error` where training fails or its figures would be wrong, `warning`
# where quality suffers; a `note` is never an alarm.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
Evidence: TypeAlias = Mapping[str, float | int | str | bool]


def milder(severity: Severity) -> Severity:
    """One step milder, as a weak case is: an error becomes a warning, a warning a note."""
    return SEVERITIES[min(SEVERITIES.index(severity) + 1, len(SEVERITIES) - 1)]


@dataclass(frozen=True)
class Item:
    """What was measured of one of the offenders: its files, relative to the data's folder."""

    files: tuple[str, ...]
    evidence: Evidence = field(default_factory=dict)


@dataclass(frozen=True)
class Remedy:
    """A change that should help: settings as `--set` takes them, and when they take effect.

    Args:
        set: `("training.discriminator_lr=1e-4",)`; empty where no setting alone helps.
        applies: "running" where a training takes it without starting again, else "restart".
        why: one sentence.
    """

    set: tuple[str, ...]
    applies: Literal["running", "restart"]
    why: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that an instrument has to say of a data set or a run.

    Args:
        name: one of the names that the instrument's page documents.
        severity: see `SEVERITIES`.
        message: one sentence: what is so, with its figures.
        cure: one sentence with the command or the key that helps.
        split: the split it is of; of a leak the held-out one; None where there is none.
        files: all offending files, relative to the data's folder.
        pairs: files that belong together, where the finding is a relation; the held-out one first.
        evidence: numbers, strings and booleans by name. What is not finite is written as null.
        items: what was measured for each offender.
        remedies: in the order in which to try them; None where the instrument proposes none.
    """

    name: str
    severity: Severity
    message: str
    cure: str
    split: str | None = None
    files: Sequence[str] = ()
    pairs: Sequence[tuple[str, str]] = ()
    evidence: Evidence = field(default_factory=dict)
    items: Sequence[Item] = ()
    remedies: Sequence[Remedy] | None = None

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity is one of {', '.join(SEVERITIES)}, not {self.severity!r}")

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON has it; every number is finite or null."""
        written: dict[str, Any] = {
            "name": self.name,
            "severity": self.severity,
            "split": self.split,
            "files": list(self.files),
            "pairs": [list(pair) for pair in self.pairs],
            "evidence": _plain(self.evidence),
            "items": [
                {"files": list(item.files), "evidence": _plain(item.evidence)}
                for item in self.items
            ],
            "message": self.message,
            "cure": self.cure,
        }
        if self.remedies is not None:
            written["remedies"] = [
                {"set": list(remedy.set), "applies": remedy.applies, "why": remedy.why}
                for remedy in self.remedies
            ]
        return written

    def line(self) -> str:
        """The finding as one line for a terminal: severity, name, split, message."""
        where = f" ({self.split})" if self.split else ""
        return printable(f"{self.severity}: {self.name}{where}: {self.message}")


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """In the order in which a person should read them; equals keep the order they came in."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _plain(evidence: Evidence) -> dict[str, float | int | str | bool | None]:
    """Figures of NumPy and tensors as Python's own, since JSON knows no others."""
    return {name: _plain_value(value) for name, value in evidence.items()}


def _plain_value(value: Any) -> float | int | str | bool | None:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
