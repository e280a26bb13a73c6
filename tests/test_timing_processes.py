"""Subjects timed in processes of their own."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import pytest
import torch

from limner.errors import ConfigError, LimnerError
from limner.timing import Calls, TimedProcess, processes_by_turns


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
