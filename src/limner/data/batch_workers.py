"""Processes that make batches ahead of time, watched: none of them can leave its reader waiting.

Each worker has a pipe of its own, which no other process writes to. So a worker that is killed is
seen at once, whatever it was doing, and stops no other; a batch that cannot be handed over (shared
memory is full) is an error that comes through the same pipe. torch's `DataLoader` shares one queue
among all: there a batch that fails on its way is dropped and waited for without end.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch
import torch.multiprocessing  # lets tensors pass through pipes as shared memory

from limner.errors import TrainingError

AHEAD = 2
"""Batches that each worker makes before they are asked for."""
WATCH = 1.0
"""Seconds between two looks at a worker that is waited for."""
PATIENCE = 600.0
"""Seconds after which a worker that lives but hands nothing over is given up."""
_FAREWELL = 5.0  # seconds in which a worker that is told to end may do so by itself

_CURE = "repeat with --set training.workers=0 if it happens again"


def made_ahead(
    make: Callable[[Any], Any], tasks: Iterable[Any], *, workers: int
) -> Generator[Any, None, None]:
    """Yield `make(task)` of every task in order, each made by one of so many processes.

    The processes end with the generator, and by themselves when this process is gone. Signals of
    the terminal and of supervisors are left to this process.

    Raises:
        TrainingError: a worker was killed, hands nothing over, or cannot.
        Exception: whatever `make` raised, with the worker's traceback as a note.
    """
    running: list[_Worker] = []
    try:
        for _ in range(workers):
            running.append(_Worker.start(make, running))
        waiting: deque[_Worker] = deque()
        for worker, task in zip(itertools.cycle(running), tasks):
            worker.ask(task)
            waiting.append(worker)
            if len(waiting) == AHEAD * workers:
                yield waiting.popleft().answer()
        while waiting:
            yield waiting.popleft().answer()
    finally:
        for worker in running:
            worker.pipe.close()
        for worker in running:
            worker.end()


@dataclass(frozen=True)
class _Worker:
    """A process, and this side of its pipe."""

    process: BaseProcess
    pipe: Connection

    @classmethod
    def start(cls, make: Callable[[Any], Any], others: Sequence[_Worker]) -> _Worker:
        context = multiprocessing.get_context()
        here, there = context.Pipe()
        # A fork holds this side of all pipes, too. While it did, no worker would see their end.
        forked = context.get_start_method() == "fork"
        held = [here, *(other.pipe for other in others)] if forked else []
        process = context.Process(target=_serve, args=(make, there, held), daemon=True)
        process.start()
        there.close()
        return cls(process, here)

    def ask(self, task: Any) -> None:
        try:
            self.pipe.send(task)
        except OSError:
            raise self._gone() from None

    def answer(self) -> Any:
        """Wait for what was asked for first; signals are answered meanwhile."""
        begun = time.monotonic()
        try:
            while not self.pipe.poll(WATCH):
                if time.monotonic() - begun > PATIENCE:
                    raise TrainingError(
                        f"worker {self.process.pid} has read pairs for {PATIENCE:.0f} seconds "
                        f"without an end (does the disk of data.root answer?): {_CURE}"
                    )
            answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join(WATCH)
            if self.process.is_alive():
                raise TrainingError(
                    f"what worker {self.process.pid} has read cannot be taken over ({error}): "
                    f"{_CURE}"
                ) from error
            raise self._gone() from None
        if isinstance(answer, _Failure):
            raise answer.error
        return answer

    def _gone(self) -> TrainingError:
        self.process.join(_FAREWELL)
        code = self.process.exitcode or 0
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
            # What a process hears that writes to shared memory where there is none left, and what
            # the system ends processes with when memory is short.
            how += {
                signal.SIGBUS: " (is /dev/shm full?)",
                signal.SIGKILL: " (was memory short?)",
            }.get(signal.Signals(-code), "")
        return TrainingError(f"worker {self.process.pid}, which reads pairs, {how}: {_CURE}")

    def end(self) -> None:
        self.process.join(_FAREWELL)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(_FAREWELL)


@dataclass(frozen=True)
class _Failure:
    """An exception on its way out of a worker."""

    error: BaseException


def _serve(make: Callable[[Any], Any], pipe: Connection, held: Sequence[Connection]) -> None:
    """Answer task after task until nobody is left to ask; a worker's whole life."""
    # Ctrl-C and a supervisor's SIGTERM may go to the whole process group; the main process decides
    # what they mean, and its workers end when it closes their pipes or is gone.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    for other in held:
        other.close()
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            answer = _attempt(make, pipe.recv())
            try:
                pipe.send(answer)
            except ConnectionError:
                raise
            except Exception as error:  # nothing has been sent yet: sharing comes first
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                failure = TrainingError(
                    f"worker {os.getpid()} cannot hand over the pairs that it has read ({reason}): "
                    "make room in /dev/shm, or repeat with --set training.workers=0"
                )
                pipe.send(_Failure(failure))


def _attempt(make: Callable[[Any], Any], task: Any) -> Any:
    try:
        return make(task)
    except Exception as error:
        trace = traceback.format_exc()
        try:
            error = pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        note = getattr(error, "add_note", None)  # from Python 3.11 on
        if note is not None:
            note(trace)
        return _Failure(error)


# At exit multiprocessing sends SIGTERM to workers that still run and waits for them; ours ignore
# it, so their batches are given up before.
_LIVE: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()


def until_exit(batches: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """Return `batches`, which will be closed at the interpreter's exit if nobody did before."""
    _LIVE.add(batches)
    return batches


@atexit.register
def _dismiss_workers() -> None:
    for batches in list(_LIVE):
        with contextlib.suppress(ValueError):  # in use by another thread
            batches.close()
