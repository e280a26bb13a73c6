"""Memory that is kept while a network works, rather than handed back after every layer.

A layer's output of eight images is tens of MB. glibc gives such blocks back to the kernel when
they are freed, and every page of the next one faults and is filled with zeros: thousands of faults
an image in Inception. Which memory holds a number does not change it, so figures stay the same.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from contextvars import ContextVar

# The options of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3

_KEEP = {_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: 1 << 30, _TOP_PAD: 1 << 26}
"""Blocks below 1 GiB come from heaps, which grow by 64 MiB and keep 1 GiB that is free."""

_USUAL = {_MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26, _TOP_PAD: 1 << 17}
"""What glibc's own adjustment ends with, and its usual padding."""

_inside: ContextVar[bool] = ContextVar("inside a kept block", default=False)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory of this process inside the block; elsewhere than on glibc do nothing.

    After the block, or the outermost of several, all that is free goes back to the kernel.
    """
    library = _glibc()
    if library is None or _inside.get():  # a validation does not end what its training began
        yield
        return
    token = _inside.set(True)
    _set(library, _KEEP)
    try:
        yield
    finally:
        _inside.reset(token)
        _set(library, _USUAL)
        library.malloc_trim(0)


def keep() -> None:
    """Keep freed memory for the rest of this process, as a worker does."""
    library = _glibc()
    if library is not None:
        _set(library, _KEEP)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    known = all(hasattr(library, name) for name in ("mallopt", "malloc_trim"))
    return library if known else None


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(ctypes.c_int(option), ctypes.c_int(value))
