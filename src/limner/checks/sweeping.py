"""All pairs of a data set are measured: streamed over the processors, remembered by content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from limner.checks.measuring import VERSION, ImageFeatures, PairFeatures, measure_pair
from limner.checks.over_processes import over_processes
from limner.data import Pair, files_of
from limner.errors import FileError
from limner.files import sha256


def measure_all(
    pairs: Sequence[Pair],
    *,
    memory: Path | None,
    processes: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Iterator[PairFeatures]:
    """Yield the features of each pair in order.

    Args:
        pairs: what to measure.
        memory: a folder where features are kept, or None. They are found again by the contents of
            a pair's files, and these by path, size and time of change.
        processes: how many work; None for one a processor. A signal that ends the caller ends them.
        advance: called after each pair.
    """
    with Memory(memory) as kept:
        known = [kept.find(pair) for pair in pairs]
        unknown = [pair for pair, key in zip(pairs, known, strict=True) if not kept.has(key)]
        fresh = over_processes(measure_pair, unknown, processes=processes)
        with contextlib.closing(fresh):  # pyright: ignore[reportArgumentType]
            for pair, key in zip(pairs, known, strict=True):
                features = kept.get(key) if kept.has(key) else None
                if features is None:
                    features = next(fresh, None) or measure_pair(pair)
                    kept.put(pair, features)
                advance()
                yield features


class Memory:
    """Features on disk, in one SQLite file; without a folder, or with a disk that refuses, none.

    What was measured before an interruption is found again: it is written as it comes.
    """

    def __init__(self, folder: Path | None):
        self._base: sqlite3.Connection | None = None
        self._pending = 0
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(folder / f"checks-{VERSION}.sqlite", timeout=10)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute("CREATE TABLE IF NOT EXISTS seen (state TEXT PRIMARY KEY, key TEXT)")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS features (key TEXT PRIMARY KEY, value BLOB)"
            )
        except (sqlite3.Error, OSError):
            self._base = None

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        if self._base is not None:
            with contextlib.suppress(sqlite3.Error):
                self._base.commit()
            self._base.close()

    def find(self, pair: Pair) -> str | None:
        """Return the key of a pair's features, where its files are known and unchanged."""
        if self._base is None:
            return None
        with contextlib.suppress(sqlite3.Error, OSError):
            row = self._base.execute("SELECT key FROM seen WHERE state=?", (_state(pair),))
            return next((key for (key,) in row), None)
        return None

    def has(self, key: str | None) -> bool:
        """Say whether features lie under a key."""
        if self._base is None or key is None:
            return False
        with contextlib.suppress(sqlite3.Error):
            row = self._base.execute("SELECT 1 FROM features WHERE key=?", (key,))
            return row.fetchone() is not None
        return False

    def get(self, key: str | None) -> PairFeatures | None:
        """Return the features under a key; None where there are none, or damaged ones."""
        if self._base is None or key is None:
            return None
        try:
            row = self._base.execute("SELECT value FROM features WHERE key=?", (key,)).fetchone()
            return None if row is None else unpacked(row[0])
        except (sqlite3.Error, ValueError, KeyError, TypeError):
            return None

    def put(self, pair: Pair, features: PairFeatures) -> None:
        """Keep the features of a pair, if all of its files could be read.

        What could not be may be another time, with the same size and time of change.
        """
        if self._base is None or not all(features.digests):
            return
        try:
            key = _content(pair, features)
            self._base.execute(
                "INSERT OR REPLACE INTO features VALUES (?, ?)", (key, packed(features))
            )
            self._base.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (_state(pair), key))
            self._pending += 1
            if self._pending % 64 == 0:
                self._base.commit()
        except FileError:  # a map of instances that is a pipe
            return
        except (sqlite3.Error, OSError):  # a full disk: what is not kept is measured again
            with contextlib.suppress(sqlite3.Error):
                self._base.close()
            self._base = None


def _state(pair: Pair) -> str:
    parts: list[object] = [VERSION, pair.source_half]
    for path in files_of(pair):
        found = path.stat()
        parts.append((str(path.absolute()), found.st_size, found.st_mtime_ns))
    return hashlib.sha256(repr(parts).encode(errors="backslashreplace")).hexdigest()


def _content(pair: Pair, features: PairFeatures) -> str:
    instance = "" if pair.instance is None else sha256(pair.instance)
    parts = (VERSION, pair.source_half, features.digests, instance)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def packed(features: PairFeatures) -> bytes:
    """Return features as bytes: JSON, then the arrays one after another."""
    arrays: list[bytes] = []
    place = 0

    def plain(value: Any) -> Any:
        nonlocal place
        if isinstance(value, np.ndarray):
            data = np.ascontiguousarray(value).tobytes()
            arrays.append(data)
            place += len(data)
            return {"array": [value.dtype.str, list(value.shape), place - len(data)]}
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return value

    head = json.dumps(plain(asdict(features))).encode()
    return len(head).to_bytes(4, "little") + head + b"".join(arrays)


def unpacked(data: bytes) -> PairFeatures:
    """Return the features that `packed` wrote; raises `ValueError` and its like on other bytes."""
    start = 4 + int.from_bytes(data[:4], "little")
    head = json.loads(data[4:start])

    def image(found: dict[str, Any]) -> ImageFeatures:
        values = {}
        for key, value in found.items():
            if isinstance(value, dict):
                dtype, shape, place = value["array"]
                count = int(np.prod(shape, dtype=np.int64))
                array = np.frombuffer(data, np.dtype(dtype), count, start + place)
                value = array.reshape(shape)
            values[key] = value
        return ImageFeatures(**values)

    return PairFeatures(
        source=image(head["source"]),
        target=image(head["target"]),
        instance=None if head["instance"] is None else image(head["instance"]),
        digests=(head["digests"][0], head["digests"][1]),
        purity=head["purity"],
    )
