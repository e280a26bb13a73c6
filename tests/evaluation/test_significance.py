"""Paired tests: against SciPy's, exact where they can be, and right about nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from limner.evaluation import significance
from limner.evaluation.significance import holm, paired_test


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
    assert p == pytest.approx(reference, abs=4 * (reference / significance.FLIPS) ** 0.5 + 0.005)


def test_the_sign_of_all_differences_changes_nothing_but_the_mean() -> None:
    values = drawn(8, 0.7)
    there, back = paired_test(values, seed=0), paired_test([-v for v in values], seed=0)
    assert there.p == back.p
    assert there.mean == -back.mean == pytest.approx(np.mean(values))


def test_no_difference_has_p_one_and_a_certain_one_the_least_there_is() -> None:
    assert paired_test([0.0] * 50, seed=0) == (0.0, (0.0, 0.0), 1.0)
    assert paired_test([1.0] * 50, seed=0).p == 1 / (significance.FLIPS + 1)
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
    monkeypatch.setattr(significance, "_CELLS", 4000)
    assert paired_test(values, seed=1).p == pytest.approx(whole.p, abs=0.02)


def test_holm_is_that_of_the_paper_and_keeps_the_order() -> None:
    # multiplied by 4, 3, 2, 1 from the smallest, never falling
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
