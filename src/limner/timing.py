"""Timing that can be believed: subjects by turns, medians and quartiles, and how busy it was."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

Subject = TypeVar("Subject")

BUSY = 0.05
"""Other processes' part of the machine above which timings are not to be believed."""


def busy_fraction(seconds: float = 2.0) -> float:
    """Return the part of all cores' time that other processes use during `seconds` (Linux)."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0

    def totals() -> tuple[int, int]:
        fields = [int(word) for word in path.read_text().splitlines()[0].split()[1:]]
        return sum(fields), fields[3] + fields[4]

    (all_before, idle_before) = totals()
    time.sleep(seconds)
    (all_after, idle_after) = totals()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


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
    made = _count(call, seconds=seconds, least=2)
    return (time.perf_counter() - begun) / made


def _count(call: Callable[[], object], *, seconds: float, least: int) -> int:
    """Make calls for as long, and return how many it were."""
    end, made = time.perf_counter() + seconds, 0
    while made < least or time.perf_counter() < end:
        call()
        made += 1
    return made


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


def machine() -> str:
    """Return the processor, the threads used and PyTorch's version."""
    name = platform.processor() or platform.machine()
    path = Path("/proc/cpuinfo")
    if path.exists():
        models = [
            line.split(":", 1)[1] for line in path.read_text().splitlines() if "model name" in line
        ]
        name = models[0].strip() if models else name
    return (
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )


def paired_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the median over rounds of one / other, which a drifting clock does not move."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))
