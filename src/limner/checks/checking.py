"""`limner check`: everything is measured once, then each check says what it found."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from limner.checks import (
    Advancing,
    CheckResult,
    distribution_findings,
    file_findings,
    label_findings,
    likeness_findings,
    pair_sweep,
    quality_findings,
)
from limner.checks.listing import Listing, list_data
from limner.checks.measured import Check, Labels, Measured
from limner.checks.recognition import related
from limner.checks.sweeping import measure_all
from limner.config import LabelSettings
from limner.data import label_table, read_description
from limner.findings import Finding, worst_first

# Each check by what it may find; a new one is a function and a line.
CHECKS: dict[tuple[str, ...], Check] = {
    ("unreadable", "truncated", "empty"): file_findings.problems,
    ("constant",): file_findings.constant,
    ("multi-frame",): file_findings.multi_frame,
    ("colour-profile",): file_findings.colour_profile,
    ("mixed-size",): file_findings.mixed_size,
    ("mixed-mode",): file_findings.mixed_mode,
    ("unmatched",): file_findings.unmatched,
    ("small",): file_findings.small,
    ("upscaled",): quality_findings.upscaled,
    ("compressed",): quality_findings.compressed,
    ("blurred",): quality_findings.blurred,
    ("narrow-range",): quality_findings.narrow_range,
    ("duplicate", "near-duplicate", "leak"): likeness_findings.leaks,
    ("sequence",): likeness_findings.sequence,
    ("few-images",): likeness_findings.few_images,
    ("cluster",): distribution_findings.cluster,
    ("split-shift",): distribution_findings.split_shift,
    ("label-range",): label_findings.label_range,
    ("void-share", "rare-class", "imbalance"): label_findings.shares,
    ("off-palette",): label_findings.off_palette,
    ("interpolated-labels",): label_findings.interpolated,
    ("lossy-labels",): label_findings.lossy,
    ("mask-for-labels",): label_findings.masks,
    ("instance-mismatch",): label_findings.instances,
    ("crowded", "touching"): label_findings.suitability,
    ("misaligned", "rotated", "mirrored", "swapped"): pair_sweep.misfits,
}


def check_data(
    root: Path,
    *,
    direction: str | None = None,
    size: tuple[int, int] | None = None,
    labels: LabelSettings | None = None,
    memory: Path | None = None,
    processes: int | None = None,
    progress: Advancing | None = None,
) -> CheckResult:
    """Look at a data set and say what is wrong with it; also at one that `train` refuses.

    Args:
        root: the data folder, or a manifest.
        direction: AtoB or BtoA; None for what dataset.yaml says, else AtoB.
        size: height and width that will be trained at; None for the data's own.
        labels: how label maps are read, where the sources are some.
        memory: a folder in which what was measured is kept; None for nowhere.
        processes: how many measure; None for one a processor.
        progress: shows a bar.

    Raises:
        DataError: the data is in no known layout.
    """
    begun = time.perf_counter()
    listing = list_data(root, direction=direction)
    measured = measure(
        listing, size=size, labels=labels, memory=memory, processes=processes, progress=progress
    )
    show = progress or (lambda what, total: nullcontext(lambda: None))
    with show("fitting pairs", sum(map(len, measured.features.values()))) as advance:
        fits = pair_sweep.fits_of(measured, processes=processes, advance=advance)
    measured = replace(measured, fits=fits)
    findings = run_checks(measured, CHECKS.values())
    worth = likeness_findings.independent(measured)
    splits = {
        split: {"pairs": len(found), "independent": worth[split]}
        for split, found in measured.features.items()
    }
    return CheckResult(
        str(root),
        splits,
        tuple(findings),
        time.perf_counter() - begun,
        tones=distribution_findings.tones(measured),
        classes=label_findings.class_shares(measured),
    )


def run_checks(measured: Measured, checks: Iterable[Check]) -> list[Finding]:
    """Return what the checks find, worst first."""
    return worst_first(finding for check in checks for finding in check(measured))


def measure(
    listing: Listing,
    *,
    size: tuple[int, int] | None,
    labels: LabelSettings | None,
    memory: Path | None,
    processes: int | None,
    progress: Advancing | None,
) -> Measured:
    """Measure all pairs of a listing; keywords as in `check_data`."""
    show = progress or (lambda what, total: nullcontext(lambda: None))
    every = [pair for pairs in listing.pairs.values() for pair in pairs]
    features = {}
    with show("measuring pairs", len(every)) as advance:
        found = measure_all(every, memory=memory, processes=processes, advance=advance)
        for split, pairs in listing.pairs.items():
            features[split] = [next(found) for _ in pairs]
        found.close()  # pyright: ignore[reportAttributeAccessIssue]
    measured = Measured(
        listing=listing,
        features=features,
        size=size,
        labels=said_of_labels(listing.root, labels),
    )
    measured = replace(measured, films=likeness_findings.films(measured))
    with show("comparing pairs", 2) as advance:
        return replace(measured, relations=related(measured, advance=advance))


def said_of_labels(root: Path, settings: LabelSettings | None) -> Labels:
    """Return what settings and dataset.yaml say of the label maps; settings come first."""
    described = read_description(root)
    table = (settings.table if settings is not None else None) or described.table
    known = None if table is None else label_table(table)
    given = settings or LabelSettings()
    names = given.names or described.classes or (known.names if known is not None else ())
    colours = given.colours or described.colours or (known.colours if known is not None else ())
    form = None if known is None else known.form
    classes = given.classes or (form.classes if form is not None else None)
    void = given.void if given.void is not None else described.void
    if void is None and form is not None:
        void = form.void
    if classes is None and (described.classes or described.colours):
        classes = len(described.classes or described.colours or ())
    coding = given.coding if given.coding != "auto" else described.coding or "auto"
    return Labels(
        asked=settings is not None or classes is not None,
        classes=classes,
        void=void,
        first=given.first or described.first or (form.first if form is not None else 0),
        coding=coding,
        names=tuple(names),
        colours=tuple(colours),
    )
