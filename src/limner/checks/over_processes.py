"""One function over many things, by several processes where that pays, in their order."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from limner.errors import OutOfMemoryError

T = TypeVar("T")
R = TypeVar("R")
_ALONE = 48  # things up to which it is not worth starting processes
_CHUNK = 8
_OF_WORKER: list[Callable[[Any], Any]] = []  # what this process was begun for


def over_processes(
    work: Callable[[T], R], things: Sequence[T], *, processes: int | None = None
) -> Iterator[R]:
    """Yield `work(thing)` of each thing in order; close the iterator to end it before its end.

    Never more than a few chunks wait, so memory does not grow with the number of things. `work` is
    handed over once a process.

    Args:
        work: can be pickled, and its results.
        things: small, since each is sent to a process.
        processes: how many work; None for one a processor.
    """
    count = min(processes or processors(), -(-len(things) // _CHUNK))
    if len(things) <= _ALONE or count < 2:
        yield from map(work, things)
        return
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    pool = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context(method),
        initializer=_begin,
        initargs=(work,),
    )
    waiting: deque[Future[list[R]]] = deque()
    try:
        for start in range(0, len(things), _CHUNK):
            waiting.append(pool.submit(_of_chunk, list(things[start : start + _CHUNK])))
            if len(waiting) >= 4 * count:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise OutOfMemoryError(
            "one of the processes that look at the files was killed, most likely since memory ran "
            "out: make memory free, or let fewer of them work (taskset -c 0 leaves one)"
        ) from None
    finally:
        workers = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def processors() -> int:
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _begin(work: Callable[[Any], Any]) -> None:
    """Begin a worker: the parent alone answers Ctrl-C, and a worker takes one processor."""
    import torch

    _OF_WORKER[:] = [work]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


def _of_chunk(things: list[Any]) -> list[Any]:
    return [_OF_WORKER[0](thing) for thing in things]
