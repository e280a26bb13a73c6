"""Distances between two sets of feature vectors: Fréchet's, the kernel one, and manifolds.

Pure functions of N x D features (torch or numpy, any float type); all sums are in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.errors import DataError

Features = Tensor | NDArray[np.floating]

_ROWS = 1024  # rows of a matrix of all pairs held at a time


class Gaussian(NamedTuple):
    """A mean (D) and a factor F (K x D, K at most D) of the covariance: F^T F is the covariance."""

    mean: Tensor
    factor: Tensor


def gaussian(features: Features, *, what: str = "the set") -> Gaussian:
    """Return the Gaussian that fits N x D features, its covariance over N - 1.

    With N at most D the factor is the centred features themselves; with more, the triangle of
    their QR decomposition, which unlike the covariance keeps the small directions exact. Raises
    `DataError` for fewer than two samples and for values that are not finite.
    """
    x = matrix(features, what)
    mean = x.mean(dim=0)
    factor = (x - mean) / (len(x) - 1) ** 0.5
    if len(factor) > factor.shape[1]:
        factor = torch.linalg.qr(factor, mode="r").R
    return Gaussian(mean, factor)


def frechet_between(real: Gaussian, fake: Gaussian) -> float:
    """Return |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), never negative.

    Dowson and Landau 1982; Heusel et al. 2017 (arXiv:1706.08500), equation 6. With S1 = A^T A and
    S2 = B^T B the eigenvalues of S1 S2 are the squared singular values of A B^T, so the trace of
    the root is their sum: no matrix root, hence no imaginary parts and no small number added to
    the diagonal, and with few samples a small matrix.
    """
    if real.mean.shape != fake.mean.shape:
        raise DataError(
            f"features of {len(real.mean)} and {len(fake.mean)} dimensions cannot be compared: "
            "take both from one extractor"
        )
    mean = (real.mean - fake.mean).square().sum()
    spread = real.factor.square().sum() + fake.factor.square().sum()
    shared = torch.linalg.svdvals(real.factor @ fake.factor.T).sum()
    return max(0.0, float(mean + spread - 2 * shared))


def frechet(real: Features, fake: Features) -> float:
    """Return the Fréchet distance of the Gaussians fitted to two feature sets, N x D and M x D.

    Exact for any N and M from 2 on (see `frechet_between`).

    Raises:
        DataError: as `matrix` does.
    """
    return frechet_between(gaussian(real, what="real"), gaussian(fake, what="fake"))


INFINITY_FEWEST = 4
"""Images of each set from which on a line can be fitted."""


def infinity_sizes(real: int, fake: int, *, points: int = 15) -> list[int]:
    """Return the set sizes of `frechet_infinity`: evenly spaced up to the smaller set.

    The least is a tenth of it, as in the paper, but not below 50 images or half the set.
    """
    most = min(real, fake)
    least = max(2, most // 10, min(50, most // 2))
    return sorted({round(float(n)) for n in np.linspace(least, most, points)})


def frechet_infinity(real: Features, fake: Features, *, seed: int, points: int = 15) -> float:
    """Return the Fréchet distance extrapolated to endless sets.

    Chong and Forsyth 2020 (arXiv:1911.07023), section 4: the distance's bias is about proportional
    to 1 / N, so the distances of random subsets of `infinity_sizes` images are fitted by a line in
    1 / N, and its value at 0 is returned. Here subsets are drawn from both sets, not from the fakes
    alone, since the real set is small too. The line may end below zero where the true distance is
    near it.

    Raises:
        DataError: fewer than 4 images.
    """
    x, y = matrix(real, "real"), matrix(fake, "fake")
    if min(len(x), len(y)) < INFINITY_FEWEST:
        raise DataError(
            f"fid-inf and fd-vgg16-inf extrapolate over set sizes and need at least "
            f"{INFINITY_FEWEST} images of each, not {min(len(x), len(y))}: leave them out"
        )
    rng = np.random.RandomState(seed)
    sizes = infinity_sizes(len(x), len(y), points=points)
    values = [
        frechet(*(points[rng.choice(len(points), size, replace=False)] for points in (x, y)))
        for size in sizes
    ]
    _, intercept = np.polyfit(1 / np.array(sizes, dtype=float), np.array(values), 1)
    return float(intercept)


def kid_subset_size(real: int, fake: int, wanted: int) -> int:
    """Return the images in a subset: `wanted`, or half the smaller set where that is smaller.

    Half, since subsets that held a whole set would all be alike and their spread would be zero.
    """
    fewest = min(real, fake)
    return wanted if fewest >= wanted else max(2, fewest // 2)


def kid(
    real: Features,
    fake: Features,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> tuple[float, float]:
    """Return the mean and standard deviation over subsets of the kernel distance.

    Bińkowski et al. 2018 (arXiv:1801.01401): squared maximum mean discrepancy with the kernel (x.y
    / D + 1)^3, the unbiased estimator that leaves out the diagonals of the two kernels within a set
    and keeps the whole one between sets. Subsets of `kid_subset_size(...)` images are drawn without
    replacement; the deviation is the population's (over `subsets`, not minus one). Estimator, draws
    and the default seed are torch-fidelity's, so where a set has no fewer images than `subset_size`
    the figures are its figures.

    Raises:
        DataError: as `matrix` does.
    """
    x, y = matrices(real, fake)
    size = kid_subset_size(len(x), len(y), subset_size)
    rng = np.random.RandomState(seed)
    draws = [
        [rng.choice(len(points), size, replace=False) for points in (x, y)] for _ in range(subsets)
    ]
    px, py = (torch.from_numpy(np.stack(picks)) for picks in zip(*draws, strict=True))
    # One kernel over everything serves all subsets, unless the sets are so large that the subsets
    # together are less work.
    if max(len(x), len(y)) ** 2 <= subsets * size**2:
        values = _mmd2(x, y, _marks(px, len(x)), _marks(py, len(y)))
    else:
        ones = torch.ones(1, size, dtype=torch.float64)
        values = torch.cat([_mmd2(x[i], y[j], ones, ones) for i, j in zip(px, py, strict=True)])
    return float(values.mean()), float(values.std(correction=0))


def _mmd2(x: Tensor, y: Tensor, mx: Tensor, my: Tensor) -> Tensor:
    """Return the estimate of each subset; `mx` and `my` (S x N, S x M) mark its members by 1."""
    size = mx.sum(dim=1)
    within = _kernel_sums(x, x, mx, mx) - mx @ _kernel_diagonal(x)
    within += _kernel_sums(y, y, my, my) - my @ _kernel_diagonal(y)
    return within / (size * (size - 1)) - 2 * _kernel_sums(x, y, mx, my) / size**2


def _kernel_sums(x: Tensor, y: Tensor, mx: Tensor, my: Tensor) -> Tensor:
    """Return for each subset the sum of the kernel over its members, a block of rows at a time."""
    total = torch.zeros(len(mx), dtype=torch.float64)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        kernel = (x[rows] @ y.T / x.shape[1] + 1) ** 3
        total += ((mx[:, rows] @ kernel) * my).sum(dim=1)
    return total


def _kernel_diagonal(x: Tensor) -> Tensor:
    return (x.square().sum(dim=1) / x.shape[1] + 1) ** 3


def _marks(picks: Tensor, count: int) -> Tensor:
    return torch.zeros(len(picks), count, dtype=torch.float64).scatter_(1, picks, 1.0)


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

    As `kid`; an image drawn twice is not paired with itself.
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


class Balls(NamedTuple):
    """Who lies in whose k-nearest-neighbour balls.

    A point lies in a set's manifold where it is within the ball of at least one of the set's
    points; a ball's radius is the distance to the k-th nearest other point of its own set.
    """

    real_balls_holding_fake: Tensor
    """M counts."""
    fake_balls_holding_real: Tensor
    """N counts."""
    real_ball_is_visited: Tensor
    """N truth values: whether any fake lies in this real image's own ball."""


def balls(real: Features, fake: Features, *, ks: Sequence[int]) -> dict[int, Balls]:
    """Return for each of `ks` who lies in whose k-nearest-neighbour balls, of N x D and M x D.

    The distances, nearly all of the work, are computed once for all of `ks`.

    Raises:
        DataError: a set has no more than the largest of `ks` images.
    """
    x, y = matrices(real, fake)
    real_radii, fake_radii = _radii(x, ks, "real"), _radii(y, ks, "fake")
    by_k = {
        k: Balls(
            torch.zeros(len(y), dtype=torch.int64),
            torch.zeros(len(x), dtype=torch.int64),
            torch.zeros(len(x), dtype=torch.bool),
        )
        for k in ks
    }
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        apart = _apart(x[rows], y)
        for k, one in by_k.items():
            inside = apart <= real_radii[k][rows, None]
            one.real_balls_holding_fake.add_(inside.sum(dim=0))
            one.real_ball_is_visited[rows] = inside.any(dim=1)
            one.fake_balls_holding_real[rows] = (apart <= fake_radii[k][None, :]).sum(dim=1)
    return by_k


def _radii(points: Tensor, ks: Sequence[int], what: str) -> dict[int, Tensor]:
    """Return for each of `ks` each point's distance to its k-th nearest other point."""
    most = max(ks)
    if len(points) <= most:
        raise DataError(
            f"{what} has {len(points)} images: balls around the {most} nearest others need at "
            f"least {most + 1}, so leave precision, recall, density and coverage out"
        )
    # Of its k + 1 nearest a point is one itself, at distance 0.
    parts = [
        _apart(points[start : start + _ROWS], points).topk(most + 1, dim=1, largest=False).values
        for start in range(0, len(points), _ROWS)
    ]
    nearest = torch.cat(parts)
    return {k: nearest[:, k] for k in ks}


def _apart(x: Tensor, y: Tensor) -> Tensor:
    # The exact way: by a product of matrices equal points would come out a little apart.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def matrices(real: Features, fake: Features) -> tuple[Tensor, Tensor]:
    """Return both sets as `matrix` does; `DataError` where their dimensions differ."""
    x, y = matrix(real, "real"), matrix(fake, "fake")
    if x.shape[1] != y.shape[1]:
        raise DataError(
            f"features of {x.shape[1]} and {y.shape[1]} dimensions cannot be compared: "
            "take both from one extractor"
        )
    return x, y


def matrix(features: Features, what: str) -> Tensor:
    """Return features as a float64 N x D tensor on the CPU; `DataError` where they are none."""
    x = torch.as_tensor(features).detach().to("cpu", torch.float64)
    if x.ndim != 2:
        raise DataError(f"features of {what} must be N x D, not of shape {tuple(x.shape)}")
    if len(x) < 2:
        raise DataError(
            f"{what} has {len(x)} image{'' if len(x) == 1 else 's'}: a distance between "
            "distributions needs at least 2, and means little below some hundred"
        )
    if not torch.isfinite(x).all():
        raise DataError(f"features of {what} are not finite: the weights or the images are broken")
    return x
