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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from limner.errors import ConfigError, LimnerError

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


@dataclass(frozen=True)
class Task:
    """What one child is to do (`child.TASKS`), and where its words go."""

    name: str
    spec: dict[str, Any]
    log: Path


@dataclass(frozen=True)
class Child:
    """The process of a task, and the pipe that keeps it alive while it is open."""

    task: Task
    process: subprocess.Popen[bytes]
    pipe: IO[bytes]


def slots(device: str, jobs: int | None) -> list[dict[str, str]]:
    """Return the environment of each child that may run at once.

    On the CPU a child has one thread, so that no figure depends on how many run beside it; by
    default there are as many as cores. On CUDA there is one a device, and more take turns at the
    devices.

    Raises:
        ConfigError: `jobs` is below 1, or there is no device.
    """
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs {jobs}: give how many trainings at once, from 1")
    if device == "cpu":
        count = jobs or _cores()
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return [dict.fromkeys(names, "1") for _ in range(count)]
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(k) for k in range(torch.cuda.device_count())]
    if not devices:
        raise ConfigError("--device cuda: no CUDA device is to be seen: say --device cpu")
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
    started: Callable[[Task, int], None],
    running: Callable[[Task], None],
    ended: Callable[[Task, str], None],
) -> None:
    """Do every task, as many at once as there are places.

    Args:
        tasks: in the order in which they begin.
        places: the environment that each child gets besides the parent's.
        out: the experiment's folder, for the message when it is stopped.
        started, running, ended: called with a task when it begins, with its process's id; every
            second while it lasts; and at its end, with what went wrong, or nothing.

    Raises:
        Stopped: after SIGINT or SIGTERM, when all children have ended. A second signal ends them
            at once.
    """
    waiting, busy = list(tasks), dict[int, Child]()
    looked = time.monotonic()
    with _signals() as caught:
        try:
            while waiting or busy:
                free = [k for k in range(len(places)) if k not in busy]
                while free and waiting and not caught:
                    task, place = waiting.pop(0), free.pop(0)
                    busy[place] = _start(task, places[place])
                    started(task, busy[place].process.pid)
                time.sleep(POLL)
                if caught:
                    _end(list(busy.values()), caught)
                    raise Stopped(out, caught[0])
                for place, child in list(busy.items()):
                    if child.process.poll() is not None:
                        del busy[place]
                        ended(child.task, _trouble(child))
                if time.monotonic() - looked >= 1:
                    looked = time.monotonic()
                    for child in busy.values():
                        running(child.task)
        finally:
            # On any other way out: a closed pipe ends a child at once, as its parent's death does.
            for child in busy.values():
                _close(child)


def _start(task: Task, environment: Mapping[str, str]) -> Child:
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        # A session of its own: Ctrl-C on the terminal is the parent's to pass on.
        process = subprocess.Popen(
            [sys.executable, "-m", "limner.experiments.child"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    assert process.stdin is not None  # a pipe was asked for
    with suppress(BrokenPipeError):  # it has ended already, and its log says why
        process.stdin.write(json.dumps(task.spec).encode() + b"\n")
        process.stdin.flush()
    return Child(task, process, process.stdin)


def _end(children: list[Child], caught: list[int]) -> None:
    """Ask every child to write a checkpoint and end; a second signal does not wait for that."""
    for child in children:
        child.process.send_signal(signal.SIGTERM)
    while any(child.process.poll() is None for child in children):
        if len(caught) > 1:
            for child in children:
                _close(child)
        time.sleep(0.05)


def _close(child: Child) -> None:
    with suppress(BrokenPipeError):
        child.pipe.close()
    if child.process.poll() is None:
        child.process.kill()
    child.process.wait()


def _trouble(child: Child) -> str:
    """Return what went wrong in a child that has ended, as one sentence; nothing for success."""
    with suppress(BrokenPipeError):
        child.pipe.close()
    log, status = child.task.log, child.process.returncode
    if status == 0:
        return ""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}; see {log}"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("limner: ") if lines else "it said nothing"
    return f"{last} (in {log})"


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
