from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import ConfigError
from limner.schedules import SCHEDULES, value

names = st.sampled_from(sorted(SCHEDULES))


@given(
    names,
    st.integers(1, 400),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.integers(1, 9),
)
def test_they_start_at_1_never_rise_and_stay_within_0_and_1(
    name: str, epochs: int, decay_start: float, factor: float, stages: int
) -> None:
    values = [
        value(name, k, epochs=epochs, decay_start=decay_start, factor=factor, stages=stages)
        for k in range(1, epochs + 3)
    ]
    assert values[0] == 1
    assert values == sorted(values, reverse=True)
    assert all(0 <= v <= 1 for v in values)
    assert values[epochs - 1] > 0, "the last epoch still learns"
    held = math.floor(decay_start * epochs)
    assert values[:held] == [1] * held


@given(st.integers(1, 300), st.integers(0, 300))
def test_linear_is_the_rule_of_pix2pix(constant: int, decay: int) -> None:
    epochs = constant + decay
    for k in range(1, epochs + 1):
        expected = 1 - max(0, k - constant) / (decay + 1)
        found = value("linear", k, epochs=epochs, decay_start=constant / epochs)
        assert found == pytest.approx(expected, abs=1e-12)


def test_linear_at_the_epochs_of_pix2pix() -> None:
    found = {k: value("linear", k, epochs=200) for k in (1, 100, 101, 150, 200, 201, 500)}
    expected = {
        1: 1,
        100: 1,
        101: Fraction(100, 101),
        150: Fraction(51, 101),
        200: Fraction(1, 101),
    }
    assert found == pytest.approx({k: float(v) for k, v in expected.items()} | {201: 0, 500: 0})


def test_constant_never_falls() -> None:
    assert {value("constant", k, epochs=7, decay_start=0) for k in range(1, 20)} == {1.0}


def test_cosine_is_half_way_in_the_middle() -> None:
    assert value("cosine", 51, epochs=100, decay_start=0) == pytest.approx(0.5)
    assert value("cosine", 26, epochs=100, decay_start=0) == pytest.approx((1 + 2**-0.5) / 2)


def test_steps_hold_equal_parts() -> None:
    # The study's exponents 0 to 4 over fifths of the epochs, at 0.7.
    found = [
        value("steps", k, epochs=200, decay_start=0, factor=0.7, stages=5) for k in range(1, 201)
    ]
    levels = [1.0, 0.7, 0.49, 0.343, 0.2401]
    assert found == pytest.approx([level for level in levels for _ in range(40)])


def test_steps_begin_where_the_parts_begin_in_spite_of_rounding() -> None:
    for stages in range(1, 10):
        for length in range(1, 60):
            keywords = {"epochs": stages * length, "decay_start": 0.0, "stages": stages}
            for stage in range(stages):
                first, last = stage * length + 1, (stage + 1) * length
                assert value("steps", first, factor=0.5, **keywords) == 0.5**stage
                assert value("steps", last, factor=0.5, **keywords) == 0.5**stage


def test_a_held_part_is_not_an_epoch_longer_for_rounding() -> None:
    assert 0.07 * 100 > 7
    assert value("linear", 7, epochs=100, decay_start=0.07) == 1
    assert value("linear", 8, epochs=100, decay_start=0.07) < 1


def test_geometric_falls_by_the_same_factor_and_meets_the_steps() -> None:
    keywords = {"epochs": 200, "decay_start": 0.0, "factor": 0.7, "stages": 5}
    found = [value("geometric", k, **keywords) for k in range(1, 201)]
    ratios = [after / before for before, after in itertools.pairwise(found)]
    assert ratios == pytest.approx([0.7 ** (5 / 200)] * 199)
    for k in (1, 41, 81, 121, 161):
        assert found[k - 1] == pytest.approx(value("steps", k, **keywords))


def test_fractions_of_epochs_lie_between() -> None:
    low, middle, high = (value("linear", k, epochs=20) for k in (16, 15.5, 15))
    assert middle == pytest.approx((low + high) / 2)


@pytest.mark.parametrize(
    ("name", "epoch", "keywords", "message"),
    [
        ("linea", 1, {"epochs": 2}, "unknown schedule 'linea': did you mean 'linear'"),
        ("linear", 0, {"epochs": 2}, "epoch 0 of 2: epochs count from 1"),
        ("linear", 1, {"epochs": 2, "decay_start": 1.5}, "decay_start 1.5"),
        ("steps", 1, {"epochs": 2, "factor": 0.0}, "factor 0.0"),
        ("steps", 1, {"epochs": 2, "stages": 0}, "stages 0"),
    ],
)
def test_wrong_use_is_refused(
    name: str, epoch: float, keywords: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        value(name, epoch, **keywords)  # pyright: ignore[reportArgumentType]
