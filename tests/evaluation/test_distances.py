"""The distances between feature sets, as mathematics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limner.errors import DataError
from limner.evaluation.metrics.distances import frechet, kid, kid_subset_size

# samples and dimensions: fewer, as many, more
SHAPES = [(2, 9), (7, 30), (16, 16), (17, 16), (200, 12), (5, 1)]

seeds = st.integers(0, 2**32 - 2)
shapes = st.sampled_from(SHAPES)


def cloud(seed: int, count: int, dimensions: int, *, shift: float = 0.0) -> Tensor:
    """Correlated points: a random linear image of uniform ones."""
    rng = np.random.RandomState(seed)
    mix = rng.uniform(-1, 1, (dimensions, dimensions))
    return torch.from_numpy(rng.uniform(-1, 1, (count, dimensions)) @ mix + shift)


def rotation(seed: int, dimensions: int) -> Tensor:
    rng = np.random.RandomState(seed)
    return torch.linalg.qr(torch.from_numpy(rng.normal(size=(dimensions, dimensions)))).Q


def points_with(mean: Tensor, deviations: Tensor, turn: Tensor, *, count: int) -> Tensor:
    """Points whose sample mean and covariance (turn diag(deviations^2) turn^T) are just these."""
    basis = torch.from_numpy(np.random.RandomState(count).normal(size=(count, len(deviations) + 1)))
    basis[:, 0] = 1.0
    # Columns orthogonal to the first, the constant one, have mean zero.
    columns = torch.linalg.qr(basis).Q[:, 1:]
    return mean + (count - 1) ** 0.5 * (columns * deviations) @ turn.T


@settings(deadline=None, max_examples=40)
@given(seeds, shapes)
def test_the_distance_of_a_set_to_itself_is_zero(seed: int, shape: tuple[int, int]) -> None:
    x = cloud(seed, *shape, shift=3.0)
    scale = float(x.var(dim=0).sum())
    assert 0 <= frechet(x, x) <= 1e-12 * scale


@settings(deadline=None, max_examples=40)
@given(seeds, shapes, shapes)
def test_frechet_is_symmetric_and_never_negative(
    seed: int, shape: tuple[int, int], other: tuple[int, int]
) -> None:
    x, y = cloud(seed, *shape), cloud(seed + 1, other[0], shape[1], shift=0.5)
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-9)
    assert frechet(x, y) >= 0


@settings(deadline=None, max_examples=40)
@given(seeds, shapes)
def test_frechet_is_unchanged_by_rotation_shift_and_order(
    seed: int, shape: tuple[int, int]
) -> None:
    x, y = cloud(seed, *shape), cloud(seed + 1, *shape, shift=0.5)
    turn = rotation(seed, shape[1])
    moved = frechet((x @ turn + 7).flip(0), y @ turn + 7)
    assert moved == pytest.approx(frechet(x, y), rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(seeds, shapes, st.floats(0.01, 100))
def test_frechet_grows_with_the_square_of_the_scale(
    seed: int, shape: tuple[int, int], scale: float
) -> None:
    x, y = cloud(seed, *shape), cloud(seed + 1, *shape, shift=0.5)
    assert frechet(scale * x, scale * y) == pytest.approx(scale**2 * frechet(x, y), rel=1e-9)


@pytest.mark.parametrize(("rank", "dimensions", "count"), [(3, 20, 8), (6, 6, 50), (4, 300, 30)])
def test_frechet_has_the_analytic_value_for_given_means_and_covariances(
    rank: int, dimensions: int, count: int
) -> None:
    # Covariances with common axes commute: the trace is the sum of squared differences of
    # deviations. Axes beyond `rank` have no spread, so both sample sizes can represent it.
    turn = rotation(5, dimensions)[:, :rank]
    first = torch.linspace(0.2, 3.0, rank, dtype=torch.float64)
    second = torch.linspace(2.5, 0.1, rank, dtype=torch.float64)
    means = torch.zeros(dimensions).double(), torch.linspace(-1, 1, dimensions).double()
    x = points_with(means[0], first, turn, count=count)
    y = points_with(means[1], second, turn, count=count + 3)
    expected = (means[1] ** 2).sum() + ((first - second) ** 2).sum()
    assert frechet(x, y) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(("n", "m", "dimensions"), [(60, 45, 20), (200, 9, 14), (21, 300, 20)])
def test_frechet_equals_the_matrix_root_where_that_is_sound(
    n: int, m: int, dimensions: int
) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    x, y = cloud(1, n, dimensions).numpy(), cloud(2, m, dimensions, shift=0.3).numpy()
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(a @ b).real
    mean = x.mean(0) - y.mean(0)
    expected = mean @ mean + np.trace(a) + np.trace(b) - 2 * np.trace(root)
    # A singular product costs the root half its digits; ours is not concerned.
    exact = min(n, m) > dimensions
    assert frechet(x, y) == pytest.approx(expected, rel=1e-10 if exact else 1e-5)


def test_frechet_of_few_samples_is_that_of_the_space_they_span() -> None:
    # In 400 dimensions as in the 12 that the samples span, where covariances have full rank.
    small = cloud(3, 40, 12), cloud(4, 50, 12, shift=0.2)
    wide = rotation(6, 400)[:, :12]
    assert frechet(*(x @ wide.T for x in small)) == pytest.approx(frechet(*small), rel=1e-10)


def test_float32_and_numpy_are_taken() -> None:
    x, y = cloud(1, 30, 8), cloud(2, 30, 8)
    assert frechet(x.float().numpy(), y.float()) == pytest.approx(frechet(x, y), rel=1e-5)


@pytest.mark.parametrize("distance", [frechet, kid])
def test_sets_that_have_no_distance_are_refused(distance) -> None:
    x = cloud(1, 5, 4)
    with pytest.raises(DataError, match=r"real has 1 image: .* at least 2"):
        distance(x[:1], x)
    with pytest.raises(DataError, match="fake has 0 images"):
        distance(x, x[:0])
    with pytest.raises(DataError, match="not finite"):
        distance(x, x / 0)
    with pytest.raises(DataError, match="4 and 3 dimensions"):
        distance(x, x[:, :3])
    with pytest.raises(DataError, match="N x D"):
        distance(x[0], x)


def naive_kid(x: np.ndarray, y: np.ndarray, subsets: int, size: int, seed: int) -> np.ndarray:
    """The estimator by its definition, sum by sum."""
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        a = x[rng.choice(len(x), size, replace=False)]
        b = y[rng.choice(len(y), size, replace=False)]
        total = 0.0
        for i in range(size):
            for j in range(size):
                if i != j:
                    total += (a[i] @ a[j] / a.shape[1] + 1) ** 3 / (size * (size - 1))
                    total += (b[i] @ b[j] / a.shape[1] + 1) ** 3 / (size * (size - 1))
                total -= 2 * (a[i] @ b[j] / a.shape[1] + 1) ** 3 / size**2
        values.append(total)
    return np.array(values)


@pytest.mark.parametrize("subsets", [40, 2])
def test_kid_is_its_definition_by_one_kernel_and_by_a_kernel_each(subsets: int) -> None:
    # 40 subsets of 6 share one kernel of 30 x 30; 2 are computed apart.
    x, y = cloud(1, 30, 5).numpy(), cloud(2, 25, 5, shift=0.4).numpy()
    expected = naive_kid(x, y, subsets, 6, seed=3)
    mean, deviation = kid(x, y, subsets=subsets, subset_size=6, seed=3)
    assert mean == pytest.approx(expected.mean(), rel=1e-10)
    assert deviation == pytest.approx(expected.std(), rel=1e-10)


def test_kid_does_not_depend_on_the_block_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = cloud(1, 50, 5), cloud(2, 40, 5, shift=0.4)
    whole = kid(x, y, subset_size=20)
    monkeypatch.setattr("limner.evaluation.metrics.distances._ROWS", 7)
    assert kid(x, y, subset_size=20) == pytest.approx(whole, rel=1e-12)


def test_kid_of_one_distribution_is_zero_on_average() -> None:
    # 300 independent pairs of sets of 12: the mean must lie within four standard errors of zero,
    # while the biased estimator would be off by many.
    values = []
    for seed in range(300):
        rng = np.random.RandomState(seed)
        x, y = rng.normal(size=(2, 12, 6))
        values.append(kid(x, y, subsets=1, subset_size=12, seed=seed)[0])
    error = np.std(values) / len(values) ** 0.5
    assert abs(np.mean(values)) < 4 * error
    v = np.random.RandomState(0).normal(size=(99, 6))
    diagonal = np.mean(((v * v).sum(axis=1) / 6 + 1) ** 3)
    assert 2 * diagonal / 12 > 40 * error


def test_kid_grows_with_the_distance_of_the_sets() -> None:
    x = cloud(1, 60, 8)
    values = [kid(x, cloud(2, 60, 8, shift=s), subset_size=30)[0] for s in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)


def test_kid_is_the_same_for_a_seed_and_another_for_another() -> None:
    x, y = cloud(1, 30, 5), cloud(2, 30, 5)
    one = kid(x, y, subsets=5, subset_size=10, seed=1)
    assert one == kid(x, y, subsets=5, subset_size=10, seed=1)
    assert one != kid(x, y, subsets=5, subset_size=10, seed=2)


def test_subsets_of_small_sets_are_half_of_the_smaller() -> None:
    assert kid_subset_size(1000, 5000, 1000) == 1000
    assert kid_subset_size(999, 5000, 1000) == 499
    assert kid_subset_size(5000, 3, 1000) == 2
    x, y = cloud(1, 30, 5), cloud(2, 40, 5)
    assert kid(x, y) == kid(x, y, subset_size=15)
    assert kid(x, y)[1] > 0
