"""How far a figure would move with other images: 95 % intervals by resampling images.

Efron 1979 (doi:10.1214/aos/1176344552). The images, or pairs of them, are drawn anew with
replacement; the middle 95 % of the figures that come out give the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.evaluation.distances import Features, matrix

LEVEL = (2.5, 97.5)
LARGEST = 512
"""Images drawn in a resample of a distance between sets, at most."""
SMALL = 128
"""Up to so many images a distance is resampled as often as asked, above it `FEWER` times."""
FEWER = 200

_ROWS = 1 << 22  # numbers drawn at a time


def mean_interval(values: Sequence[float], *, resamples: int, seed: int) -> tuple[float, float]:
    """Return the interval of the mean of `values`, one for each image."""
    x = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    block = max(1, _ROWS // len(x))
    means = [
        x[rng.integers(len(x), size=(min(block, resamples - start), len(x)))].mean(axis=1)
        for start in range(0, resamples, block)
    ]
    low, high = np.percentile(np.concatenate(means), LEVEL)
    return float(low), float(high)


def frechet_statistic(real: Features, fake: Features) -> Callable[[Tensor, Tensor], float]:
    """Return the Fréchet distance as a function of how often each image counts (N, M weights).

    By the products of all pairs, computed once: with centred rows A and B, weighted by the roots
    of their counts, the trace of the root is the sum of the singular values of A B^T, here roots
    of eigenvalues (an error of 1e-7, below what an interval shows).
    """
    x, y = matrix(real, "real"), matrix(fake, "fake")
    centre = x.mean(dim=0)
    x, y = x - centre, y - centre
    products = x @ y.T

    def statistic(w: Tensor, v: Tensor) -> float:
        p, q = w / w.sum(), v / v.sum()
        a, b = p @ x, q @ y
        spread_a = (p @ x.square().sum(dim=1) - a @ a) / (1 - 1 / w.sum())
        spread_b = (q @ y.square().sum(dim=1) - b @ b) / (1 - 1 / v.sum())
        rows, columns = w.nonzero()[:, 0], v.nonzero()[:, 0]
        shared = products[rows][:, columns]
        shared = shared - (shared @ q[columns])[:, None]
        shared = shared - (p[rows] @ shared)[None, :]
        left = (w[rows] / (w.sum() - 1)).sqrt()
        right = (v[columns] / (v.sum() - 1)).sqrt()
        shared = left[:, None] * shared * right
        gram = shared @ shared.T if len(rows) <= len(columns) else shared.T @ shared
        root = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum()
        return float((a - b).square().sum() + spread_a + spread_b - 2 * root)

    return statistic


def kid_statistic(real: Features, fake: Features) -> Callable[[Tensor, Tensor], float]:
    """Return the kernel distance of whole sets as a function of how often each image counts.

    As `distances.kid`; an image drawn twice is not paired with itself.
    """
    x, y = matrix(real, "real"), matrix(fake, "fake")
    xx, yy, xy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    xx.fill_diagonal_(0)
    yy.fill_diagonal_(0)

    def within(kernel: Tensor, w: Tensor) -> Tensor:
        return (w @ kernel @ w) / (w.sum() ** 2 - w.square().sum())

    def statistic(w: Tensor, v: Tensor) -> float:
        across = (w @ xy @ v) / (w.sum() * v.sum())
        return float(within(xx, w) + within(yy, v) - 2 * across)

    return statistic


def distance_interval(
    make: Callable[[Features, Features], Callable[[Tensor, Tensor], float]],
    real: Features,
    fake: Features,
    *,
    value: float,
    resamples: int,
    seed: int,
) -> tuple[tuple[float, float], str]:
    """Return the interval of a distance between two sets, and how it was found.

    `make` is `frechet_statistic` or `kid_statistic`. A resample repeats images and so moves a
    distance by its bias once more; therefore the spread of the resamples about their own mean is
    put around `value`: the interval says how the figure varies with images as many, not its bias.
    Sets of more than `LARGEST` images are resampled at that size, with the spread scaled by
    (LARGEST / N)^(1/2). The cost is seconds at any size: at most 200 eigenvalue problems of about
    320 x 320, or `resamples` of about 80 x 80.
    """
    rng = np.random.default_rng(seed)
    n, m = len(real), len(fake)
    size = min(n, m, LARGEST)
    count = resamples if min(n, m) <= SMALL else min(resamples, FEWER)
    x, y = (torch.as_tensor(f) for f in (real, fake))
    if max(n, m) > LARGEST:
        # The statistics hold all pairs' products, so very large sets are thinned out first.
        x, y = (f[torch.from_numpy(rng.permutation(len(f))[: 4 * LARGEST].copy())] for f in (x, y))
    statistic = make(x, y)

    def counts(length: int) -> Tensor:
        drawn: NDArray[np.int64] = rng.multinomial(min(length, LARGEST), [1 / length] * length)
        return torch.from_numpy(drawn).double()

    found = np.array([statistic(counts(len(x)), counts(len(y))) for _ in range(count)])
    scale = (min(size, LARGEST) / min(n, m)) ** 0.5
    low, high = np.percentile((found - found.mean()) * scale, LEVEL)
    how = f"bootstrap over images, {count} resamples, spread put around the figure"
    if scale < 1:
        how += f"; resamples of {LARGEST} images, spread scaled to {min(n, m)}"
    return (value + float(low), value + float(high)), how
