"""FID-infinity on Gaussians whose distance is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from limner.errors import DataError
from limner.evaluation.metrics import OF_SETS
from limner.evaluation.metrics.distances import frechet, frechet_infinity, infinity_sizes
from limner.evaluation.metrics.of_sets import FeatureSets


def normal(count: int, *, seed: int, at: float = 0.0, dimensions: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=generator).double() + at


def figure(
    name: str, x: Tensor, y: Tensor, *, seed: int = 0, bootstrap: int = 0
) -> tuple[float, dict[str, Any]]:
    metric = OF_SETS[name]
    sets = FeatureSets(x, y, nearest=[metric.nearest] if metric.nearest else [])
    found = metric.function(sets, seed=seed, resamples=bootstrap)
    return found.value, found.details


@pytest.mark.parametrize("at", [0.0, 0.5])
def test_the_bias_of_small_sets_is_taken_off(at: float) -> None:
    true = 32 * at**2
    plain, extrapolated = [], []
    for seed in range(5):
        x, y = normal(400, seed=2 * seed), normal(400, seed=2 * seed + 1, at=at)
        plain.append(frechet(x, y) - true)
        extrapolated.append(frechet_infinity(x, y, seed=seed) - true)
    # Two samples of one Gaussian are some 1.4 apart here.
    assert sum(plain) / 5 > 1
    assert abs(sum(extrapolated) / 5) < 0.25 * sum(plain) / 5


def test_the_seed_decides_and_sizes_are_spread() -> None:
    x, y = normal(100, seed=1), normal(120, seed=2)
    assert frechet_infinity(x, y, seed=5) == frechet_infinity(x, y, seed=5)
    assert frechet_infinity(x, y, seed=5) != frechet_infinity(x, y, seed=6)
    assert infinity_sizes(50_000, 60_000)[0] == 5000
    assert infinity_sizes(106, 200)[::14] == [50, 106]
    assert len(infinity_sizes(106, 200)) == 15
    with pytest.raises(DataError, match="at least 4 images of each, not 3"):
        frechet_infinity(x[:3], y, seed=0)


def test_small_sets_are_told_of_better_figures_and_large_ones_are_not() -> None:
    x, y = normal(60, seed=1), normal(60, seed=2)
    for name, better in (("fid", "kid (unbiased) or fid-inf"), ("fd-vgg16", "fd-vgg16-inf")):
        _, details = figure(name, x, y)
        assert details["note"].startswith("60 images for 32 dimensions")
        assert details["note"].endswith(f"better ask for {better}")
    _, details = figure("fid", normal(2048, seed=1), normal(2100, seed=2))
    assert "note" not in details
    value, details = figure("fid-inf", x, y, seed=3, bootstrap=100)
    assert value == frechet_infinity(x, y, seed=3)
    assert details["at_this_number"] == frechet(x, y)
    assert "interval" not in details


@pytest.mark.parametrize("name", ["fid", "kid", "precision", "coverage-vgg16"])
def test_figures_have_intervals_that_hold_them(name: str) -> None:
    x, y = normal(60, seed=1), normal(60, seed=2, at=0.2)
    value, details = figure(name, x, y, bootstrap=50)
    low, high = details["interval"]
    assert low <= value <= high
    assert low < high
    assert "50 resamples" in details["interval_method"]
    assert "interval" not in figure(name, x, y)[1]
