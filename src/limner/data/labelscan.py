"""Every label map is read once before the work starts: which values there are, and where."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from limner.data.decode import header
from limner.data.labelmaps import (
    LabelMaps,
    ids_of,
    no_instances,
    out_of_range,
    read_codes,
    two_sizes,
)
from limner.data.pairs import Pair
from limner.errors import DataError
from limner.files import write_text

Values = dict[int, int]
"""How many pixels of a label map have each value (or colour, see `read_codes`)."""

_MANY = 200  # maps to read, from which on a bar is shown
_KEPT = 4096  # values of a map that are worth remembering


def scan_labels(
    pairs: Sequence[Pair], *, coding: str, memory: Path | None = None, threads: int = 4
) -> list[Values]:
    """Count the values of every pair's label map.

    `memory` is a folder where the counts are kept under each file's size and time of change, so
    that only what is new is read again. Raises `DataError` for a file that is no label map.
    """
    known = _Memory(memory, pairs, coding)
    unread = [pair for pair in pairs if known.get(pair) is None]

    def count(pair: Pair) -> Values:
        codes = read_codes(pair.source, coding=coding, half=pair.source_half)
        if int(codes.max(initial=0)) < 2**16:
            counts = np.bincount(codes.ravel())
            return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
        values, numbers = np.unique(codes, return_counts=True)
        return dict(zip(values.tolist(), numbers.tolist(), strict=True))

    with ThreadPoolExecutor(threads) as pool, _bar(len(unread)) as advance:
        for pair, values in zip(unread, pool.map(count, unread), strict=True):
            known.put(pair, values)
            advance()
    known.save()
    return [known.counts[known.key(pair)] for pair in pairs]


def check_labels(pairs: Sequence[Pair], maps: LabelMaps, *, memory: Path | None = None) -> None:
    """Raise `DataError` for the first value that has no class, and for instance maps that lack.

    The sentence names file, value, count and position, and counts the files like it.
    """
    if maps.instances:
        _check_instances(pairs)
    if maps.coding == "nearest":
        return  # every colour is near to some class
    wrong: list[tuple[Pair, int]] = []
    for pair, values in zip(
        pairs, scan_labels(pairs, coding=maps.coding, memory=memory), strict=True
    ):
        codes = np.array(sorted(values), dtype=np.int32)
        unknown = codes[ids_of(codes, maps) < 0]
        if len(unknown):
            wrong.append((pair, int(unknown[0])))
    if wrong:
        pair, code = wrong[0]
        codes = read_codes(pair.source, coding=maps.coding, half=pair.source_half)
        raise DataError(out_of_range(pair.source, codes, code, maps) + _more(len(wrong)))


def _check_instances(pairs: Sequence[Pair], *, threads: int = 4) -> None:
    lacking = [pair for pair in pairs if pair.instance is None]
    if lacking:
        raise DataError(no_instances(lacking[0]) + _more(len(lacking)))

    def sizes(pair: Pair) -> tuple[tuple[int, int], tuple[int, int]]:
        labels, instance = header(pair.source)[1:], header(pair.instance or pair.source)[1:]
        return (labels[0], labels[1] // 2 if pair.source_half else labels[1]), instance

    with ThreadPoolExecutor(threads) as pool:
        found = list(zip(pairs, pool.map(sizes, pairs), strict=True))
    wrong = [(pair, *both) for pair, both in found if both[0] != both[1]]
    if wrong:
        raise DataError(two_sizes(*wrong[0]) + _more(len(wrong)))


def _more(count: int) -> str:
    return f" ({count - 1} more like it)" if count > 1 else ""


class _Memory:
    """Counts by file, kept in one JSON file a set of folders and coding."""

    def __init__(self, folder: Path | None, pairs: Sequence[Pair], coding: str):
        self.counts: dict[str, Values] = {}
        self.path = None
        self._changed = False
        self._stored: dict[str, dict[str, int]] = {}
        if folder is not None and pairs:
            places = sorted({str(pair.source.parent.absolute()) for pair in pairs})
            name = hashlib.sha256(repr((places, coding)).encode()).hexdigest()[:40]
            self.path = folder / f"labels-{name}.json"
            with contextlib.suppress(OSError, ValueError):
                stored = json.loads(self.path.read_text())
                self._stored = stored if isinstance(stored, dict) else {}

    @staticmethod
    def key(pair: Pair) -> str:
        try:
            found = pair.source.stat()
        except OSError:
            return str(pair.source)  # reading it will say what is wrong
        return f"{pair.source.absolute()}|{pair.source_half}|{found.st_size}|{found.st_mtime_ns}"

    def get(self, pair: Pair) -> Values | None:
        key = self.key(pair)
        stored = self._stored.get(key)
        if key not in self.counts and isinstance(stored, dict):
            with contextlib.suppress(ValueError, TypeError):
                self.counts[key] = {int(value): int(count) for value, count in stored.items()}
        return self.counts.get(key)

    def put(self, pair: Pair, values: Values) -> None:
        self.counts[self.key(pair)] = values
        self._changed = True

    def save(self) -> None:
        if self.path is None or not self._changed:
            return
        kept = {key: values for key, values in self.counts.items() if len(values) <= _KEPT}
        with contextlib.suppress(OSError):  # what cannot be remembered is read again
            write_text(self.path, json.dumps(kept))


@contextlib.contextmanager
def _bar(total: int):
    """Show a bar on a terminal while many maps are read."""
    if total < _MANY:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("reading label maps", total=total)
        yield lambda: bar.advance(task)
