"""Processes side by side: each task in a child of its own, all ended together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import LimnerError

POLL = 0.2
"""Seconds between looks at the children."""


class Stopped(LimnerError):  # noqa: N818 (no error: the user asked for it)
    """A signal ended the experiment after every training had written a checkpoint."""

    def __init__(self, out: Path, signum: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signum).name}; everything is kept in {out}: repeat the "
            "command to go on"
        )
        self.exit_code = 128 + signum


@dataclass
class Task:
    """What one child is to do (`child.TASKS`), and where its words go."""

    name: str
    spec: dict[str, Any]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None)


def slots(device: str, jobs: int | None) -> list[dict[str, str]]:
    """Return the environment of each child that may run at once.

    On the CPU a child has one thread, so that no figure depends on how many run beside it; by
    default there are as many as cores. On CUDA there is one a device, and more take turns at the
    devices.
    """
    if device == "cpu":
        count = jobs or _cores()
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return [dict.fromkeys(names, "1") for _ in range(count)]
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(k) for k in range(torch.cuda.device_count())]
    count = jobs or len(devices)
    return [{"CUDA_VISIBLE_DEVICES": devices[k % len(devices)]} for k in range(count)]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def work(
    tasks: Sequence[Task],
    places: Sequence[Mapping[str, str]],
    *,
    out: Path,
    started: Callable[[Task], None],
    running: Callable[[Task], None],
    ended: Callable[[Task, str], None],
) -> None:
    """Do every task, as many at once as there are places.

    Args:
        tasks: in the order in which they begin.
        places: the environment that each child gets besides the parent's.
        out: the experiment's folder, for the message when it is stopped.
        started, running, ended: called with a task when it begins, every second while it lasts,
            and at its end with what went wrong, or nothing.

    Raises:
        Stopped: after SIGINT or SIGTERM, when all children have ended. A second signal ends them
            at once.
    """
    waiting, busy = list(tasks), dict[int, Task]()
    looked = time.monotonic()
    with _signals() as caught:
        try:
            while waiting or busy:
                free = [k for k in range(len(places)) if k not in busy]
                while free and waiting and not caught:
                    task = waiting.pop(0)
                    busy[free[0]] = task
                    _start(task, places[free.pop(0)])
                    started(task)
                time.sleep(POLL)
                if caught:
                    _end(list(busy.values()), caught)
                    raise Stopped(out, caught[0])
                for place, task in list(busy.items()):
                    assert task.process is not None
                    if task.process.poll() is not None:
                        del busy[place]
                        ended(task, _trouble(task))
                if time.monotonic() - looked >= 1:
                    looked = time.monotonic()
                    for task in busy.values():
                        running(task)
        finally:
            # On any other way out: a closed pipe ends a child at once, as its parent's death does.
            for task in busy.values():
                _close(task)


def _start(task: Task, environment: Mapping[str, str]) -> None:
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        # A session of its own: Ctrl-C on the terminal is the parent's to pass on.
        task.process = subprocess.Popen(
            [sys.executable, "-m", "limner.experiments.child"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    assert task.process.stdin is not None
    try:
        task.process.stdin.write(json.dumps(task.spec).encode() + b"\n")
        task.process.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended already, and its log says why


def _end(tasks: list[Task], caught: list[int]) -> None:
    """Ask every child to write a checkpoint and end; a second signal does not wait for that."""
    for task in tasks:
        assert task.process is not None
        task.process.send_signal(signal.SIGTERM)
    while any(task.process is not None and task.process.poll() is None for task in tasks):
        if len(caught) > 1:
            for task in tasks:
                _close(task)
        time.sleep(0.05)


def _close(task: Task) -> None:
    process = task.process
    if process is None or process.stdin is None:
        return
    with suppress(BrokenPipeError):
        process.stdin.close()
    if process.poll() is None:
        process.kill()
    process.wait()


def _trouble(task: Task) -> str:
    """Return what went wrong in a child that has ended, as one sentence; nothing for success."""
    process = task.process
    assert process is not None
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    if process.returncode == 0:
        return ""
    if process.returncode < 0:
        return f"was ended by {signal.Signals(-process.returncode).name}; see {task.log}"
    lines = task.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("limner: ") if lines else "it said nothing"
    return f"{last} (in {task.log})"


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM while the block runs (where it is the main thread's)."""
    caught: list[int] = []

    def take(signum: int, frame: object) -> None:
        caught.append(signum)

    try:
        before = {name: signal.signal(name, take) for name in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield caught
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
