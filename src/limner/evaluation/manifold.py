"""How far two feature sets cover each other: precision, recall, density and coverage.

A point lies in a set's manifold where it is within the k-nearest-neighbour ball of at least one of
the set's points; a ball's radius is the distance to the k-th nearest other point of its own set.
All in float64, a block of rows at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from limner.errors import DataError
from limner.evaluation.distances import Features, matrix

NEAREST = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}
"""k as in the papers' own programs."""

_ROWS = 1024


class Balls(NamedTuple):
    """For every fake the real balls it is in; whether any; and the two the other way round."""

    real_balls_holding_fake: Tensor
    """M counts."""
    fake_balls_holding_real: Tensor
    """N counts."""
    real_ball_is_visited: Tensor
    """N truth values: whether any fake lies in this real image's own ball."""


def balls(real: Features, fake: Features, *, k: int) -> Balls:
    """Return who lies in whose k-nearest-neighbour balls, of N x D and M x D features.

    Raises `DataError` where a set has no more than `k` images.
    """
    x, y = matrix(real, "real"), matrix(fake, "fake")
    if x.shape[1] != y.shape[1]:
        raise DataError(
            f"features of {x.shape[1]} and {y.shape[1]} dimensions cannot be compared: "
            "take both from one extractor"
        )
    real_radius, fake_radius = _radii(x, k, "real"), _radii(y, k, "fake")
    real_holds = torch.zeros(len(y), dtype=torch.int64)
    fake_holds = torch.zeros(len(x), dtype=torch.int64)
    visited = torch.zeros(len(x), dtype=torch.bool)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        apart = _apart(x[rows], y)
        inside = apart <= real_radius[rows, None]
        real_holds += inside.sum(dim=0)
        visited[rows] = inside.any(dim=1)
        fake_holds[rows] = (apart <= fake_radius[None, :]).sum(dim=1)
    return Balls(real_holds, fake_holds, visited)


def each(name: str, real: Features, fake: Features) -> Tensor:
    """Return the values whose mean is the metric `name` of `NEAREST`, float64.

    precision: for each fake, whether it lies in the real manifold; recall: for each real, whether
    it lies in the fake one (Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2).
    density: for each fake, the number of real balls that it lies in over k; coverage: for each
    real, whether a fake lies in its ball (Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4).
    """
    k = NEAREST[name]
    found = balls(real, fake, k=k)
    values = {
        "precision": found.real_balls_holding_fake > 0,
        "recall": found.fake_balls_holding_real > 0,
        "density": found.real_balls_holding_fake.double() / k,
        "coverage": found.real_ball_is_visited,
    }
    return values[name].double()


def _radii(points: Tensor, k: int, what: str) -> Tensor:
    """Return each point's distance to its k-th nearest other point."""
    if len(points) <= k:
        raise DataError(
            f"{what} has {len(points)} images: balls around the {k} nearest others need at least "
            f"{k + 1}, so leave precision, recall, density and coverage out"
        )
    # Of its k + 1 nearest a point is one itself, at distance 0.
    parts = [
        _apart(points[start : start + _ROWS], points).kthvalue(k + 1, dim=1).values
        for start in range(0, len(points), _ROWS)
    ]
    return torch.cat(parts)


def _apart(x: Tensor, y: Tensor) -> Tensor:
    # The exact way: by a product of matrices equal points would come out a little apart.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
