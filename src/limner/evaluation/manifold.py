"""How far two feature sets cover each other: precision, recall, density and coverage.

A point lies in a set's manifold where it is within the k-nearest-neighbour ball of at least one of
the set's points; a ball's radius is the distance to the k-th nearest other point of its own set.
All in float64, a block of rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def balls(real: Features, fake: Features, *, ks: Sequence[int]) -> dict[int, Balls]:
    """Return for each of `ks` who lies in whose k-nearest-neighbour balls, of N x D and M x D.

    The distances, nearly all of the work, are computed once for all of `ks`. Raises `DataError`
    where a set has no more than the largest of `ks` images.
    """
    x, y = matrix(real, "real"), matrix(fake, "fake")
    if x.shape[1] != y.shape[1]:
        raise DataError(
            f"features of {x.shape[1]} and {y.shape[1]} dimensions cannot be compared: "
            "take both from one extractor"
        )
    real_radii, fake_radii = _radii(x, ks, "real"), _radii(y, ks, "fake")
    found = {
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
        for k, one in found.items():
            inside = apart <= real_radii[k][rows, None]
            one.real_balls_holding_fake.add_(inside.sum(dim=0))
            one.real_ball_is_visited[rows] = inside.any(dim=1)
            one.fake_balls_holding_real[rows] = (apart <= fake_radii[k][None, :]).sum(dim=1)
    return found


def each(names: Sequence[str], real: Features, fake: Features) -> dict[str, Tensor]:
    """Return the values whose means are the metrics `names` of `NEAREST`, float64, in one pass.

    precision: for each fake, whether it lies in the real manifold; recall: for each real, whether
    it lies in the fake one (Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2).
    density: for each fake, the number of real balls that it lies in over k; coverage: for each
    real, whether a fake lies in its ball (Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4).
    """
    found = balls(real, fake, ks=sorted({NEAREST[name] for name in names}))
    values: dict[str, Callable[[Balls, int], Tensor]] = {
        "precision": lambda one, k: one.real_balls_holding_fake > 0,
        "recall": lambda one, k: one.fake_balls_holding_real > 0,
        "density": lambda one, k: one.real_balls_holding_fake.double() / k,
        "coverage": lambda one, k: one.real_ball_is_visited,
    }
    return {name: values[name](found[k], k).double() for name in names for k in (NEAREST[name],)}


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
