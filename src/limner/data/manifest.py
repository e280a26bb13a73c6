"""A CSV file that lists pairs: `source,target[,instance][,mask][,group][,side],split`.

In place of `source` there may be several columns `source.NAME`, whose files become the channels of
one source in the order of the columns.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

from limner.data.pairs import Half, Pair, named
from limner.errors import DataError
from limner.files import listed, read_text

FILE = "manifest.csv"
_REQUIRED = ("target", "split")
_SOURCE = "source"
_FILES = ("target", "instance", "mask")
_COLUMNS = (_SOURCE, *_REQUIRED, "instance", "mask", "side", "group")
_SIDES: dict[str, Half] = {"left": "left", "right": "right"}


def manifest_in(root: Path) -> Path | None:
    """Return the manifest of a data folder (or `root`, if it is the CSV file itself), or None.

    It is `manifest.csv`, else the one CSV file whose header has the columns of a manifest; two of
    these are a `DataError`.
    """
    if root.is_file():
        return root
    if (root / FILE).is_file():
        return root / FILE
    tables = [path for path in listed(root) if path.suffix.lower() == ".csv" and path.is_file()]
    manifests = [path for path in tables if _is_manifest(path)]
    if len(manifests) > 1:
        names = ", ".join(path.name for path in manifests)
        raise DataError(f"{root} has several manifests ({names}): keep one, or call it {FILE}")
    return manifests[0] if manifests else None


def read_manifest(path: Path) -> dict[str, list[Pair]]:
    """Read the pairs of every split from a manifest; paths count from the manifest's folder.

    Columns are told apart whatever the case of their letters; cells are separated by commas,
    semicolons or tabs; backslashes in paths are taken for slashes where only that names a file.
    `side` (left, right) says which half of an image that stands in both columns is the source.

    A pair is named by the stem of its source, or, where stems repeat within a split, by its path
    with "__" between the folders.

    Raises:
        DataError: the sentence names the line or the files.
    """
    columns, rows = _table(path)
    sources = _sources(columns)
    missing = [column for column in (*(sources or [_SOURCE]), *_REQUIRED) if column not in columns]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}, but {', '.join(columns) or 'none'}: its "
            "first line must read source,target,split or source,target,instance,split"
        )
    if len(sources) > 1 and _SOURCE in sources:
        raise DataError(
            f"{path} has a column source beside {', '.join(sources[1:])}: call all of them "
            "source.NAME, or keep one"
        )
    splits: dict[str, list[tuple[str, Pair]]] = {}
    lost: list[str] = []
    for number, cells in rows:
        for column in (*sources, *_REQUIRED):
            if not cells[column]:
                raise DataError(f"{path}, line {number}, has no {column}: fill it in")
        files = {key: _file(path.parent, cells[key]) for key in (*sources, *_FILES)}
        lost += [cells[key] for key, file in files.items() if cells[key] and not file.is_file()]
        first, *more = (files[column] for column in sources)
        pair = Pair(
            name=first.stem,
            source=first,
            target=files["target"],
            source_half=_half(cells, sources, f"{path}, line {number},"),
            instance=files["instance"] if cells["instance"] else None,
            mask=files["mask"] if cells["mask"] else None,
            declared=True,
            group=cells["group"] or None,
            more=tuple(more),
        )
        splits.setdefault(cells["split"], []).append((cells[sources[0]], pair))
    if lost:
        raise DataError(
            f"{path} names {len(lost)} file{'' if len(lost) == 1 else 's'} that cannot be found "
            f"({named(lost)}): paths count from the folder of the manifest"
        )
    return {split: _uniquely_named(rows, path, split) for split, rows in splits.items()}


def sources_in(path: Path) -> list[tuple[Path, ...]]:
    """Return the sources of every row of a manifest, whatever else it lists or lacks.

    Raises:
        DataError: there is no column of sources, or a file cannot be found.
    """
    columns, rows = _table(path)
    sources = _sources(columns)
    if not sources:
        raise DataError(f"{path} has no column source or source.NAME: name one in its first line")
    files = [tuple(_file(path.parent, cells[key]) for key in sources) for _, cells in rows]
    lost = [str(file) for row in files for file in row if not file.is_file()]
    if lost:
        raise DataError(f"{path} names files that cannot be found: {named(lost)}")
    return list(dict.fromkeys(files))


def _file(folder: Path, cell: str) -> Path:
    path = folder / cell
    if "\\" in cell and not path.exists():  # written on Windows
        return folder / cell.replace("\\", "/")
    return path


def _sources(columns: list[str]) -> list[str]:
    """Return the columns of sources: `source`, first, and those called `source.NAME`."""
    named = [column for column in columns if column.startswith(f"{_SOURCE}.")]
    return [_SOURCE, *named] if _SOURCE in columns else named


def _half(cells: dict[str, str], sources: list[str], where: str) -> Half | None:
    side = cells["side"].lower()
    if not side:
        return None
    if side not in _SIDES:
        raise DataError(f"{where} has the side {cells['side']!r}: write left, right or nothing")
    if [cells[column] for column in sources] != [cells["target"]]:
        raise DataError(
            f"{where} has a side and two files: a side is of one image that stands in both columns"
        )
    return _SIDES[side]


def _uniquely_named(rows: list[tuple[str, Pair]], path: Path, split: str) -> list[Pair]:
    names = [pair.name for _, pair in rows]
    if len(set(names)) < len(names):
        sources = (Path(source.replace("\\", "/")).with_suffix("") for source, _ in rows)
        names = ["__".join(source.parts) for source in sources]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{path} lists {named(twice)} more than once in split {split!r}: a source, told by "
            "its path without the extension, may stand in one row only"
        )
    return [replace(pair, name=name) for name, (_, pair) in zip(names, rows, strict=True)]


def column_of(root: Path, column: str) -> dict[Path, str]:
    """Return a column of a data set's manifest by the file of each row's target.

    Raises:
        DataError: there is no manifest, or it has no such column.
    """
    path = manifest_in(root)
    if path is None:
        raise DataError(f"{root} has no manifest that could have the column {column!r}")
    columns, rows = _table(path)
    if column.lower() not in columns:
        raise DataError(f"{path} has no column {column!r}, but {', '.join(columns)}")
    return {_file(path.parent, cells["target"]): cells[column.lower()] for _, cells in rows}


def _is_manifest(path: Path) -> bool:
    try:
        columns = _table(path)[0]
        return set(_REQUIRED) <= set(columns) and bool(_sources(columns))
    except DataError:  # some other table, in some other encoding
        return False


def _table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns and (line number, cells) of every row that is not empty."""
    try:
        lines = read_text(path, error=DataError).splitlines()
        start = lines[0] if lines else ""
        delimiter = max(",;\t", key=start.count)
        reader = csv.reader(lines, delimiter=delimiter)
        columns = [cell.strip().lower() for cell in next(reader, [])]
        rows = []
        for row in reader:
            cells = dict.fromkeys(_COLUMNS, "")
            cells |= {key: cell.strip() for key, cell in zip(columns, row, strict=False)}
            if any(cells.values()):
                rows.append((reader.line_num, cells))
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}): save it as UTF-8") from None
    return columns, rows
