"""Timing that can be believed: subjects by turns, medians and quartiles, and how busy it was.

Subjects may have processes of their own (`TimedProcess`), as somebody has it who uses only one of
them. Those that share a process share its memory allocator, its threads and its caches: beside
other networks PyTorch's eager U-Net takes two thirds of the time that it takes alone, since their
blocks have taught glibc to keep what is freed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import signal
import statistics
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch

from limner.errors import LimnerError

Subject = TypeVar("Subject")

BUSY = 0.05
"""Other processes' part of the machine above which timings are not to be believed."""


def busy_fraction(seconds: float = 2.0) -> float:
    """Return the part of all cores' time that other processes use during `seconds` (Linux)."""
    watch = Watch()
    time.sleep(seconds)
    return watch.others()


class Watch:
    """How much of all cores' time other processes use from its making on."""

    def __init__(self) -> None:
        self.total, self.idle = _ticks()
        self.own = _own_seconds()

    def others(self) -> float:
        """Return that part, from 0 to 1; 0 where the system does not tell (no /proc)."""
        total, idle = _ticks()
        passed = total - self.total
        if not passed:
            return 0.0
        ticks = os.sysconf("SC_CLK_TCK")
        busy = passed - (idle - self.idle) - (_own_seconds() - self.own) * ticks
        return min(1.0, max(0.0, busy / passed))


def _ticks() -> tuple[int, int]:
    """Return all cores' clock ticks since the machine began: all, and those of nothing to do."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0, 0
    fields = [int(word) for word in path.read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def _own_seconds() -> float:
    """Return the processor time of this process."""
    return sum(os.times()[:2])


def interleaved(
    subjects: dict[str, Callable[[], object]], *, rounds: int, warm: int
) -> dict[str, list[float]]:
    """Time a call of each subject in turn, round after round, so that all see the same machine.

    Args:
        subjects: what to call, by name.
        rounds: calls of each.
        warm: calls before the first turn, not timed.

    Returns:
        Seconds a call, one figure a round, by subject.
    """
    for subject in subjects.values():
        for _ in range(warm):
            subject()

    def turn(subject: Callable[[], object]) -> float:
        begun = time.perf_counter()
        subject()
        return time.perf_counter() - begun

    return by_turns(subjects, turn, rounds=rounds)


def lasting(call: Callable[[], object], *, seconds: float) -> float:
    """Return the seconds of a call that follows others of the same kind.

    Calls are made for `seconds` first and not timed (one at least), until caches and the
    processor's clock are theirs; then for as long again (two at least), of which the mean is taken.
    """
    _count(call, seconds=seconds, least=1)
    begun = time.perf_counter()
    calls = _count(call, seconds=seconds, least=2)
    return (time.perf_counter() - begun) / calls


def _count(call: Callable[[], object], *, seconds: float, least: int) -> int:
    """Make calls for as long, and return how many it were."""
    end, calls = time.perf_counter() + seconds, 0
    while calls < least or time.perf_counter() < end:
        call()
        calls += 1
    return calls


def by_turns(
    subjects: dict[str, Subject], turn: Callable[[Subject], float], *, rounds: int
) -> dict[str, list[float]]:
    """Give each subject its turn, round after round, every other round the other way round.

    Returns:
        What `turn(subject)` returned, one figure a round, by the subject's name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    names = list(subjects)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            seconds[name].append(turn(subjects[name]))
    return seconds


def table(seconds: dict[str, list[float]], *, baseline: str) -> str:
    """Return a Markdown table: median, quartiles, and the ratio to the baseline."""
    base = statistics.median(seconds[baseline])
    lines = [
        "| what | median s | quartiles | baseline / this |",
        "|---|---|---|---|",
    ]
    for name, values in seconds.items():
        low, middle, high = statistics.quantiles(values, n=4)
        lines.append(f"| {name} | {middle:.4f} | {low:.4f} to {high:.4f} | {base / middle:.3f} |")
    return "\n".join(lines)


def processor() -> str:
    """Return the processor, its cores, and the GPU where there is one."""
    name = platform.processor() or platform.machine()
    path = Path("/proc/cpuinfo")
    if path.exists():
        models = [
            line.split(":", 1)[1] for line in path.read_text().splitlines() if "model name" in line
        ]
        name = models[0].strip() if models else name
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores{gpu}"


def machine() -> str:
    """Return the processor, the threads used and PyTorch's version."""
    return f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def paired_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the median over rounds of one / other, which a drifting clock does not move."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


Calls = dict[str, Callable[[], Any]]
"""What a process is asked for, by name."""

PAUSE = 0.05
"""Seconds before a turn, in which the threads of the process before cease to spin."""

TURN = 0.15
"""Seconds for which a subject is called before it is timed, and for which it is."""


class TimedProcess:
    """Named calls in a process of its own; a context that ends the process on leaving.

    Args:
        build: makes the calls there; has to be picklable (a module's function, or a partial one).
    """

    def __init__(self, build: Callable[[], Calls]) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        arguments = (theirs, build, torch.get_num_threads())
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
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

    def __enter__(self) -> TimedProcess:
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


def processes_by_turns(
    subjects: dict[str, TimedProcess], name: str, *, rounds: int
) -> dict[str, list[float]]:
    """Time the call `name` of each subject in turn; seconds a call, one figure a round."""

    def turn(subject: TimedProcess) -> float:
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
