"""One process at a time: locks that die with their holder, however it dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limner.errors import CheckpointError


@contextmanager
def locked(path: Path, *, wait: bool, busy: str = "") -> Iterator[None]:
    """Hold the lock file `path` while the block runs.

    Where the system has no such locks (Windows) nothing is held.

    Args:
        path: made where it is not there, and left there.
        wait: wait for another holder to end.
        busy: what to say of a holder where `wait` is false.

    Raises:
        CheckpointError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise CheckpointError(busy) from None
        yield
