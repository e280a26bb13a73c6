"""Pairs whose two sides do not fit: shifted, turned, mirrored, or another pair's.

The certainties of a pair are t statistics of better agreement over 64 blocks of the picture. In a
pair that fits, no other way fits better: they are clearly negative there, whatever is paired with
what. So one threshold serves all domains, and a flat picture, of which nothing can be said, stays
near 0 and is not accused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from limner.checks.pair_fits import PairFit
from limner.errors import printable
from limner.findings import Evidence, Finding, Item, Severity, milder

# Thresholds; docs/checks.md tells what clean and faulty pairs reach.
SHIFTED = 2.0  # certainty that a shift fits better
LEAST_SHIFT = 0.006  # of the longer side: 1.5 pixels of 256
TURNED = 2.0  # certainty that a turned target fits better
LEAST_ANGLE = 0.75  # degrees
FLIPPED = 0.8  # certainty that the flipped target fits better; pairs that fit stay far below 0
EXCHANGED = 2.5  # certainty that another pair's target fits better
STRONG = 3.0  # certainty that one pair must reach, or the finding is one step milder
ALIKE = 0.45  # of the set's usual correlation that a pair must reach in the better way
MANY = 0.05  # share of the pairs above which a shift or a turn is an error
MOST = 0.6  # share of the pairs that must share an offset for it to be constant
DETAIL = 0.3  # of the set's usual detail under which a pair is too flat to be judged
_SHOWN = 3


@dataclass(frozen=True)
class Usual:
    """Medians of a split's pairs: the correlation in their best way, and their detail."""

    best: float
    detail: float


@dataclass(frozen=True)
class Offender:
    """A pair at fault: its number, how surely, and what was measured of it."""

    number: int
    sure: float
    evidence: Evidence


def pair_findings(
    fits: Sequence[PairFit | None],
    files: Sequence[str],
    *,
    split: str | None,
    others: Sequence[str] | None = None,
) -> list[Finding]:
    """Return what the fits of a split's pairs say.

    Args:
        fits: of each pair of the split; None for those that could not be measured.
        files: the targets' names; of side-by-side images their own.
        split: its name.
        others: the targets' names of the whole set, by the number that `PairFit.partner` gives;
            None where that is the split.
    """
    known = [found for found in fits if found is not None]
    if not known:
        return []
    usual = Usual(
        best=float(np.median([found.best for found in known])),
        detail=float(np.median([found.detail for found in known])),
    )
    faults: dict[str, list[Offender]] = {name: [] for name in JUDGES}
    for number, found in enumerate(fits):
        if found is None:
            continue
        if found.detail < DETAIL * usual.detail:
            continue
        for name, judge in JUDGES.items():  # the first that holds explains the pair
            offender = judge(number, found, usual)
            if offender is not None:
                faults[name].append(offender)
                break
    names = files if others is None else others
    findings = [
        _misaligned(faults["misaligned"], known, files, split),
        _rotated(faults["rotated"], known, files, split),
        _mirrored(faults["mirrored"], known, files, split),
        _swapped(faults["swapped"], known, files, split, fits, names),
    ]
    return [finding for finding in findings if finding is not None]


def is_swapped(number: int, found: PairFit, usual: Usual) -> Offender | None:
    """Say whether another pair's target fits this source better than its own in any way does."""
    if found.partner is None or found.exchanged < EXCHANGED:
        return None
    evidence = {"score": _rounded(found.best), "certainty": _rounded(found.exchanged)}
    return Offender(number, found.exchanged, evidence)


def is_mirrored(number: int, found: PairFit, usual: Usual) -> Offender | None:
    """Say whether the flipped target fits better."""
    if found.flipped < FLIPPED or found.best < ALIKE * usual.best:
        return None
    evidence = {
        "axis": found.flip,
        "score": _rounded(found.score),
        "certainty": _rounded(found.flipped),
    }
    return Offender(number, found.flipped, evidence)


def is_turned(number: int, found: PairFit, usual: Usual) -> Offender | None:
    """Say whether the target fits better when turned back."""
    small = abs(found.angle) < LEAST_ANGLE
    if small or found.turned < TURNED or found.best < ALIKE * usual.best:
        return None
    evidence = {
        "angle": _rounded(found.angle),
        "shift_y": _rounded(found.turned_shift[0]),
        "shift_x": _rounded(found.turned_shift[1]),
        "score": _rounded(found.score),
        "certainty": _rounded(found.turned),
    }
    return Offender(number, found.turned, evidence)


def is_shifted(number: int, found: PairFit, usual: Usual) -> Offender | None:
    """Say whether the target fits better when shifted back."""
    small = math.hypot(*found.shift) < LEAST_SHIFT * max(found.size)
    if small or found.shifted < SHIFTED or found.best < ALIKE * usual.best:
        return None
    return Offender(number, found.shifted, _of_shift(found))


def _of_shift(found: PairFit) -> Evidence:
    return {
        "shift_y": _rounded(found.shift[0]),
        "shift_x": _rounded(found.shift[1]),
        "score": _rounded(found.score),
        "certainty": _rounded(found.shifted),
    }


# In the order in which they are asked: a pair at fault may look shifted too.
JUDGES: dict[str, Callable[[int, PairFit, Usual], Offender | None]] = {
    "swapped": is_swapped,
    "mirrored": is_mirrored,
    "rotated": is_turned,
    "misaligned": is_shifted,
}


def _rounded(value: float) -> float:
    return round(float(value), 3)


def _misaligned(
    offenders: list[Offender], known: Sequence[PairFit], files: Sequence[str], split: str | None
) -> Finding | None:
    if not offenders:
        return None
    shifts = np.array([[o.evidence["shift_y"], o.evidence["shift_x"]] for o in offenders], float)
    middle = np.median(shifts, axis=0)
    apart = np.hypot(*(shifts - middle).T)
    length = float(np.median(np.hypot(*shifts.T)))
    constant = len(offenders) >= MOST * len(known) and float(np.median(apart)) <= max(
        0.2 * length, LEAST_SHIFT * max(known[0].size)
    )
    evidence = {
        "median_shift": _rounded(length),
        "constant": constant,
        "shift_y": _rounded(middle[0]),
        "shift_x": _rounded(middle[1]),
    }
    if constant:
        message = (
            f"{_count(offenders, known)} by one and the same offset: targets lie "
            f"{middle[0]:+.1f} pixels down and {middle[1]:+.1f} to the right of their sources"
        )
        cure = (
            f"shift every target by {-middle[0]:+.0f} pixels down and {-middle[1]:+.0f} to the "
            "right, or crop both sides to what they share, before training"
        )
    else:
        message = f"{_count(offenders, known)} shifted, by {length:.1f} pixels in the middle"
        cure = "register or remove these pairs: a generator trained on them blurs"
    return _finding("misaligned", offenders, known, files, split, message, cure, evidence)


def _rotated(
    offenders: list[Offender], known: Sequence[PairFit], files: Sequence[str], split: str | None
) -> Finding | None:
    if not offenders:
        return None
    angles = [float(offender.evidence["angle"]) for offender in offenders]
    middle = float(np.median(np.abs(angles)))
    spread = float(np.median(np.abs(np.asarray(angles) - np.median(angles))))
    constant = len(offenders) >= MOST * len(known) and spread <= LEAST_ANGLE
    evidence = {"median_angle": _rounded(middle), "constant": constant}
    message = f"{_count(offenders, known)} turned, by {middle:.1f} degrees in the middle"
    cure = "turn the targets back by each item's angle, or remove these pairs"
    return _finding("rotated", offenders, known, files, split, message, cure, evidence)


def _mirrored(
    offenders: list[Offender], known: Sequence[PairFit], files: Sequence[str], split: str | None
) -> Finding | None:
    if not offenders:
        return None
    axes = sorted({str(offender.evidence["axis"]) for offender in offenders})
    message = f"{_count(offenders, known)} with one side flipped ({', '.join(axes)})"
    cure = "flip the targets back along each item's axis, or remove these pairs"
    evidence = {"constant": len(offenders) >= MOST * len(known)}
    return _finding("mirrored", offenders, known, files, split, message, cure, evidence)


def _swapped(
    offenders: list[Offender],
    known: Sequence[PairFit],
    files: Sequence[str],
    split: str | None,
    fits: Sequence[PairFit | None],
    names: Sequence[str],
) -> Finding | None:
    if not offenders:
        return None
    pairs = []
    for offender in offenders:
        found = fits[offender.number]
        if found is not None and found.partner is not None:
            pairs.append((files[offender.number], names[found.partner]))
    message = f"{_count(offenders, known)} whose target is another pair's"
    cure = "match them anew: `pairs` names for each the file that fits in its place"
    return _finding("swapped", offenders, known, files, split, message, cure, {}, pairs)


def _count(offenders: Sequence[Offender], known: Sequence[PairFit]) -> str:
    return f"{len(offenders):,} of {len(known):,} pairs"


_USUAL: dict[str, Severity] = {
    "misaligned": "warning",
    "rotated": "warning",
    "mirrored": "error",
    "swapped": "error",
}


def _finding(
    name: str,
    offenders: Sequence[Offender],
    known: Sequence[PairFit],
    files: Sequence[str],
    split: str | None,
    message: str,
    cure: str,
    evidence: Evidence,
    pairs: Sequence[tuple[str, str]] = (),
) -> Finding:
    share = len(offenders) / len(known)
    severity = "error" if share > MANY else _USUAL[name]
    if max(offender.sure for offender in offenders) < STRONG:
        severity = milder(severity)
    of = [files[offender.number] for offender in offenders]
    first = ", ".join(printable(file) for file in of[:_SHOWN])
    more = f" and {len(of) - _SHOWN:,} more" if len(of) > _SHOWN else ""
    return Finding(
        name=name,
        severity=severity,
        split=split,
        files=of,
        pairs=pairs,
        message=f"{message} ({first}{more})",
        cure=cure,
        evidence={"pairs": len(of), "share": _rounded(share), **evidence},
        items=[
            Item(files=(file,), evidence=offender.evidence)
            for file, offender in zip(of, offenders, strict=True)
        ],
    )
