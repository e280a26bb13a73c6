"""Subjects of a timing in processes of their own, as somebody who uses only one of them has it.

Subjects that share a process share its memory allocator, its threads and its caches: beside other
networks PyTorch's eager U-Net takes two thirds of the time that it takes alone, since their blocks
have taught glibc to keep what is freed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch

from limner.errors import LimnerError
from limner.timing import by_turns, lasting

Calls = dict[str, Callable[[], Any]]

PAUSE = 0.05
"""Seconds before a turn, in which the threads of the process before cease to spin."""

TURN = 0.15
"""Seconds for which a subject is called before it is timed, and for which it is."""


class Apart:
    """Named calls in a process of its own; a context that ends the process on leaving.

    Args:
        build: makes the calls there; has to be picklable (a module's function, or a partial one).
    """

    def __init__(self, build: Callable[[], Calls]) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        given = (theirs, build, torch.get_num_threads())
        self._process = context.Process(target=_serve, args=given, daemon=True)
        with _interrupts_ignored():
            self._process.start()
        theirs.close()

    def build(self) -> float:
        """Make the calls there; return the seconds that it took, the imports of PyTorch apart.

        Raises:
            LimnerError: as `build` raised it.
        """
        return self._asked("build")

    def result(self, name: str) -> Any:
        """Return what the call of that name returns."""
        return self._asked("result", name)

    def seconds(self, name: str) -> float:
        """Return the seconds of a call of that name, as `timing.lasting` takes them."""
        return self._asked("seconds", name)

    def _asked(self, *words: Any) -> Any:
        try:
            self._ours.send(words)
            answer, error = self._ours.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join()
            raise LimnerError(
                f"a process that was timed ended by itself (code {self._process.exitcode}): if "
                "memory ran out, time less at once"
            ) from None
        if error is not None:
            raise error
        return answer

    def __enter__(self) -> Apart:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ours.close()
        self._process.terminate()
        self._process.join()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let a process that starts now ignore Ctrl-C from its first import on.

    Whoever asks is the one to be interrupted, and ends it. Only the main thread can say so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def turns_apart(subjects: dict[str, Apart], name: str, *, rounds: int) -> dict[str, list[float]]:
    """Time the call `name` of each subject in turn; seconds a call, one figure a round."""

    def turn(subject: Apart) -> float:
        time.sleep(PAUSE)
        return subject.seconds(name)

    return by_turns(subjects, turn, rounds=rounds)


def _serve(theirs: Connection, build: Callable[[], Calls], threads: int) -> None:
    torch.set_num_threads(threads)
    calls: Calls = {}
    while True:
        try:
            what, *words = theirs.recv()
        except (EOFError, ConnectionResetError):
            return
        answer, failure = None, None
        try:
            begun = time.perf_counter()
            if what == "build":
                calls = build()
                answer = time.perf_counter() - begun
            elif what == "result":
                answer = calls[words[0]]()
            else:
                answer = lasting(calls[words[0]], seconds=TURN)
        except Exception as error:
            failure = error
            if not isinstance(error, LimnerError):  # a defect: as much as can be told of it
                failure = RuntimeError(traceback.format_exc())
        theirs.send((answer, failure))
