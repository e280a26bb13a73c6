"""One tree of exceptions: every failure that a user can cause and cure is a `LimnerError`.

The message of each is one sentence that names the thing, the value and the cure; the command
line prints it as it stands and exits with `exit_code`.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

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


class ShapeError(CheckpointError):
    """Weights are those of a network of other shapes."""


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


# How libraries say it that have no exception of their own for it: torch's CPU allocator, the
# system, C++, CUDA's libraries, threads and processes that cannot be started.
_LACKS = re.compile(
    r"DefaultCPUAllocator|cannot allocate memory|std::bad_alloc|out of memory|ALLOC_FAILED"
    r"|can't start new thread",
    re.IGNORECASE,
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception, perhaps of torch, tells that memory was lacking."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _LACKS.search(str(error)) is not None


@contextlib.contextmanager
def memory_errors(doing: str, *, cure: str | Callable[[], str]) -> Iterator[None]:
    """Turn a lack of memory within the block into one sentence: what was tried, what was free.

    Args:
        doing: what is done within the block, such as "measuring pictures".
        cure: what needs less memory, or what says so when it is asked.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    try:
        yield
    except LimnerError:
        raise
    except (MemoryError, RuntimeError, OSError) as error:
        if not ran_out_of_memory(error):
            raise
        advice = cure if isinstance(cure, str) else cure()
        raise OutOfMemoryError(f"memory ran out while {doing}{_room(error)}: {advice}") from error


def _room(error: BaseException) -> str:
    """Say how much memory is free where it was lacking; "" where nobody knows."""
    torch: Any = sys.modules.get("torch")
    place, free = "", free_memory()
    if torch is not None and isinstance(error, torch.cuda.OutOfMemoryError):
        place, free = " of the device", None
        with contextlib.suppress(Exception):  # a device that is lost says nothing
            free = torch.cuda.mem_get_info()[0]
    return "" if free is None else f" ({free / 2**30:.1f} GiB{place} are free)"


def free_memory() -> int | None:
    """Return the bytes that this process may still take, None where the system does not say.

    That is what the machine has, and what is left of the limits of the process (`ulimit -v`) and
    of its container.
    """
    bounds = []
    for find in (_of_machine, _of_process, _of_container):
        with contextlib.suppress(OSError, ValueError, IndexError, ImportError):
            bounds.append(find())
    return max(0, min(bounds)) if bounds else None


def _of_machine() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024


def _of_process() -> int:
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        raise ValueError("no limit")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return limit - pages * resource.getpagesize()


def _of_container() -> int:
    folder = Path("/sys/fs/cgroup")
    limit, used = ((folder / f"memory.{name}").read_text() for name in ("max", "current"))
    return int(limit) - int(used)  # "max" is no number


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
