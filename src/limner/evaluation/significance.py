"""Whether one run's pictures score better than another's by more than chance: paired tests.

Both runs made pictures of the same sources, so the differences image by image are tested. The
test is about the images: it says what other images of the kind would show of these two
checkpoints, not what another training of the same settings would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLIPS = 20_000
"""Random sign patterns of a test; where there are no more than that in all, each is tried."""
DRAWS = 10_000
"""Resamples of a bootstrap interval."""
LEVEL = 0.95
_CELLS = 4_000_000  # numbers held at a time


class PairedTest(NamedTuple):
    """The mean of paired differences, its bootstrap interval, and the p-value of no difference."""

    mean: float
    interval: tuple[float, float]
    p: float


def paired_test(differences: Sequence[float], *, seed: int) -> PairedTest:
    """Return the mean of the differences with its interval and its two-sided p-value.

    The test permutes: were the runs alike, each difference could as well have the other sign, so
    p is the part of sign patterns whose mean is at least as far from zero (Fisher 1935, section
    21). Of up to 14 differences all patterns are tried; of more, `FLIPS` random ones, and the
    observed one counts among them, so that p is never zero (Phipson and Smyth 2010).
    The interval is the bootstrap's percentile interval over images (Efron 1979) at `LEVEL`.
    No difference at all has p = 1.
    """
    values = np.asarray(differences, dtype=np.float64)
    rng = np.random.default_rng(seed)
    low, high = _interval(values, rng)
    return PairedTest(float(values.mean()), (low, high), _p(values, rng))


def _p(values: Floats, rng: np.random.Generator) -> float:
    count = len(values)
    # As near as rounding: patterns that give the same mean must count as such.
    bound = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    if 2**count <= FLIPS:
        patterns = np.arange(2**count)[:, None] >> np.arange(count) & 1
        return float((np.abs((1 - 2 * patterns) @ values) >= bound).mean())
    extreme = 0
    for rows in _blocks(FLIPS, count):
        signs = 1 - 2 * rng.integers(0, 2, (rows, count), dtype=np.int8)
        extreme += int((np.abs(signs @ values) >= bound).sum())
    return (extreme + 1) / (FLIPS + 1)


def _interval(values: Floats, rng: np.random.Generator) -> tuple[float, float]:
    count = len(values)
    means = np.concatenate(
        [
            values[rng.integers(0, count, (rows, count))].mean(axis=1)
            for rows in _blocks(DRAWS, count)
        ]
    )
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _blocks(rows: int, columns: int) -> Iterator[int]:
    """Split so many rows into blocks that memory holds."""
    size = max(1, _CELLS // columns)
    for start in range(0, rows, size):
        yield min(size, rows - start)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the same order (Holm 1979).

    The k-th smallest of m (from 0) is multiplied by m - k and no less than the one before it: if
    all below 0.05 are believed, the chance of even one false belief is below 0.05.
    """
    corrected = [1.0] * len(ps)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        least = max(least, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = least
    return corrected
