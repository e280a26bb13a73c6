"""Files: written whole or not at all, read after a look at kind and size, named within bounds.

Whatever Limner writes goes through `replacing` (or `write_bytes`, `write_text`, `write_from`,
`replacing_folder` on top of it); whatever it takes from data as a name goes through `output_path`;
what grows goes through `AppendedFile`; YAML is read by `read_yaml` alone; folders are listed by
`listed` and `listed_tree`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from limner.errors import DISK_ERRORS, DiskError, FileError, LimnerError, LockedError
from limner.errors import printable as printable
from limner.filenames import is_hidden as is_hidden
from limner.filenames import listed as listed
from limner.filenames import listed_tree as listed_tree
from limner.filenames import output_path as output_path
from limner.filenames import safe_name as safe_name
from limner.yamltext import read_yaml as read_yaml
from limner.yamltext import yaml_text as yaml_text

# What begins so is Limner's own, unfinished: readers pass it over, `sweep` removes it.
TEMPORARY = ".limner-"
# A folder that waits to be replaced, where a system cannot swap two folders at once.
_OLD = f"{TEMPORARY}old-"
TEXT_BYTES = 256 * 2**20


# Writing


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses within the block into one sentence about `path`.

    Raises:
        DiskError: the disk is full, over quota, read-only or failing.
        OSError: anything else, with `path` as its file name.
    """
    try:
        yield
    except DiskError as error:
        if TEMPORARY in str(error.path):  # a part of what was to appear as a whole
            raise DiskError(path, error) from error
        raise
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise DiskError(path, error) from error
        if error.errno is not None and (
            error.filename is None or TEMPORARY in os.fsdecode(error.filename)
        ):
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise


def fsync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut (where the system can)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that becomes `path` when the block ends well.

    On any exception, a full disk among them, the temporary file is removed and what stood at
    `path` before stands there still. A writer that may pass over short writes (Pillow does) writes
    to memory instead: `write_from`.

    What processes that were killed left in that folder is removed on the way.

    Raises:
        DiskError: the disk is full, over quota, read-only or failing. FileError: what stands there
            is a device, a pipe or a socket, whose place no file may take.
    """
    with disk_errors(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise FileError(f"{path} is no file but a device or a pipe: name another path")
        path.parent.mkdir(parents=True, exist_ok=True)
        _tidy(path.parent)
        suffix = path.suffix if len(os.fsencode(path.suffix)) <= 16 else ""
        handle, name = tempfile.mkstemp(prefix=_ours(), suffix=suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            # mkstemp makes files private; what we publish has the modes of any new file.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def write_bytes(path: Path, data: bytes | bytearray | memoryview) -> None:
    """Write `data` to `path` atomically and make sure that all of it arrived.

    Raises:
        DiskError: the disk is full, over quota, read-only or failing.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)
        size = temporary.stat().st_size
        if size != memoryview(data).nbytes:
            raise OSError(errno.ENOSPC, f"only {size} bytes arrived", str(path))


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8.

    What UTF-8 cannot hold (bytes of a file name that were no text) is written as an escape, which
    JSON and YAML read back.
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_from(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write to `path` atomically what `save` writes to the file in memory that it gets.

    For writers that do not notice a full disk: `write_from(path, partial(image.save,
    format="PNG"))`.
    """
    buffer = io.BytesIO()
    save(buffer)
    write_bytes(path, buffer.getbuffer())


class AppendedFile:
    """A file that grows by whole records; one that the disk does not take whole is taken back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(path):
            self._file = path.open("a+b", buffering=0)

    def add(self, record: bytes) -> None:
        """Append one record; it is with the system when this returns.

        Raises:
            DiskError: the disk is full, over quota, read-only or failing.
        """
        with disk_errors(self.path):
            before = self._file.seek(0, os.SEEK_END)
            try:
                rest = memoryview(record)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                with contextlib.suppress(OSError):
                    self._file.truncate(before)
                raise

    def add_line(self, line: str) -> None:
        """Append one line of text; what a crash tore before it stays a line apart."""
        data = line.encode("utf-8", errors="backslashreplace") + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        if end:
            self._file.seek(end - 1)
            if self._file.read(1) != b"\n":
                data = b"\n" + data
        self.add(data)

    def sync(self) -> None:
        """Make sure that all of it is on the disk.

        Raises:
            DiskError: the disk fails.
        """
        with disk_errors(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def append_line(path: Path, line: str) -> None:
    """Add a line to `path`, on the disk when this returns; what a crash tore stays a line apart."""
    file = AppendedFile(path)
    try:
        file.add_line(line)
        file.sync()
    finally:
        file.close()


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path` that takes the place of `path` when the block ends well.

    Old and new are swapped at once where the system can (Linux); elsewhere `sweep` puts the old
    folder back after a kill between the two renames.

    Raises:
        DiskError: the disk is full, over quota, read-only or failing.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _tidy(path.parent)
        new = Path(tempfile.mkdtemp(prefix=_ours(), dir=path.parent))
        try:
            yield new
            new.chmod(0o777 & ~_umask())
            fsync_folder(new)
            if not path.exists():
                new.replace(path)
            elif not _swap(new, path):
                old = path.with_name(f"{_OLD}{path.name}")
                shutil.rmtree(old, ignore_errors=True)
                path.replace(old)
                new.replace(path)
                shutil.rmtree(old, ignore_errors=True)
            fsync_folder(path.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)  # after a swap it is the old one


def _swap(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the disk has no such call."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return (
        call is not None and call(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0
    )


def _ours() -> str:
    """Return how temporary names of this process begin: its machine (or container), its number."""
    place = platform.node()
    with contextlib.suppress(OSError):
        place += str(
            Path("/proc/self/ns/pid").readlink()
        )  # containers of one name count for themselves
    digest = hashlib.sha256(place.encode(errors="replace")).hexdigest()[:8]
    return f"{TEMPORARY}{digest}-{os.getpid()}-"


def _tidy(folder: Path) -> None:
    """Remove from `folder`, once a process, what processes of this machine that are gone left."""
    if (os.getpid(), folder) in _TIDIED:
        return
    _TIDIED.add((os.getpid(), folder))
    here = _ours().rsplit("-", 2)[0]
    for path in folder.glob(f"{here}-*"):
        number = path.name[len(here) + 1 :].partition("-")[0]
        if number.isdecimal() and not _alive(int(number)):
            _remove(path)


_TIDIED: set[tuple[int, Path]] = set()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sweep(folder: Path, *, below: bool = True) -> None:
    """Remove what killed processes, of whatever machine, left unfinished in `folder` and `below`.

    Call it with the folder's lock held: nobody else's work is then under way there.
    """
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent, name)
            if name.startswith(_OLD) and not (home := path.with_name(name[len(_OLD) :])).exists():
                path.replace(home)
            elif name.startswith(TEMPORARY):
                _remove(path)
        folders[:] = [name for name in folders if below and not name.startswith(".")]


@contextlib.contextmanager
def lock(path: Path, *, timeout: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` during the block, alone among all processes of all programs.

    The same thread may take a lock again that it holds. The lock ends with the process that holds
    it, however that ends; the file stays. Where the disk has no such locks (some of networks), a
    file beside it stands for one, which a process that was killed on another machine leaves there.

    Args:
        path: the file, such as RUN/.lock; its folder is made.
        timeout: seconds to wait for it; -1 waits as long as it takes.

    Raises:
        LockedError: another process or thread holds it.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The wait belongs to the call: one lock serves callers that wait and others that do not.
        if _disk_has_locks(path.parent):
            cure, held = "", FileLock(path.absolute(), is_singleton=True)
        else:
            soft = path.absolute().with_name(f"{path.name}-file")
            cure, held = f" (or remove {soft} if none is)", SoftFileLock(soft, is_singleton=True)
        try:
            held.acquire(timeout=timeout)
        except Timeout:
            raise LockedError(
                f"another process is writing to {path.parent}: wait until it has ended, or stop "
                f"it{cure}"
            ) from None
    try:
        yield
    finally:
        held.release()


def _disk_has_locks(folder: Path) -> bool:
    """Whether files in `folder` can be locked; systems without `flock` have a call of their own."""
    try:
        import fcntl
    except ImportError:
        return True
    with tempfile.TemporaryFile(dir=folder, prefix=_ours()) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _WITHOUT_LOCKS
    return True


_WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


# Reading


def check_file(path: Path, *, at_most: int, error: type[LimnerError] = FileError) -> None:
    """Make sure before `path` is opened that it is an ordinary file of at most so many bytes.

    A pipe or a device would keep its reader waiting for ever.

    Raises:
        FileNotFoundError: there is none.
        LimnerError: of the type `error`: it is no ordinary file, or is too large.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe or a device"
        raise error(f"{path} is {kind}, not a file: name an ordinary file")
    if state.st_size > at_most:
        raise error(
            f"{path} holds {state.st_size:,} bytes, more than the {at_most:,} that such a file "
            "can need: name the right file"
        )


def sha256(path: Path) -> str:
    """Return the SHA-256 of an ordinary file's bytes, in hex.

    Raises:
        OSError: it cannot be read. FileError: it is no ordinary file.
    """
    check_file(path, at_most=2**40)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_bytes(
    path: Path, *, at_most: int = TEXT_BYTES, error: type[LimnerError] = FileError
) -> bytes:
    """Return the content of an ordinary file of at most so many bytes.

    Raises:
        FileNotFoundError: there is none.
        LimnerError: of the type `error`: it is no ordinary file, or is too large.
    """
    check_file(path, at_most=at_most, error=error)
    return path.read_bytes()


def read_text(
    path: Path, *, at_most: int = TEXT_BYTES, error: type[LimnerError] = FileError
) -> str:
    """Return the text of an ordinary file of at most so many bytes, a byte order mark left out.

    Raises:
        FileNotFoundError: there is none.
        LimnerError: of the type `error`: it is no ordinary file, too large, or not UTF-8.
    """
    try:
        return read_bytes(path, at_most=at_most, error=error).decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(f"{path} is not UTF-8 text (byte {reason.start}): save it as UTF-8") from None


def read_json(
    path: Path, *, at_most: int = TEXT_BYTES, error: type[LimnerError] = FileError
) -> Any:
    """Return what a JSON file holds.

    Raises:
        FileNotFoundError: there is none.
        LimnerError: of the type `error`: it is no ordinary file, too large, or no JSON.
    """
    text = read_text(path, at_most=at_most, error=error)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise error(f"{path} cannot be read as JSON ({printable(str(reason))})") from None


def read_events(run: Path) -> list[dict[str, Any]]:
    """Return the events of RUN/log.jsonl in order; no file is an empty log.

    A line torn by a crash, be it within a letter, or one that holds no event (a step or a time
    that is none), is passed over.
    """
    path = run / "log.jsonl"
    if not path.exists():
        return []
    check_file(path, at_most=2**40)
    events = []
    # Not splitlines: JSON may hold U+2028 and its like within a line.
    for line in path.read_bytes().decode("utf-8", errors="replace").split("\n"):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if _is_event(event):
            events.append(event)
    return events


def _is_event(event: object) -> bool:
    """Whether what a line holds is an event: its name, its time, and a step where it has one."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return False
    step, moment = event.get("step", 0), event.get("time", 0.0)
    return (
        isinstance(step, int)
        and not isinstance(step, bool)
        and isinstance(moment, int | float)
        and not isinstance(moment, bool)
        and 0 <= step < 2**53
        and 0 <= moment < 2**53  # nor NaN, nor infinite
    )
