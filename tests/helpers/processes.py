"""Waiting for what other processes do, by their state and never by the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

CEILING = 600.0
"""Seconds after which a state is given up: far beyond what any busy machine needs."""


def wait_for(condition: Callable[[], bool]) -> None:
    """Look again and again until a condition holds."""
    end = time.monotonic() + CEILING
    while not condition():
        assert time.monotonic() < end, "what a test waits for has not come"
        time.sleep(0.02)


def once(condition: Callable[[], bool], then: Callable[[], object]) -> threading.Thread:
    """Start a thread that does something as soon as a condition holds."""

    def wait() -> None:
        wait_for(condition)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def _status(pid: int) -> list[str]:
    """Return state, parent and the rest of a process, or nothing where it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before read
        return []


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    return _status(pid)[:1] not in ([], ["Z"])


def parent_of(pid: int) -> int:
    """Return the parent of a process that is there."""
    return int(_status(pid)[1])
