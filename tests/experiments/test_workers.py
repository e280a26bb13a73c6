"""Tasks seen through: in order, told as they happen, in processes that end with their parent."""

from __future__ import annotations

import sys
from pathlib import Path
from queue import SimpleQueue

import pytest

from limner.errors import ConfigError
from limner.experiments import workers
from limner.experiments.workers import Begun, LocalWorkers, Stop, Task, local_workers, see_through


class Scripted:
    """Workers whose tasks begin and end as a script says, one line of it at each look."""

    def __init__(self, *looks: dict[str, list[str]]) -> None:
        self.looks, self.at_once = list(looks), 1
        self.begun: SimpleQueue[Begun] = SimpleQueue()
        self.over: set[str] = set()

    def submit(self, task: Task):
        return Promise(self, task.name)

    def look(self) -> None:
        now = self.looks.pop(0) if self.looks else {}
        self.over |= set(now.get("ended", []))
        for name in now.get("began", []):
            self.begun.put(Begun(name, "here", 1))

    def stop(self, how: Stop) -> None:
        raise AssertionError("nobody asked for it")

    def close(self) -> None:
        raise AssertionError("the caller's to do")


class Promise:
    def __init__(self, script: Scripted, name: str) -> None:
        self.script, self.name = script, name

    def done(self) -> bool:
        if self.name == "first":
            self.script.look()
        return self.name in self.script.over

    def result(self) -> str:
        return f"trouble of {self.name}"


def told(script: Scripted, names: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(workers, "POLL", 0.0)
    said: list[str] = []
    see_through(
        [Task(name, {}, Path("none")) for name in names],
        script,
        out=Path("out"),
        started=lambda process: said.append(f"{process.name} began"),
        running=lambda name: None,
        ended=lambda name, trouble: said.append(f"{name} ended: {trouble}"),
    )
    return said


def test_an_end_is_told_before_the_beginning_that_it_made_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Scripted(
        {"began": ["second"]}, {"ended": ["second"], "began": ["first"]}, {"ended": ["first"]}
    )
    assert told(script, ["first", "second"], monkeypatch) == [
        "second began",
        "second ended: trouble of second",
        "first began",
        "first ended: trouble of first",
    ]


def test_a_task_that_began_and_ended_between_two_looks_is_told_as_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Scripted({"began": ["first"], "ended": ["first"]})
    assert told(script, ["first"], monkeypatch) == ["first began", "first ended: trouble of first"]


def test_a_task_whose_worker_died_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted({"began": ["first"]}, {"began": ["first"]}, {"ended": ["first"]})
    assert told(script, ["first"], monkeypatch) == [
        "first began",
        "first began",
        "first ended: trouble of first",
    ]


def python(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let a task's process run some Python instead of a cell."""
    real = workers.subprocess.Popen

    def begin(words: list[str], **rest):
        return real([sys.executable, "-c", code], **rest)

    monkeypatch.setattr(workers.subprocess, "Popen", begin)


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("pass", ""),
        ("raise SystemExit('limner: no such thing')", "no such thing"),
        ("import os; os._exit(3)", "it said nothing"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_what_a_process_says_at_its_end_is_the_trouble(
    code: str, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(monkeypatch, code)
    here = LocalWorkers([{"LIMNER_PLACE": "1"}])
    outcome = here.submit(Task("one", {}, tmp_path / "logs" / "one.txt"))
    try:
        assert trouble in outcome.result() if trouble else outcome.result() == ""
        assert here.begun.get().name == "one"
    finally:
        here.close()


@pytest.mark.parametrize("how", [Stop.SOON, Stop.NOW])
def test_a_stop_ends_what_runs_and_keeps_the_rest_from_beginning(
    how: Stop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(monkeypatch, "import time; time.sleep(600)")
    here = LocalWorkers([{}])
    first, second = (here.submit(Task(name, {}, tmp_path / name)) for name in ("one", "two"))
    try:
        assert here.begun.get().name == "one"
        here.stop(how)
        assert ("SIGTERM" if how is Stop.SOON else "SIGKILL") in first.result()
        assert "before it began" in second.result()
        assert here.begun.empty()
    finally:
        here.close()


def test_leaving_ends_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python(monkeypatch, "import time; time.sleep(600)")
    here = LocalWorkers([{}])
    outcome = here.submit(Task("one", {}, tmp_path / "one"))
    here.begun.get()
    here.close()
    assert outcome.done()


def test_places_are_counted_and_given_their_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--jobs 0"):
        local_workers("cpu", 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert [local_workers("cuda", count).at_once for count in (None, 1, 3)] == [2, 1, 3]
    assert local_workers("cpu", 5).at_once == 5
