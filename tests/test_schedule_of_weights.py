from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import ConfigError
from limner.schedules import WEIGHTINGS, adapted, weights_at

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
