"""How far a figure would move with other images, and whether two runs differ by more than chance.

Images, or pairs of them, are the units: intervals are bootstrapped over them (Efron 1979,
doi:10.1214/aos/1176344552), tests permute them. Images of one group (a patient, a slide) are not
independent of each other: where groups are known they are the units, drawn and permuted whole
(Davison and Hinkley 1997, section 3.8). So a test says what other images of the kind would
show of two checkpoints, not what another training of the same settings would. SciPy draws, but for
distances between large sets: its bootstrap cannot draw fewer images than there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

LEVEL = 0.95
PERCENTILES = (2.5, 97.5)
FLIPS = 20_000
"""Random sign patterns of a test; where there are no more than that in all, each is tried."""
DRAWS = 10_000
"""Resamples behind the interval of a mean difference."""
LARGEST = 512
"""Images drawn in a resample of a distance between sets, at most."""
SMALL = 128
"""Up to so many images a distance is resampled as often as asked, above it `FEWER` times."""
FEWER = 200

_CELLS = 1_000_000  # numbers drawn at a time


def mean_interval(
    values: Sequence[float], *, resamples: int, seed: int, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """Return the percentile interval of the mean of `values`, one for each image.

    With `groups`, one for each image, groups are drawn in place of images: a resample's mean is
    that of all images of the groups drawn.
    """
    if groups:
        sums, counts = _group_sums(values, groups)
        low, high = percentile_interval(
            lambda index: sums[index].sum(axis=-1) / counts[index].sum(axis=-1),
            count=len(sums),
            resamples=resamples,
            seed=seed,
        )
        return float(low), float(high)
    low, high = percentile_interval(
        lambda index: np.asarray(values, dtype=np.float64)[index].mean(axis=-1),
        count=len(values),
        resamples=resamples,
        seed=seed,
    )
    return float(low), float(high)


def percentile_interval(
    statistic: Callable[[NDArray[np.int64]], Floats], *, count: int, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Return the percentile bootstrap's bounds of one or more figures of `count` images.

    Args:
        statistic: from indices of images (... x count) to figures (...), or K of them (K x ...).
        count: the images; of a single one all resamples are alike.
        resamples: how often images are drawn anew.
        seed: of the draws.
    """
    from scipy.stats import bootstrap  # takes a second to import

    if count == 1:
        alone = statistic(np.zeros(1, dtype=np.int64))
        return alone, alone
    interval = bootstrap(
        (np.arange(count),),
        lambda index, axis: statistic(np.moveaxis(index, axis, -1)),
        n_resamples=resamples,
        batch=max(1, _CELLS // count),
        vectorized=True,
        axis=-1,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return interval.low, interval.high


def spread_interval(
    make: Callable[[Tensor, Tensor], Callable[[Tensor, Tensor], float]],
    real: Tensor,
    fake: Tensor,
    *,
    value: float,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return the interval of a distance between two sets, and in words how it was found.

    `make` gives, for the features of both sets, the distance as a function of how often each image
    counts. A resample repeats images and so moves a distance by its bias once more; therefore the
    spread of the resamples about their own mean is put around `value`: the interval says how the
    figure varies with images as many, not its bias. Sets of more than `LARGEST` images are
    resampled at that size, with the spread scaled by (LARGEST / N)^(1/2). The cost is seconds at
    any size: at most 200 eigenvalue problems of about 320 x 320, or `resamples` of about 80 x 80.
    """
    rng = np.random.default_rng(seed)
    fewest = min(len(real), len(fake))
    count = resamples if fewest <= SMALL else min(resamples, FEWER)
    if max(len(real), len(fake)) > LARGEST:
        # The statistics hold all pairs' products, so very large sets are thinned out first.
        real, fake = (
            one[torch.from_numpy(rng.permutation(len(one))[: 4 * LARGEST].copy())]
            for one in (real, fake)
        )
    statistic = make(real, fake)

    def counts(length: int) -> Tensor:
        drawn: NDArray[np.int64] = rng.multinomial(min(length, LARGEST), [1 / length] * length)
        return torch.from_numpy(drawn).double()

    drawn = np.array([statistic(counts(len(real)), counts(len(fake))) for _ in range(count)])
    scale = (min(fewest, LARGEST) / fewest) ** 0.5
    low, high = np.percentile((drawn - drawn.mean()) * scale, PERCENTILES)
    how = f"bootstrap over images, {count} resamples, spread put around the figure"
    if scale < 1:
        how += f"; resamples of {LARGEST} images, spread scaled to {fewest}"
    return {"interval": [value + float(low), value + float(high)], "interval_method": how}


class PairedTest(NamedTuple):
    """The mean of paired differences, its bootstrap interval, and the p-value of no difference."""

    mean: float
    interval: tuple[float, float]
    p: float


def _group_sums(values: Sequence[float], groups: Sequence[str]) -> tuple[Floats, Floats]:
    """Return the sum of the values of each group, and how many there are."""
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums: Floats = np.zeros(place.max() + 1)
    counts: Floats = np.zeros_like(sums)
    np.add.at(sums, place, np.asarray(values, dtype=np.float64))
    np.add.at(counts, place, 1.0)
    return sums, counts


def paired_test(
    differences: Sequence[float], *, seed: int, groups: Sequence[str] | None = None
) -> PairedTest:
    """Return the mean of the differences with its interval and its two-sided p-value.

    The test permutes: were the runs alike, each difference could as well have the other sign, so
    p is the part of sign patterns whose mean is at least as far from zero (Fisher 1935, section
    21). Of up to 14 differences all patterns are tried; of more, `FLIPS` random ones, and the
    observed one counts among them, so that p is never zero (Phipson and Smyth 2010).
    The interval is the bootstrap's percentile interval over images at `LEVEL`. No difference at
    all has p = 1, and so has a single one, which shows nothing.

    With `groups`, one for each difference, all differences of a group have one sign together.
    """
    from scipy.stats import permutation_test  # takes a second to import

    total = len(differences)
    mean = float(np.mean(np.asarray(differences, dtype=np.float64)))
    interval = mean_interval(differences, resamples=DRAWS, seed=seed, groups=groups)
    values = np.asarray(differences, dtype=np.float64)
    if groups:
        values, _ = _group_sums(differences, groups)
    if len(values) == 1:
        return PairedTest(mean, interval, 1.0)
    test = permutation_test(
        (values,),
        lambda flipped, axis: flipped.sum(axis=axis) / total,
        permutation_type="samples",
        n_resamples=FLIPS,
        batch=max(1, _CELLS // len(values)),
        vectorized=True,
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    return PairedTest(mean, interval, float(test.pvalue))


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
