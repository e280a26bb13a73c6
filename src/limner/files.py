"""Files: written whole or not at all, read after a look at kind and size, named within bounds.

Whatever Limner writes goes through `replacing` (or `write_bytes`, `write_text`, `write_from`,
`replacing_folder` on top of it); whatever it takes from data as a name goes through `output_path`;
YAML is read by `read_yaml` alone; folders are listed by `listed` and `listed_tree`.
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
import re
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from limner.errors import DISK_ERRORS, DiskError, FileError, LimnerError, LockedError
from limner.errors import printable as printable
from limner.yamltext import read_yaml as read_yaml
from limner.yamltext import yaml_text as yaml_text

# What begins so is Limner's own, unfinished: readers pass it over, `sweep` removes it.
TEMPORARY = ".limner-"
# A folder that waits to be replaced, where a system cannot swap two folders at once.
_OLD = f"{TEMPORARY}old-"
NAME_BYTES = 200  # file systems take 255; what is added to a name (".png", "-2") needs room
TEXT_BYTES = 256 * 2**20
_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


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
    except DiskError:
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
        DiskError: the disk is full, over quota, read-only or failing.
    """
    with disk_errors(path):
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


def append_line(path: Path, line: str) -> None:
    """Add a line to `path`, on the disk when this returns; what a crash tore stays a line apart."""
    data = line.encode("utf-8", errors="backslashreplace") + b"\n"
    with disk_errors(path), path.open("a+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                data = b"\n" + data
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


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
        and step >= 0
        and isinstance(moment, int | float)
    )


# Names


def is_hidden(name: str) -> bool:
    """Say whether a name is no part of any data: hidden, or clutter that systems strew about."""
    return name.startswith(".") or name.casefold() in _CLUTTER


def listed(folder: Path) -> list[Path]:
    """Return what lies in `folder`, sorted by name, without what is hidden."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def listed_tree(folder: Path) -> list[Path]:
    """Return all files in `folder` and below it, sorted, without what is hidden."""
    paths = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not is_hidden(name)]
        paths += [Path(parent, name) for name in names if not is_hidden(name)]
    return sorted(paths)


def output_path(folder: Path, name: str, suffix: str, *, taken: set[str]) -> Path:
    """Return where in `folder` the result called `name` is written; it cannot lie elsewhere.

    Ordinary names stay as they are. Separators become hyphens, what no file system or terminal
    likes becomes an escape such as %0A, long names are cut and closed by a hash of the whole.

    Args:
        folder: the folder of the results.
        name: any text, such as a stem or an entry of a manifest.
        suffix: what the file name ends with, such as ".png".
        taken: the names given before, which this one will differ from, on file systems that do
            not tell case apart, too; the new one is added.
    """
    base = safe_name(name, at_most=NAME_BYTES - len(suffix.encode()) - 6)
    result, number = base, 1
    while (key := unicodedata.normalize("NFC", result + suffix).casefold()) in taken:
        number += 1
        result = f"{base}-{number}"
    taken.add(key)
    return folder / (result + suffix)


def safe_name(name: str, *, at_most: int = NAME_BYTES) -> str:
    """Return `name` as one part of a path: no separators, not hidden, readable, not too long."""
    parts = [part for part in re.split(r"[/\\]+", name) if part not in ("", ".", "..")]
    text = "".join(_escaped(letter) for letter in "-".join(parts)) or "_"
    text = re.sub(r"^\.", "_", text)
    data = text.encode("utf-8")
    if len(data) <= at_most:
        return text
    digest = hashlib.sha256(name.encode("utf-8", errors="surrogatepass")).hexdigest()[:10]
    return data[: at_most - 11].decode("utf-8", errors="ignore") + "~" + digest


def _escaped(letter: str) -> str:
    if letter in '<>:"|?*' or not letter.isprintable():
        code = ord(letter)
        raw = [code - 0xDC00] if 0xDC80 <= code <= 0xDCFF else letter.encode("utf-8", "replace")
        return "".join(f"%{byte:02X}" for byte in raw)
    return letter
