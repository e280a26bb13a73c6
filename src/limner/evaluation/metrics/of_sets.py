"""Metrics of two sets as wholes: the value, its interval, and what it rests on.

Each takes the features of both sets, and draws from `seed`; `resamples` is the number of bootstrap
resamples behind its interval, 0 for none.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from limner.evaluation.metrics import distances
from limner.evaluation.metrics.distances import Balls, frechet_statistic, kid_statistic
from limner.evaluation.statistics import mean_interval, spread_interval

# torch-fidelity's, so that KID draws the subsets that it draws
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000

UNBIASED_FROM = 2048
"""Images from which a Fréchet distance is commonly reported without a word on its bias."""


@dataclass(frozen=True)
class Figure:
    """The value of a metric, and what it rests on in plain values."""

    value: float
    details: dict[str, Any] = field(default_factory=dict)


class FeatureSets:
    """The features of two sets by one extractor, N x D and M x D, and what metrics share of them.

    `nearest` are the numbers of neighbours that the metrics asked for look at: the distances of
    all pairs are then computed once for all of them.
    """

    def __init__(self, real: Tensor, fake: Tensor, *, nearest: Iterable[int] = ()) -> None:
        self.real, self.fake = real, fake
        self.nearest = sorted(set(nearest))

    @functools.cached_property
    def balls(self) -> dict[int, Balls]:
        """Who lies in whose balls, by the number of neighbours."""
        return distances.balls(self.real, self.fake, ks=self.nearest)

    @property
    def about(self) -> dict[str, Any]:
        """How many images and dimensions there are."""
        n, m = len(self.real), len(self.fake)
        return {
            "images": min(n, m),
            "images_real": n,
            "images_fake": m,
            "dimensions": self.real.shape[1],
        }


def fid(
    sets: FeatureSets,
    *,
    seed: int,
    resamples: int,
    instead: str = "kid (unbiased) or fid-inf",
) -> Figure:
    """Return the Fréchet distance, with a note where so few images bias it; see `frechet`.

    `instead` are the metrics that the note advises.
    """
    value = distances.frechet(sets.real, sets.fake)
    details = sets.about
    images, dimensions = details["images"], details["dimensions"]
    if images < max(UNBIASED_FROM, dimensions + 1):
        details["note"] = (
            f"{images} images for {dimensions} dimensions: exact, but biased upwards, so "
            f"compare it only with figures from as many images; better ask for {instead}"
        )
    if resamples:
        details |= spread_interval(
            frechet_statistic, sets.real, sets.fake, value=value, resamples=resamples, seed=seed
        )
    return Figure(value, details)


def fid_infinity(sets: FeatureSets, *, seed: int, resamples: int) -> Figure:
    """Return the Fréchet distance extrapolated to endless sets; see `frechet_infinity`.

    There is no interval for it, whatever `resamples` is.
    """
    details = sets.about | {
        "set_sizes": distances.infinity_sizes(len(sets.real), len(sets.fake)),
        "seed": seed,
        "at_this_number": distances.frechet(sets.real, sets.fake),
        "interval_method": "none: the subsets that the line is fitted to overlap",
    }
    return Figure(distances.frechet_infinity(sets.real, sets.fake, seed=seed), details)


def kid(sets: FeatureSets, *, seed: int, resamples: int) -> Figure:
    """Return the kernel distance with its spread over subsets; see `distances.kid`."""
    value, deviation = distances.kid(
        sets.real, sets.fake, subsets=KID_SUBSETS, subset_size=KID_SUBSET_SIZE, seed=seed
    )
    details = sets.about | {
        "std": deviation,
        "subsets": KID_SUBSETS,
        "subset_size": distances.kid_subset_size(len(sets.real), len(sets.fake), KID_SUBSET_SIZE),
        "seed": seed,
    }
    if resamples:
        details |= spread_interval(
            kid_statistic, sets.real, sets.fake, value=value, resamples=resamples, seed=seed
        )
    return Figure(value, details)


PRECISION_NEAREST = 3
DENSITY_NEAREST = 5
"""Neighbours as in the papers' own programs."""


def precision(sets: FeatureSets, *, seed: int, resamples: int) -> Figure:
    """Return the part of the fakes that lie in the real manifold.

    Kynkäänniemi et al. 2019 (arXiv:1904.06991), equation 2.
    """
    inside = sets.balls[PRECISION_NEAREST].real_balls_holding_fake > 0
    return _mean(sets, inside, PRECISION_NEAREST, "fake", seed=seed, resamples=resamples)


def recall(sets: FeatureSets, *, seed: int, resamples: int) -> Figure:
    """Return the part of the reals that lie in the fake manifold (equation 2, the other way)."""
    inside = sets.balls[PRECISION_NEAREST].fake_balls_holding_real > 0
    return _mean(sets, inside, PRECISION_NEAREST, "real", seed=seed, resamples=resamples)


def density(sets: FeatureSets, *, seed: int, resamples: int) -> Figure:
    """Return the mean number of real balls that a fake lies in, over k.

    Naeem et al. 2020 (arXiv:2002.09797), equation 3.
    """
    count = sets.balls[DENSITY_NEAREST].real_balls_holding_fake.double() / DENSITY_NEAREST
    return _mean(sets, count, DENSITY_NEAREST, "fake", seed=seed, resamples=resamples)


def coverage(sets: FeatureSets, *, seed: int, resamples: int) -> Figure:
    """Return the part of the reals in whose ball a fake lies (Naeem et al., equation 4)."""
    visited = sets.balls[DENSITY_NEAREST].real_ball_is_visited
    return _mean(sets, visited, DENSITY_NEAREST, "real", seed=seed, resamples=resamples)


def _mean(
    sets: FeatureSets, each: Tensor, nearest: int, side: str, *, seed: int, resamples: int
) -> Figure:
    """Return the mean of one value an image of a side, with the interval over those images."""
    values: Sequence[float] = each.double().tolist()
    details = sets.about | {"nearest": nearest}
    if resamples:
        details["interval"] = list(mean_interval(values, resamples=resamples, seed=seed))
        details["interval_method"] = (
            f"bootstrap over the {side} images, {resamples} resamples, the balls kept"
        )
    return Figure(sum(values) / len(values), details)
