"""Precision, recall, density and coverage: worked by hand and at the extremes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.errors import DataError
from limner.evaluation import manifold
from limner.evaluation.manifold import NEAREST, balls, each


def normal(count: int, *, seed: int, at: float = 0.0) -> Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)).double() + at


def test_a_case_worked_by_hand() -> None:
    # On a line, k = 1: radii of the reals 1, 1, 8; of the fakes 1.5, 1.5, 88.5.
    real = torch.tensor([[0.0], [1.0], [9.0]])
    fake = torch.tensor([[1.5], [3.0], [91.5]])
    found = balls(real, fake, k=1)
    # 1.5 is within 1 of the real 1.0 and within 8 of the real 9.0; 3.0 only of the latter.
    assert found.real_balls_holding_fake.tolist() == [2, 1, 0]
    # The reals 0.0 and 1.0 are within 1.5 of the fake 1.5, and 9.0 is within 88.5 of 91.5.
    assert found.fake_balls_holding_real.tolist() == [1, 1, 1]
    assert found.real_ball_is_visited.tolist() == [False, True, True]


def test_a_set_covers_itself_wholly() -> None:
    x = normal(400, seed=1)
    means = {name: float(each(name, x, x).mean()) for name in NEAREST}
    assert means["precision"] == means["recall"] == means["coverage"] == 1.0
    # Each ball holds its centre and k others.
    assert means["density"] == pytest.approx(6 / 5, abs=1e-12)


def test_samples_of_one_distribution_have_density_and_precision_near_one() -> None:
    x, y = normal(600, seed=1), normal(600, seed=2)
    assert float(each("density", x, y).mean()) == pytest.approx(1, abs=0.12)
    # Naeem et al., section 3.3: coverage then is about 1 - 2^-k.
    assert float(each("coverage", x, y).mean()) == pytest.approx(1 - 2**-5, abs=0.03)
    assert float(each("precision", x, y).mean()) > 0.8


def test_sets_apart_do_not_cover_each_other() -> None:
    x, y = normal(60, seed=1), normal(70, seed=2, at=50)
    assert [float(each(name, x, y).sum()) for name in NEAREST] == [0, 0, 0, 0]


def test_one_mode_of_two_is_precise_but_not_complete() -> None:
    real = torch.cat([normal(200, seed=1), normal(200, seed=2, at=50)])
    fake = normal(200, seed=3)
    assert float(each("precision", real, fake).mean()) > 0.8
    for name in ("recall", "coverage"):
        assert float(each(name, real, fake).mean()) == pytest.approx(0.5, abs=0.1)
    # The other way round each fake of the second mode is imprecise.
    assert float(each("precision", fake, real).mean()) == pytest.approx(0.5, abs=0.1)


def test_blocks_of_rows_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(50, seed=1), normal(40, seed=2)
    whole = balls(x, y, k=3)
    monkeypatch.setattr(manifold, "_ROWS", 7)
    assert all(torch.equal(a, b) for a, b in zip(whole, balls(x, y, k=3), strict=True))


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="fake has 3 images: balls around the 3 nearest"):
        each("precision", normal(9, seed=1), normal(3, seed=2))
    with pytest.raises(DataError, match="take both from one extractor"):
        each("recall", normal(9, seed=1), normal(9, seed=2)[:, :4])
