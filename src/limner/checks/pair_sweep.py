"""The pairs of a data folder are read and asked whether they fit, over all processors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limner.checks.measured import Measured
from limner.checks.pair_findings import pair_findings
from limner.checks.pair_fits import PairFit, Pictures, measure_fits
from limner.data import Pair
from limner.data.decode import decode_ids, palette_of
from limner.data.pairs import Half
from limner.errors import DataError
from limner.findings import Finding


@dataclass(frozen=True)
class PairReader:
    """Reads pairs by number; `ids` tells which sides are ids, so that no palette is applied."""

    pairs: Sequence[Pair]
    ids: tuple[bool, bool]

    def __call__(self, number: int) -> Pictures | None:
        """Return source and target, C x H x W; None where one of them cannot be read."""
        pair = self.pairs[number]
        try:
            source = _picture(pair.source, pair.source_half, ids=self.ids[0])
            target = _picture(pair.target, pair.target_half, ids=self.ids[1])
        except (DataError, OSError):
            return None
        return (source, target) if source.size and target.size else None


def _picture(path: Path, half: Half | None, *, ids: bool) -> NDArray[np.generic]:
    image = decode_ids(path).numpy()
    palette = None if ids else palette_of(path)
    if palette is not None:
        image = palette[np.minimum(image[0], len(palette) - 1)].transpose(2, 0, 1)
    if half is None:
        return image
    middle = image.shape[2] // 2
    return image[:, :, :middle] if half == "left" else image[:, :, middle : 2 * middle]


def fits_of(
    measured: Measured,
    *,
    processes: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, list[PairFit | None]]:
    """Measure how the pairs of all splits fit; what was not readable before is not read again.

    Args:
        measured: the files and what is known of them.
        processes: how many work; None for one a processor.
        advance: called after each pair.
    """
    pairs = [pair for found in measured.listing.pairs.values() for pair in found]
    readable = [
        number
        for number, found in enumerate(
            features for of_split in measured.features.values() for features in of_split
        )
        if not found.source.problem and not found.target.problem
    ]
    sides = measured.codings
    ids = (sides.get("source") == "ids", sides.get("target") == "ids")
    fits = measure_fits(
        PairReader([pairs[number] for number in readable], ids),
        len(readable),
        ids=ids,
        processes=processes,
        advance=advance,
    )
    every: list[PairFit | None] = [None] * len(pairs)
    for number, found in zip(readable, fits, strict=True):
        partner = None if found is None or found.partner is None else readable[found.partner]
        every[number] = None if found is None else replace(found, partner=partner)
    result, start = {}, 0
    for split, found in measured.listing.pairs.items():
        result[split] = every[start : start + len(found)]
        start += len(found)
    return result


def misfits(measured: Measured) -> Iterator[Finding]:
    """Find pairs that are misaligned, rotated, mirrored or swapped."""
    name = measured.listing.name
    targets = {
        split: [name(pair.target) for pair in pairs]
        for split, pairs in measured.listing.pairs.items()
    }
    every = [target for of_split in targets.values() for target in of_split]
    for split, fits in measured.fits.items():
        yield from pair_findings(fits, targets[split], split=split, others=every)
