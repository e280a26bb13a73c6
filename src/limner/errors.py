"""One tree of exceptions: every failure that a user can cause and cure is a `LimnerError`.

The message of each is one sentence that names the thing, the value and the cure; the command
line prints it as it stands and exits with `exit_code`.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

# The disk, not the path, is at fault; EFBIG is a quota of one file.
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})


class LimnerError(Exception):
    """A failure that the user can cure; the message says how."""

    exit_code = 2


class ConfigError(LimnerError):
    """A setting is unknown, has a wrong value or contradicts another one."""


class DataError(LimnerError):
    """A data set, an image or a pair cannot be used as it is."""


class CheckpointError(LimnerError):
    """A run or a checkpoint is missing, damaged or does not fit."""


class WeightsError(LimnerError):
    """Pretrained weights are missing, damaged or not the published ones."""


class ExportError(LimnerError):
    """An exported file would not compute what the run computes."""

    exit_code = 1


class TrainingError(LimnerError):
    """Training cannot go on: numbers that are not finite, a full disk."""

    exit_code = 1


class FileError(LimnerError):
    """A file is of the wrong kind, too large, or does not hold what it should."""


class LockedError(LimnerError):
    """Another process works in the same folder."""


class DiskError(LimnerError, OSError):
    """The disk is full, over quota, read-only or failing; `errno` says which."""

    exit_code = 1

    def __init__(self, path: Path | str, reason: OSError) -> None:
        super().__init__(path, reason)
        self.path = path
        self.errno = reason.errno
        self.strerror = reason.strerror or type(reason).__name__

    def __str__(self) -> str:
        cure = (
            "name a path on another disk"
            if self.errno in (errno.EROFS, errno.EIO)
            else ("make room, or name another path")
        )
        return f"{self.path} cannot be written ({self.strerror}): {cure}"


class OutOfMemoryError(LimnerError, MemoryError):
    """Memory of the machine or of a device did not suffice; the message says for what."""

    exit_code = 1


def ran_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception, perhaps of torch, tells that memory was lacking."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )


@contextlib.contextmanager
def memory_errors(doing: str, *, cure: str) -> Iterator[None]:
    """Turn a lack of memory within the block into one sentence: what was tried, what was free.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    try:
        yield
    except LimnerError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        free = _free_memory()
        free = "" if free is None else f" ({free / 2**30:.1f} GiB are free)"
        raise OutOfMemoryError(f"memory ran out while {doing}{free}: {cure}") from error


def _free_memory() -> int | None:
    """Return the bytes that processes may still take of this machine, None where it is unsaid."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a `name` that no variant of `kind` bears, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")


def printable(text: str) -> str:
    """Return text from elsewhere (a name, a message) as one line that no terminal acts upon.

    Control characters, newlines, marks that turn the direction of writing, and bytes that were no
    text become escapes such as \\n and \\x1b.
    """
    if text.isprintable():
        return text
    shown = []
    for letter in text:
        code = ord(letter)
        if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no UTF-8
            shown.append(f"\\x{code - 0xDC00:02x}")
        elif letter.isprintable():
            shown.append(letter)
        else:
            shown.append(letter.encode("unicode_escape", errors="replace").decode("ascii"))
    return "".join(shown)
