"""What `limner train` looks at before its first step: what costs a second or two.

All pairs of which an earlier check knows the features, and a sample of the others; no pair is
compared with another but by its bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path

from limner.checks.checking import said_of_labels
from limner.checks.file_findings import colour_profile, constant, multi_frame, problems, small
from limner.checks.label_findings import interpolated, label_range, lossy, masks, off_palette
from limner.checks.likeness_findings import leaks
from limner.checks.listing import Listing, list_data
from limner.checks.measured import Check, Measured
from limner.checks.measuring import measure_pair
from limner.checks.quality_findings import compressed, upscaled
from limner.checks.recognition import same_bytes
from limner.checks.sweeping import Memory
from limner.config import LabelSettings
from limner.data import Pair
from limner.data.pairs import spread
from limner.errors import DataError
from limner.findings import Finding, worst_first

# With these training would fail underway, or learn from what is not there.
STOPPING = frozenset(
    {
        *("unreadable", "truncated", "empty", "unmatched"),
        *("label-range", "off-palette", "lossy-labels", "mask-for-labels"),
    }
)
SAMPLE = 16  # pairs of a split that are measured where nothing is known of them
LINES = 5  # said of what was found
_KNOWN = 2000  # pairs of a split that are looked up
_CHECKS: tuple[Check, ...] = (
    *(problems, constant, multi_frame, colour_profile, small),
    *(upscaled, compressed, leaks),  # narrow ranges `data.derive_ranges` tells, by stated ones too
    *(label_range, off_palette, interpolated, lossy, masks),
)


def look(
    root: Path,
    *,
    direction: str | None,
    size: tuple[int, int] | None,
    labels: LabelSettings | None,
    splits: Collection[str],
    memory: Path | None,
) -> list[Finding]:
    """Return what a short look finds, worst first; keywords as `check_data` has them.

    Args:
        splits: those that the training uses.

    Raises:
        DataError: the data is in no known layout.
    """
    listing = list_data(root, direction=direction)
    chosen: dict[str, list[Pair]] = {}
    features = {}
    with Memory(memory) as kept:
        for split in listing.pairs:
            if split not in splits:
                continue
            pairs = listing.pairs[split]
            known = {}
            for pair in spread(pairs, _KNOWN):
                with contextlib.suppress(OSError):
                    if (found := kept.get(kept.find(pair))) is not None:
                        known[pair] = found
            fresh = [pair for pair in spread(pairs, SAMPLE) if pair not in known]
            for pair in fresh[: max(0, SAMPLE - len(known))] if known else fresh:
                known[pair] = measure_pair(pair)
                kept.put(pair, known[pair])
            chosen[split] = [pair for pair in pairs if pair in known]
            features[split] = [known[pair] for pair in chosen[split]]
    measured = Measured(
        listing=Listing(root, chosen),
        features=features,
        size=size,
        labels=said_of_labels(root, labels),
    )
    measured = Measured(**{**vars(measured), "relations": list(same_bytes(measured))})
    return worst_first(finding for check in _CHECKS for finding in check(measured))


def stop(
    findings: Iterable[Finding], *, allowed: Collection[str], labels: LabelSettings | None
) -> None:
    """Refuse to train on data with errors of `STOPPING`, but for names that are allowed.

    What is wrong with label maps stops a training that reads label maps alone.

    Raises:
        DataError: the first such error, with its cure and the flag that lets it pass.
    """
    of_labels = {"label-range", "off-palette", "lossy-labels", "mask-for-labels"}
    for finding in findings:
        if finding.severity != "error" or finding.name not in STOPPING or finding.name in allowed:
            continue
        if finding.name in of_labels and labels is None:
            continue
        hidden = any(item.evidence.get("codec") != "lossy" for item in finding.items)
        if finding.name == "lossy-labels" and not hidden:
            continue  # reading the data saw that, and was told to take the ids as they are
        raise DataError(
            f"{finding.split or 'the data'}: {finding.name}: {finding.message}: {finding.cure}; "
            f"--allow-findings {finding.name} trains all the same"
        )


def lines(findings: Collection[Finding]) -> list[str]:
    """Return at most five lines on what was found, the worst first."""
    said = [f"{finding.line()}; {finding.cure}" for finding in findings]
    if len(said) > LINES:
        more = len(said) - LINES + 1
        said = [*said[: LINES - 1], f"{more} more findings: `limner check` tells all of them"]
    return said
