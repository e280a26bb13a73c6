"""A CSV file that lists pairs: `source,target[,instance],split`."""

from __future__ import annotations

import contextlib
import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from limner.data.pairs import Pair, listed
from limner.errors import DataError

FILE = "manifest.csv"
_REQUIRED = ("source", "target", "split")


def manifest_in(root: Path) -> Path | None:
    """Return the manifest of a data folder (or `root`, if it is the CSV file itself), or None.

    It is `manifest.csv`, else the one CSV file whose header has the columns of a manifest; two of
    these are a `DataError`.
    """
    if root.is_file():
        return root
    if (root / FILE).is_file():
        return root / FILE
    tables = sorted(path for path in root.glob("*.csv") if path.is_file())
    found = [path for path in tables if _is_manifest(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{root} has several manifests ({names}): keep one, or call it {FILE}")
    return found[0] if found else None


def read_manifest(path: Path) -> dict[str, list[Pair]]:
    """Read the pairs of every split from a manifest; paths count from the manifest's folder.

    A pair is named by the stem of its source, or, where stems repeat within a split, by its path
    with "__" between the folders. Raises `DataError` that names the line or the files.
    """
    missing = [column for column in _REQUIRED if column not in _columns(path)]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}: its first line must read "
            "source,target,split or source,target,instance,split"
        )
    splits: dict[str, list[tuple[str, Pair]]] = {}
    lost: list[str] = []
    for number, cells in _rows(path):
        for column in _REQUIRED:
            if not cells[column]:
                raise DataError(f"{path}, line {number}, has no {column}: fill it in")
        files = {key: path.parent / cells[key] for key in ("source", "target", "instance")}
        lost += [cells[key] for key, file in files.items() if cells[key] and not file.is_file()]
        pair = Pair(
            name=Path(cells["source"]).stem,
            source=files["source"],
            target=files["target"],
            instance=files["instance"] if cells["instance"] else None,
        )
        splits.setdefault(cells["split"], []).append((cells["source"], pair))
    if lost:
        raise DataError(
            f"{path} names {len(lost)} file{'' if len(lost) == 1 else 's'} that cannot be found "
            f"({listed(lost)}): paths count from the folder of the manifest"
        )
    return {split: _uniquely_named(rows, path, split) for split, rows in splits.items()}


def _uniquely_named(rows: list[tuple[str, Pair]], path: Path, split: str) -> list[Pair]:
    names = [pair.name for _, pair in rows]
    if len(set(names)) < len(names):
        names = ["__".join(Path(source).with_suffix("").parts) for source, _ in rows]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{path} lists {listed(twice)} more than once in split {split!r}: a source, told by "
            "its path without the extension, may stand in one row only"
        )
    return [
        Pair(name, pair.source, pair.target, instance=pair.instance)
        for name, (_, pair) in zip(names, rows, strict=True)
    ]


def _is_manifest(path: Path) -> bool:
    try:
        return set(_REQUIRED) <= set(_columns(path))
    except DataError:  # some other table, in some other encoding
        return False


def _columns(path: Path) -> list[str]:
    with _reading(path) as file:
        return [cell.strip() for cell in next(csv.reader(file), [])]


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return (line number, cells) of every row that is not empty."""
    rows = []
    with _reading(path) as file:
        reader = csv.DictReader(file, fieldnames=_columns(path))
        next(reader, None)  # the header
        for row in reader:
            cells = {key: (row.get(key) or "").strip() for key in (*_REQUIRED, "instance")}
            if any(cells.values()):
                rows.append((reader.line_num, cells))
    return rows


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[TextIO]:
    try:
        # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}): save it as UTF-8") from None
