"""Precision, recall, density and coverage: worked by hand and at the extremes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from limner.errors import DataError
from limner.evaluation import manifold
from limner.evaluation.manifold import NEAREST, balls, each
from limner.evaluation.setfigures import set_figures


def normal(count: int, *, seed: int, at: float = 0.0) -> Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)).double() + at


def mean(name: str, real: Tensor, fake: Tensor) -> float:
    return float(each([name], real, fake)[name].mean())


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
    means = {name: float(values.mean()) for name, values in each(list(NEAREST), x, x).items()}
    assert means["precision"] == means["recall"] == means["coverage"] == 1.0
    # Each ball holds its centre and k others.
    assert means["density"] == pytest.approx(6 / 5, abs=1e-12)


def test_samples_of_one_distribution_have_density_and_precision_near_one() -> None:
    x, y = normal(600, seed=1), normal(600, seed=2)
    assert mean("density", x, y) == pytest.approx(1, abs=0.12)
    # Naeem et al., section 3.3: coverage then is about 1 - 2^-k.
    assert mean("coverage", x, y) == pytest.approx(1 - 2**-5, abs=0.03)
    assert mean("precision", x, y) > 0.8


def test_sets_apart_do_not_cover_each_other() -> None:
    x, y = normal(60, seed=1), normal(70, seed=2, at=50)
    assert [float(v.sum()) for v in each(list(NEAREST), x, y).values()] == [0, 0, 0, 0]


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
    monkeypatch.setattr(manifold, "_ROWS", 7)
    assert all(torch.equal(a, b) for a, b in zip(whole, balls(x, y, ks=[3])[3], strict=True))


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="fake has 3 images: balls around the 3 nearest"):
        each(["precision"], normal(9, seed=1), normal(3, seed=2))
    with pytest.raises(DataError, match="take both from one extractor"):
        each(["recall"], normal(9, seed=1), normal(9, seed=2)[:, :4])


def test_together_the_figures_are_those_of_each_alone_from_distances_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = normal(40, seed=1), normal(30, seed=2, at=0.5)
    alone = {name: each([name], x, y)[name] for name in NEAREST}
    # The radius as its definition has it: the k-th smallest distance to another point.
    apart = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(math.inf)
    between = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    for name, k in (("precision", 3), ("density", 5)):
        held = (between <= apart.sort(dim=1).values[:, k - 1, None]).sum(dim=0)
        expected = held > 0 if name == "precision" else held.double() / k
        assert torch.equal(alone[name], expected.double())
    calls = []
    cdist = torch.cdist
    monkeypatch.setattr(
        torch, "cdist", lambda a, b, **how: calls.append((len(a), len(b))) or cdist(a, b, **how)
    )
    assert all(torch.equal(v, alone[name]) for name, v in each(list(NEAREST), x, y).items())
    assert sorted(calls) == [(30, 30), (40, 30), (40, 40)]
    calls.clear()
    found = set_figures([*NEAREST, "kid"], x, y, seed=0, bootstrap=0)
    assert list(found) == [*NEAREST, "kid"]
    assert len(calls) == 3
    assert found["density"][0] == pytest.approx(float(alone["density"].mean()), rel=1e-12)
