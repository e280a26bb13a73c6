"""Intervals cover as often as they say; paired tests are exact where they can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from limner.evaluation import statistics
from limner.evaluation.metrics.distances import frechet, frechet_statistic, kid_statistic
from limner.evaluation.statistics import holm, mean_interval, paired_test, spread_interval


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
    monkeypatch.setattr(statistics, "_CELLS", 1000)
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
        found = spread_interval(frechet_statistic, x, y, value=value, resamples=resamples, seed=n)
        low, high = found["interval"]
        assert low < value < high
        assert ("scaled to 560" in found["interval_method"]) == (size > 512)
        widths.append(high - low)
    low, high = np.percentile(values, (2.5, 97.5))
    assert np.mean(widths) == pytest.approx(high - low, rel=0.5)


def test_kid_gets_an_interval_too() -> None:
    x, y = normal(80, seed=1), normal(80, seed=2, at=0.5)
    found = spread_interval(kid_statistic, x, y, value=0.2, resamples=100, seed=0)
    low, high = found["interval"]
    assert low < 0.2 < high
    assert found["interval_method"].startswith("bootstrap over images, 100 resamples")


def test_a_single_image_has_an_interval_of_no_width() -> None:
    assert mean_interval([0.25], resamples=100, seed=0) == (0.25, 0.25)


def drawn(count: int, shift: float, seed: int = 0) -> list[float]:
    return (np.random.default_rng(seed).normal(size=count) + shift).tolist()


@pytest.mark.parametrize(("count", "shift"), [(6, 0.5), (9, 0.0), (12, 1.0)])
def test_few_differences_give_the_exact_p_of_scipy(count: int, shift: float) -> None:
    values = drawn(count, shift)
    reference = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=np.inf,
    )  # fmt: skip
    assert paired_test(values, seed=0).p == pytest.approx(reference.pvalue, abs=1e-12)


@pytest.mark.parametrize("shift", [0.05, 0.2, 0.3])
def test_many_differences_give_about_the_p_of_the_t_test(shift: float) -> None:
    values = drawn(106, shift)
    reference = stats.ttest_1samp(values, 0).pvalue
    p = paired_test(values, seed=0).p
    assert p == pytest.approx(reference, abs=4 * (reference / statistics.FLIPS) ** 0.5 + 0.005)


def test_the_sign_of_all_differences_changes_nothing_but_the_mean() -> None:
    values = drawn(8, 0.7)
    there, back = paired_test(values, seed=0), paired_test([-v for v in values], seed=0)
    assert there.p == back.p
    assert there.mean == -back.mean == pytest.approx(np.mean(values))


def test_no_difference_has_p_one_and_a_certain_one_the_least_there_is() -> None:
    assert paired_test([0.0] * 50, seed=0) == (0.0, (0.0, 0.0), 1.0)
    assert paired_test([1.0] * 50, seed=0).p == 2 / (statistics.FLIPS + 1)
    assert paired_test([1.0] * 5, seed=0).p == 2 / 2**5
    assert paired_test([1.0], seed=0).p == 1.0


def test_runs_that_are_alike_are_told_apart_as_rarely_as_promised() -> None:
    found = sum(paired_test(drawn(10, 0.0, seed), seed=0).p <= 0.05 for seed in range(200))
    assert stats.binomtest(found, 200, 0.05).pvalue > 0.01


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    hits = 0
    for seed in range(100):
        low, high = paired_test(drawn(60, 0.3, seed), seed=seed).interval
        hits += low <= 0.3 <= high
    assert 88 <= hits <= 99


def test_memory_is_bounded_and_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    values = drawn(40, 0.2)
    assert paired_test(values, seed=1) == paired_test(values, seed=1)
    assert paired_test(values, seed=1) != paired_test(values, seed=2)
    whole = paired_test(values, seed=1)
    monkeypatch.setattr(statistics, "_CELLS", 4000)
    assert paired_test(values, seed=1).p == pytest.approx(whole.p, abs=0.02)


def test_holm_is_that_of_the_paper_and_keeps_the_order() -> None:
    # multiplied by 4, 3, 2, 1 from the smallest, never falling
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_images_of_one_group_are_drawn_and_permuted_together() -> None:
    rng = np.random.default_rng(5)
    of_group = rng.normal(1, 1, size=12)
    values = np.repeat(of_group, 10).tolist()  # ten images a group, which add nothing
    groups = [f"{k:02}" for k in range(12) for _ in range(10)]
    whole = mean_interval(values, resamples=1000, seed=1, groups=groups)
    alone = mean_interval(of_group.tolist(), resamples=1000, seed=1)
    assert whole == pytest.approx(alone)
    naive = mean_interval(values, resamples=1000, seed=1)
    assert whole[1] - whole[0] > 2 * (naive[1] - naive[0])
    shuffled = rng.permutation(len(values))
    again = [values[k] for k in shuffled], [groups[k] for k in shuffled]
    assert mean_interval(again[0], resamples=1000, seed=1, groups=again[1]) == pytest.approx(whole)
    test = paired_test(values, seed=1, groups=groups)
    assert test.p == pytest.approx(paired_test(of_group.tolist(), seed=1).p)
    assert test.p > paired_test(values, seed=1).p
    assert test.mean == pytest.approx(float(np.mean(values)))
    uneven = paired_test([1.0, 1.0, 4.0], seed=0, groups=["a", "a", "b"])
    assert (uneven.mean, uneven.interval) == (2.0, (1.0, 4.0))
    assert paired_test(values, seed=1, groups=["one"] * len(values)).p == 1


def test_groups_that_say_nothing_change_nothing() -> None:
    values = np.random.default_rng(2).normal(size=30).tolist()
    each = [str(number) for number in range(30)]
    low, high = mean_interval(values, resamples=2000, seed=0, groups=sorted(each))
    assert (low, high) == pytest.approx(mean_interval(values, resamples=2000, seed=0), abs=0.1)
