"""Timing by turns, with a clock that the subjects move."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import pytest
import torch

from limner import timing
from limner.errors import ConfigError, LimnerError
from limner.timing import Calls, TimedProcess, processes_by_turns


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


def sleeping(seconds: float) -> Calls:
    return {
        "sleep": partial(time.sleep, seconds),
        "process": os.getpid,
        "interrupts": partial(signal.getsignal, signal.SIGINT),
        "threads": torch.get_num_threads,
        "tensor": partial(torch.arange, 3),
    }


def refusing() -> Calls:
    raise ConfigError("no such thing: take another")


def failing() -> Calls:
    return {"defect": partial(int, "x"), "end": partial(os._exit, 7)}


def test_calls_are_made_and_timed_in_another_process() -> None:
    with (
        TimedProcess(partial(sleeping, 0.01)) as one,
        TimedProcess(partial(sleeping, 0.03)) as other,
    ):
        assert one.build() >= 0
        other.build()
        assert len({os.getpid(), one.result("process"), other.result("process")}) == 3
        assert one.result("threads") == torch.get_num_threads()
        assert one.result("tensor").tolist() == [0, 1, 2]
        seconds = processes_by_turns({"one": one, "other": other}, "sleep", rounds=3)
        assert [len(values) for values in seconds.values()] == [3, 3]
        assert all(value >= 0.01 for value in seconds["one"])
        assert all(value >= 0.03 for value in seconds["other"])
        process = one.result("process")
        assert one.result("interrupts") == signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_what_cannot_be_built_is_said_as_it_would_be_here() -> None:
    with TimedProcess(refusing) as subject, pytest.raises(ConfigError, match="no such thing: take"):
        subject.build()


def test_a_defect_keeps_its_trace_and_an_end_is_told() -> None:
    with TimedProcess(failing) as subject:
        subject.build()
        with pytest.raises(RuntimeError, match=r"(?s)Traceback.*invalid literal"):
            subject.result("defect")
        with pytest.raises(LimnerError, match=r"ended by itself \(code 7\)"):
            subject.result("end")
