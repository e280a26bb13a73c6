"""Intervals: they cover as often as they say, and the quick statistics are the slow ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.evaluation.bootstrap import (
    distance_interval,
    frechet_statistic,
    kid_statistic,
    mean_interval,
)
from limner.evaluation.distances import frechet


def normal(count: int, *, seed: int, at: float = 0.0, dimensions: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=generator).double() + at


def test_the_interval_of_a_mean_covers_it_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        low, high = mean_interval(rng.normal(3, 1, size=60).tolist(), resamples=300, seed=seed)
        covered += low <= 3 <= high
        assert 0.2 < high - low < 0.8  # 2 * 1.96 / 60 ** 0.5 is 0.51
    assert 0.88 * 200 <= covered <= 0.99 * 200


def test_large_sets_are_drawn_in_blocks_and_a_seed_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=50).tolist()
    one = mean_interval(values, resamples=200, seed=3)
    assert one == mean_interval(values, resamples=200, seed=3)
    assert one != mean_interval(values, resamples=200, seed=4)
    monkeypatch.setattr("limner.evaluation.bootstrap._ROWS", 1000)
    assert mean_interval(values, resamples=200, seed=3) == pytest.approx(one, abs=0.1)


@pytest.mark.parametrize(("n", "m"), [(9, 14), (40, 30)])
def test_weighted_statistics_are_those_of_repeated_images(n: int, m: int) -> None:
    x, y = normal(n, seed=1), normal(m, seed=2, at=0.7)
    rng = np.random.default_rng(0)
    w, v = (torch.from_numpy(rng.multinomial(k, [1 / k] * k)) for k in (n, m))
    repeated = x.repeat_interleave(w, dim=0), y.repeat_interleave(v, dim=0)
    value = frechet_statistic(x, y)(w.double(), v.double())
    assert value == pytest.approx(frechet(*repeated), rel=1e-6)
    ones = torch.ones(n).double(), torch.ones(m).double()
    assert frechet_statistic(x, y)(*ones) == pytest.approx(frechet(x, y), rel=1e-6)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / 12 + 1) ** 3

    within = [(kernel(a, a).sum() - kernel(a, a).trace()) / (len(a) * (len(a) - 1)) for a in (x, y)]
    expected = within[0] + within[1] - 2 * kernel(x, y).mean()
    assert kid_statistic(x, y)(*ones) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(("size", "rounds", "resamples"), [(60, 60, 150), (560, 40, 40)])
def test_the_interval_of_a_distance_has_the_width_that_fresh_sets_show(
    size: int, rounds: int, resamples: int
) -> None:
    values = [
        frechet(normal(size, seed=2 * n), normal(size, seed=2 * n + 1, at=0.8))
        for n in range(rounds)
    ]
    widths = []
    for n in range(3 if size < 500 else 1):
        x, y = normal(size, seed=2 * n), normal(size, seed=2 * n + 1, at=0.8)
        value = frechet(x, y)
        (low, high), how = distance_interval(
            frechet_statistic, x, y, value=value, resamples=resamples, seed=n
        )
        assert low < value < high
        assert ("scaled to 560" in how) == (size > 512)
        widths.append(high - low)
    low, high = np.percentile(values, (2.5, 97.5))
    assert np.mean(widths) == pytest.approx(high - low, rel=0.5)


def test_kid_gets_an_interval_too() -> None:
    x, y = normal(80, seed=1), normal(80, seed=2, at=0.5)
    (low, high), how = distance_interval(kid_statistic, x, y, value=0.2, resamples=100, seed=0)
    assert low < 0.2 < high
    assert how.startswith("bootstrap over images, 100 resamples")
