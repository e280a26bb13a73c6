"""Timing by turns, with a clock that the subjects move."""

from __future__ import annotations

import pytest

from limner import timing


def test_turns_are_timed_but_not_what_warms(monkeypatch: pytest.MonkeyPatch) -> None:
    now, called = 0.0, []

    def subject(name: str, costs: list[float]):
        def call() -> None:
            nonlocal now
            called.append(name)
            now += costs.pop(0)

        return call

    monkeypatch.setattr("limner.timing.time.perf_counter", lambda: now)
    seconds = timing.interleaved(
        {"one": subject("one", [9.0, 1.5, 4.0]), "other": subject("other", [9.0, 1.0, 2.0])},
        rounds=2,
        warm=1,
    )
    assert seconds == {"one": [1.5, 4.0], "other": [1.0, 2.0]}
    # The second round goes the other way round, so that none is always behind the same one.
    assert called == ["one", "other", "one", "other", "other", "one"]
    assert timing.paired_ratio(seconds["one"], seconds["other"]) == 1.75


def test_a_short_call_is_repeated_until_it_is_the_only_one_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, made = 0.0, 0

    def call(costs: float) -> None:
        nonlocal now, made
        now += costs if made >= 4 else 10 * costs  # the first ones find cold caches
        made += 1

    monkeypatch.setattr("limner.timing.time.perf_counter", lambda: now)
    assert timing.lasting(lambda: call(0.125), seconds=4.0) == 0.125
    assert made == 4 + 32
    made = 4
    assert timing.lasting(lambda: call(8.0), seconds=4.0) == 8.0
    assert made == 4 + 1 + 2
