from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import ConfigError
from limner.schedules import SCHEDULES, WEIGHTINGS, adapted, value, weights_at

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


# The weights of several discriminators

shares = st.floats(0, 1)
losses = st.lists(st.floats(0, 5), min_size=2, max_size=4)


def first_weights(rule: str, alpha: float, epochs: int) -> list[float]:
    return [
        weights_at(rule, epoch, epochs=epochs, weights=(alpha, 1 - alpha))[0]
        for epoch in range(1, epochs + 1)
    ]


def test_the_studys_sequences() -> None:
    # Its version 1 at 0.7 over 200 epochs, 40 each; its version 2, 100 each.
    first = first_weights("dynamic-1", 0.7, 200)
    assert first == pytest.approx(
        [w for w in (1.0, 0.7, 0.49, 0.343, 0.2401) for _ in range(40)], rel=1e-12
    )
    second = first_weights("dynamic-2", 0.7, 200)
    assert second == pytest.approx([w for w in (0.7, 0.49) for _ in range(100)], rel=1e-12)


@given(st.sampled_from(["dynamic-1", "dynamic-2"]), shares, st.integers(1, 60), st.integers(1, 80))
def test_two_discriminators_share_one_weight(
    rule: str, alpha: float, epochs: int, epoch: int
) -> None:
    large, small = weights_at(rule, epoch, epochs=epochs, weights=(alpha, 1 - alpha))
    assert large + small == pytest.approx(1)
    assert 0 <= large <= 1


def test_more_than_two_share_the_rest_in_proportion() -> None:
    weights = weights_at("dynamic-2", 2, epochs=2, weights=(0.5, 0.3, 0.2))
    assert weights == pytest.approx((0.25, 0.45, 0.3))


@pytest.mark.parametrize("rule", ["linear", "cosine"])
def test_they_lead_from_start_to_end_without_a_turn(rule: str) -> None:
    path = [
        weights_at(rule, epoch, epochs=9, weights=(1.0, 0.0), end=(0.2, 0.8))
        for epoch in range(1, 12)
    ]
    assert path[0] == (1.0, 0.0)
    assert path[8] == path[10] == pytest.approx((0.2, 0.8))
    assert path[4] == pytest.approx((0.6, 0.4))  # half way, for both
    assert [w[0] for w in path] == sorted((w[0] for w in path), reverse=True)


def test_linear_and_cosine_differ_on_the_way() -> None:
    linear, cosine = (
        weights_at(rule, 3, epochs=9, weights=(1.0, 0.0), end=(0.0, 1.0))
        for rule in ("linear", "cosine")
    )
    assert linear[0] == pytest.approx(0.75)
    assert cosine[0] == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))


@given(losses, st.floats(0, 20), st.floats(0, 0.25))
def test_adapted_weights_keep_their_sum_and_their_bounds(
    losses: list[float], sharpness: float, floor: float
) -> None:
    weights = tuple(1.5 / len(losses) for _ in losses)
    found = adapted(weights, losses, sharpness=sharpness, floor=floor)
    assert sum(found) == pytest.approx(1.5)
    assert min(found) >= 1.5 * floor - 1e-9
    assert max(found) <= 1.5 * (1 - (len(losses) - 1) * floor) + 1e-9


@given(losses, st.floats(0, 20))
def test_who_loses_less_is_listened_to_more(losses: list[float], sharpness: float) -> None:
    found = adapted((1.0,) * len(losses), losses, sharpness=sharpness, floor=0.05)
    by_loss = [weight for _, weight in sorted(zip(losses, found, strict=True))]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(by_loss))


def test_adapted_weights_are_the_mixture_that_the_derivation_asks_for() -> None:
    """No other mixture has a higher value less relative entropy (searched on a grid)."""
    weights, losses, sharpness = (0.7, 0.3), (0.6, 0.4), 3.0

    def objective(p: float) -> float:
        entropy = p * math.log(p / 0.7) + (1 - p) * math.log((1 - p) / 0.3)
        return -p * losses[0] - (1 - p) * losses[1] - entropy / sharpness

    best = max((step / 10_000 for step in range(1, 10_000)), key=objective)
    found = adapted(weights, losses, sharpness=sharpness, floor=0.0)
    assert found[0] == pytest.approx(best, abs=1e-4)


def test_no_sharpness_or_equal_losses_keep_the_users_proportions() -> None:
    assert adapted((0.7, 0.3), (0.1, 0.9), sharpness=0, floor=0) == pytest.approx((0.7, 0.3))
    assert adapted((0.7, 0.3), (0.4, 0.4), sharpness=9, floor=0) == pytest.approx((0.7, 0.3))


def test_settings_that_do_not_fit_are_refused_with_the_cure() -> None:
    with pytest.raises(ConfigError, match="adaptive"):
        weights_at("dynamic", 1, epochs=2, weights=(0.5, 0.5))
    with pytest.raises(ConfigError, match=r"needs objective\.weights_end"):
        weights_at("linear", 1, epochs=2, weights=(0.5, 0.5))
    with pytest.raises(ConfigError, match="lists 1 weights for 2 discriminators"):
        weights_at("linear", 1, epochs=2, weights=(0.5, 0.5), end=(1.0,))
    with pytest.raises(ConfigError, match=r"first weight in \[0, 1\], not 2 and 1.5"):
        weights_at("dynamic-1", 1, epochs=2, weights=(1.5, 0.5))
    with pytest.raises(ConfigError, match="one of them is more"):
        weights_at("constant", 1, epochs=2, weights=(0.0, 0.0))
    with pytest.raises(ConfigError, match=r"in \[0, 0.5\] for 2 discriminators"):
        adapted((0.5, 0.5), (0.1, 0.2), sharpness=1, floor=0.6)
    with pytest.raises(ConfigError, match="must be finite"):
        adapted((0.5, 0.5), (0.1, math.nan), sharpness=1, floor=0.1)


def test_every_rule_gives_one_weight_a_discriminator() -> None:
    for rule in WEIGHTINGS:
        found = weights_at(rule, 3, epochs=5, weights=(0.5, 0.2, 0.3), end=(0.1, 0.1, 0.8))
        assert len(found) == 3
        assert min(found) >= 0
