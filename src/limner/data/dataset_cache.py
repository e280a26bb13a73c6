"""Decoded images on disk, so that the second epoch decodes nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limner.errors import DataError, LimnerError
from limner.files import read_json, replacing, sha256, write_text

VERSION = 2  # of what the files hold; raise it whenever decoding or resizing changes
_HEADER = 128  # bytes before the samples in an .npy file of three dimensions
_CHECK = 4  # bytes of the CRC-32 of the samples, after them
_STALE = 3600  # seconds after which a temporary file has no writer any more

_DTYPES = (np.uint8, np.uint16, np.float32)

logger = logging.getLogger(__name__)


class DatasetCache:
    """A bounded folder of images, one `.npy` file a sample, read memory-mapped.

    `names` are those of all samples of a data set, in order, and `sizes` their bytes. Samples are
    taken in that order until `limit_bytes` are spent, so that all workers agree on which to keep
    without a word. `beside` (name: bytes) are the claims of caches open on the same folder: they
    count against the limit. Other files are deleted, least recently used first, until all fits.

    Each file ends with a checksum, which every process compares the first time that it reads it.
    A disk that is full or read-only ends the caching with one warning, never the run.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit_bytes: int,
        names: Sequence[str],
        sizes: Sequence[int],
        beside: Mapping[str, int] | None = None,
    ):
        beside = beside or {}
        self.folder = folder
        self.claims: dict[str, int] = {}
        self.kept: set[int] = set()
        self._sound: set[str] = set()  # what this process has compared with its checksum
        # A tensor in shared memory: a worker that finds the disk full tells all others.
        self._failed = torch.zeros(1, dtype=torch.uint8).share_memory_()
        left = limit_bytes - sum(beside.values())
        for index, (name, size) in enumerate(zip(names, sizes, strict=True)):
            if name in beside or name in self.claims:  # the same files and settings: one copy
                self.kept.add(index)
                continue
            left -= size
            if left < 0:
                break
            self.kept.add(index)
            self.claims[name] = size
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._make_room(limit_bytes, {**beside, **self.claims})
        except OSError as error:
            self._fail(error)

    def read(self, index: int, name: str, *, channels: int) -> Tensor | None:
        """Return the C x H x W image kept under `name`, or None where there is none.

        A file that is damaged, be it by one bit, or has not C = `channels`, counts as absent.
        """
        if index not in self.kept:
            return None
        try:
            # "c", not "r": private pages, never written back, that torch may take as writable.
            array = np.load(self._path(name), mmap_mode="c", allow_pickle=False)
            sound = array.ndim == 3 and len(array) == channels and array.dtype in _DTYPES
            if not sound or not (name in self._sound or self._matches(name, array)):
                return None
        except (OSError, ValueError, EOFError):
            return None
        self._sound.add(name)
        return torch.from_numpy(array)

    def _matches(self, name: str, array: np.ndarray) -> bool:
        """Whether the samples are those whose checksum stands at the end of their file."""
        with self._path(name).open("rb") as file:
            file.seek(-_CHECK, os.SEEK_END)
            return array.flags.c_contiguous and file.read() == _check(array)

    def write(self, index: int, name: str, image: Tensor) -> None:
        """Keep a C x H x W image, if it is one of those to be kept."""
        if index not in self.kept or self._failed[0]:
            return
        try:
            with replacing(self._path(name)) as temporary, temporary.open("wb") as file:
                array = image.contiguous().numpy()
                np.save(file, array, allow_pickle=False)
                file.write(_check(array))
        except OSError as error:
            self._fail(error)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _fail(self, error: OSError) -> None:
        self._failed[0] = 1
        logger.warning(
            "the image cache in %s is off (%s): training goes on and decodes every image anew",
            self.folder,
            error.strerror or error,
        )

    def _make_room(self, limit_bytes: int, claims: Mapping[str, int]) -> None:
        room = limit_bytes - sum(claims.values())
        others = []
        for path in self.folder.glob("*.npy"):
            with contextlib.suppress(FileNotFoundError):  # another process may tidy up as well
                status = path.stat()
                if path.stem in claims:
                    path.touch()
                elif path.name.startswith("."):  # left over by a process that was killed
                    if time.time() - status.st_mtime > _STALE:
                        path.unlink()
                else:
                    others.append((status.st_mtime_ns, status.st_size, path))
        kept = sum(size for _, size, _ in others)
        for _, size, path in sorted(others):
            if kept <= room:
                break
            path.unlink(missing_ok=True)
            kept -= size


def _check(array: np.ndarray) -> bytes:
    return zlib.crc32(array.data).to_bytes(_CHECK, "little")


def file_name(files: Sequence[Path], settings: object) -> str:
    """Return the name for what is made of `files` under `settings` (anything with a plain repr).

    It follows from the files' absolute paths, sizes and times of change, so that a changed file
    gets a new one.

    Raises:
        OSError: a file is gone.
    """
    parts: list[object] = [VERSION, settings]
    for path in files:
        status = path.stat()
        parts.append((str(path.absolute()), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]


def file_bytes(shape: Sequence[int], *, bits: int) -> int:
    """Return the bytes of the file that holds an image of this shape."""
    return _HEADER + int(np.prod(shape, dtype=np.int64)) * (bits // 8) + _CHECK


class FileMemory:
    """What was found out about files, so that only what is new or changed is looked at again.

    One JSON file in `folder` for each `kind` and set of folders; an entry counts as long as its
    file has the same path, size and time of change. Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None, kind: str, files: Sequence[Path]):
        self._path: Path | None = None
        self._known: dict[str, Any] = {}
        self._used: dict[str, Any] = {}
        self._changed = False
        if folder is not None and files:
            places = sorted({str(path.parent.absolute()) for path in files})
            name = hashlib.sha256(repr((places, kind)).encode(errors="backslashreplace"))
            self._path = folder / f"{kind}-{name.hexdigest()[:40]}.json"
            with contextlib.suppress(OSError, LimnerError):
                known = read_json(self._path)
                self._known = known if isinstance(known, dict) else {}

    @staticmethod
    def _key(path: Path, mark: str) -> str:
        try:
            status = path.stat()
        except OSError:
            return str(path)  # reading it will say what is wrong
        return f"{path.absolute()}|{mark}|{status.st_size}|{status.st_mtime_ns}"

    def get(self, path: Path, mark: str = "") -> Any:
        """Return what is known of a file, or None; `mark` tells several things apart."""
        key = self._key(path, mark)
        if key in self._known:
            self._used[key] = self._known[key]
        return self._used.get(key)

    def put(self, path: Path, value: Any, mark: str = "") -> None:
        """Remember a value that JSON can hold."""
        self._used[self._key(path, mark)] = value
        self._changed = True

    def save(self) -> None:
        """Write what was used; entries of files that are gone or changed are left out."""
        if self._path is not None and self._changed:
            with contextlib.suppress(OSError):  # what cannot be remembered is looked at again
                write_text(self._path, json.dumps(self._used))


def content_digests(
    files: Sequence[Path], *, memory: Path | None = None, threads: int = 4
) -> list[str]:
    """Return the SHA-256 of each file's bytes; `memory` as `FileMemory` takes it.

    Raises:
        DataError: a file cannot be read.
    """
    known = FileMemory(memory, "contents", files)

    def digest(path: Path) -> str:
        stored = known.get(path)
        if isinstance(stored, str) and len(stored) == 64:
            return stored
        try:
            value = sha256(path)
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror}): check the path and its permissions"
            ) from None
        known.put(path, value)
        return value

    distinct = list(dict.fromkeys(files))
    with ThreadPoolExecutor(threads) as pool:
        digests = dict(zip(distinct, pool.map(digest, distinct), strict=True))
    known.save()
    return [digests[path] for path in files]
