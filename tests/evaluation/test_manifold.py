"""Precision, recall, density and coverage: worked by hand and at the extremes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from limner.errors import DataError
from limner.evaluation.metrics import OF_SETS, distances
from limner.evaluation.metrics.distances import balls
from limner.evaluation.metrics.of_sets import FeatureSets

NAMES = ("precision", "recall", "density", "coverage")


def normal(count: int, *, seed: int, at: float = 0.0) -> Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)).double() + at


def means(names: Iterable[str], real: Tensor, fake: Tensor) -> dict[str, float]:
    metrics = {name: OF_SETS[name] for name in names}
    nearest = [metric.nearest for metric in metrics.values() if metric.nearest]
    sets = FeatureSets(real, fake, nearest=nearest)
    return {
        name: metric.function(sets, seed=0, resamples=0).value for name, metric in metrics.items()
    }


def mean(name: str, real: Tensor, fake: Tensor) -> float:
    return means([name], real, fake)[name]


def test_a_case_worked_by_hand() -> None:
    # On a line, k = 1: radii of the reals 1, 1, 8; of the fakes 1.5, 1.5, 88.5.
    real = torch.tensor([[0.0], [1.0], [9.0]])
    fake = torch.tensor([[1.5], [3.0], [91.5]])
    found = balls(real, fake, ks=[1])[1]
    # 1.5 is within 1 of the real 1.0 and within 8 of the real 9.0; 3.0 only of the latter.
    assert found.real_balls_holding_fake.tolist() == [2, 1, 0]
    # The reals 0.0 and 1.0 are within 1.5 of the fake 1.5, and 9.0 is within 88.5 of 91.5.
    assert found.fake_balls_holding_real.tolist() == [1, 1, 1]
    assert found.real_ball_is_visited.tolist() == [False, True, True]


def test_a_set_covers_itself_wholly() -> None:
    x = normal(400, seed=1)
    of_itself = means(NAMES, x, x)
    assert of_itself["precision"] == of_itself["recall"] == of_itself["coverage"] == 1.0
    # Each ball holds its centre and k others.
    assert of_itself["density"] == pytest.approx(6 / 5, abs=1e-12)


def test_samples_of_one_distribution_have_density_and_precision_near_one() -> None:
    x, y = normal(600, seed=1), normal(600, seed=2)
    assert mean("density", x, y) == pytest.approx(1, abs=0.12)
    # Naeem et al., section 3.3: coverage then is about 1 - 2^-k.
    assert mean("coverage", x, y) == pytest.approx(1 - 2**-5, abs=0.03)
    assert mean("precision", x, y) > 0.8


def test_sets_apart_do_not_cover_each_other() -> None:
    x, y = normal(60, seed=1), normal(70, seed=2, at=50)
    assert list(means(NAMES, x, y).values()) == [0, 0, 0, 0]


def test_one_mode_of_two_is_precise_but_not_complete() -> None:
    real = torch.cat([normal(200, seed=1), normal(200, seed=2, at=50)])
    fake = normal(200, seed=3)
    assert mean("precision", real, fake) > 0.8
    for name in ("recall", "coverage"):
        assert mean(name, real, fake) == pytest.approx(0.5, abs=0.1)
    # The other way round each fake of the second mode is imprecise.
    assert mean("precision", fake, real) == pytest.approx(0.5, abs=0.1)


def test_blocks_of_rows_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(50, seed=1), normal(40, seed=2)
    whole = balls(x, y, ks=[3])[3]
    monkeypatch.setattr(distances, "_ROWS", 7)
    assert all(torch.equal(a, b) for a, b in zip(whole, balls(x, y, ks=[3])[3], strict=True))


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="fake has 3 images: balls around the 3 nearest"):
        means(["precision"], normal(9, seed=1), normal(3, seed=2))
    with pytest.raises(DataError, match="take both from one extractor"):
        means(["recall"], normal(9, seed=1), normal(9, seed=2)[:, :4])


def test_together_the_figures_are_those_of_each_alone_from_distances_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = normal(40, seed=1), normal(30, seed=2, at=0.5)
    alone = {name: mean(name, x, y) for name in NAMES}
    # The radius as its definition has it: the k-th smallest distance to another point.
    apart = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(math.inf)
    between = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    for name, k in (("precision", 3), ("density", 5)):
        held = (between <= apart.sort(dim=1).values[:, k - 1, None]).sum(dim=0)
        expected = held > 0 if name == "precision" else held.double() / k
        assert alone[name] == pytest.approx(float(expected.double().mean()), rel=1e-12)
    calls = []
    cdist = torch.cdist
    monkeypatch.setattr(
        torch, "cdist", lambda a, b, **how: calls.append((len(a), len(b))) or cdist(a, b, **how)
    )
    assert means([*NAMES, "kid"], x, y) == alone | {"kid": mean("kid", x, y)}
    assert sorted(calls) == [(30, 30), (40, 30), (40, 40)]
