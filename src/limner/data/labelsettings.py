"""What is left open about label maps is derived: from dataset.yaml, a known table, the maps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.data.decode import decode_ids, probe
from limner.data.description import Description, read_description
from limner.data.labelmaps import Colour
from limner.data.labelscan import Values, scan_labels
from limner.data.labeltables import FORMS, Form
from limner.data.layouts import find_pairs, splits
from limner.data.pairs import Pair
from limner.errors import DataError

# How files of well-known data sets are named.
_NAMED = {
    "cityscapes": re.compile(r".*_gt(Fine|Coarse)_labelIds"),
    "camvid": re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?\d+"),
    "ade20k": re.compile(r"ADE_(train|val)_\d{8}"),
    "coco-stuff": re.compile(r"(COCO_(train|val)2014_)?\d{12}"),
}
_LOSSY = frozenset({".jpg", ".jpeg", ".webp"})


@dataclass(frozen=True)
class LabelFacts:
    """What is known of the label maps of a data set; keys as `data.labels` documents them."""

    classes: int
    void: int | None
    first: int
    edges: bool
    table: str | None
    coding: str
    names: tuple[str, ...] | None
    colours: tuple[Colour, ...] | None
    notes: tuple[str, ...]


def derive_labels(
    root: Path,
    *,
    direction: str | None,
    classes: int | None = None,
    void: int | None = None,
    first: int = 0,
    edges: bool | None = None,
    table: str | None = None,
    coding: str = "auto",
    names: tuple[str, ...] | None = None,
    colours: tuple[Colour, ...] | None = None,
    memory: Path | None = None,
) -> LabelFacts:
    """Fill in what the keywords leave open, from `root`'s dataset.yaml, a known table or its maps.

    Where `classes` is given, `void` and `first` are taken as they are. `memory` as in
    `scan_labels`. `notes` say what was found out.

    Raises `DataError` where nothing tells the classes, or the maps are none.
    """
    described = read_description(root.parent if root.is_file() else root)
    found = {split: find_pairs(root, split, direction=direction) for split in splits(root)}
    pairs = found.get("train") or next(iter(found.values()), [])
    if not pairs:
        raise DataError(f"{root} has no split that is complete: put pairs under train")
    notes: list[str] = []
    coding = coding if coding != "auto" else described.coding or _coding(pairs[0])
    colours = colours or described.colours
    names = names or described.classes
    table = table or described.table
    if table is None and coding == "ids" and not (names or colours):
        table = _recognised(pairs, memory)
        if table is not None:
            notes.append(f"the label maps are taken for those of {table}, by their names")
    if classes is None:
        if names or (colours and table is None):
            form = _described(described, len(names or colours or ()))
            if described.void == 0 and form.first:  # void leads them; from here on it comes last
                names = (*names[1:], names[0]) if names else None
                colours = (*colours[1:], colours[0]) if colours else None
        elif table is not None:
            form = FORMS[table]
        elif coding == "ids":
            first = first or described.first or 0
            wanted = void if void is not None else described.void
            form = _counted(found, wanted, first, memory, notes)
        else:
            raise DataError(
                f"{pairs[0].source} is a colour image, and nothing says which colours its classes "
                "have: name colours in dataset.yaml, or set data.labels.table"
            )
        classes = form.classes
        first = (first or form.first) if coding == "ids" else 0
        void = void if void is not None and void >= classes else form.void
        notes.append(
            f"{_plural(classes)} in the label maps, void {'none' if void is None else void}"
        )
    if first and void is None:
        void = classes  # what lies below the first class has a channel of its own
    if edges is None:
        edges = all(pair.instance is not None for pair in pairs)
    return LabelFacts(classes, void, first, edges, table, coding, names, colours, tuple(notes))


def known_table(root: Path, pairs: Sequence[Pair], *, memory: Path | None = None) -> str | None:
    """Return the name in `labeltables.FORMS` of the data set whose label maps `pairs` have, if any.

    dataset.yaml in `root` names it, or the names and values of all label maps show it; not where
    it describes classes of its own. `memory` as in `scan_labels`. Raises `DataError`.
    """
    described = read_description(root.parent if root.is_file() else root)
    if described.table is not None or described.classes or described.colours:
        return described.table
    return _recognised(pairs, memory) if pairs and _coding(pairs[0]) == "ids" else None


def _plural(classes: int) -> str:
    return f"{classes} class" + ("" if classes == 1 else "es")


def _coding(pair: Pair) -> str:
    """Return how a label map tells its classes: palettes and single channels hold ids."""
    if probe(pair.source).channels <= 2 or len(decode_ids(pair.source)) <= 2:
        return "ids"
    return "nearest" if pair.source.suffix.lower() in _LOSSY else "exact"


def _recognised(pairs: Sequence[Pair], memory: Path | None) -> str | None:
    """Return the data set whose way of naming files and whose values all pairs show."""
    for name, pattern in _NAMED.items():
        if all(pattern.fullmatch(pair.source.stem) for pair in pairs):
            form = FORMS[name]
            values = {
                value for each in scan_labels(pairs, coding="ids", memory=memory) for value in each
            }
            fits = all(form.first <= v < form.first + form.classes for v in values - _voids(form))
            return name if fits else None
    return None


def _voids(form: Form) -> set[int]:
    return set(range(form.first)) | ({form.void} if form.void is not None else set())


def _described(described: Description, count: int) -> Form:
    """Return the form of `count` described classes, of which void may be the first or the last."""
    first, void = described.first or 0, described.void
    if void is not None and void == count - 1:
        return Form(classes=count - 1, void=void)
    if void == 0 and not first:
        return Form(classes=count - 1, void=count - 1, first=1)
    if void is not None and void < count and not first:
        return Form(classes=count)  # in their middle: a class like the others
    return Form(classes=count, void=void, first=first)


def _counted(
    found: dict[str, list[Pair]],
    void: int | None,
    first: int,
    memory: Path | None,
    notes: list[str],
) -> Form:
    """Return the form that the values of all maps show: ids up to the highest, and 255 as void."""
    counts: list[Values] = []
    for pairs in found.values():
        counts += scan_labels(pairs, coding="ids", memory=memory)
    values = {value for each in counts for value in each}
    if void is None and 255 in values and max(values) == 255 and 254 not in values:
        void = 255
    if void == 0 and not first:
        void, first = None, 1  # the classes begin above it
    ids = sorted(value for value in values - {void} if value >= first)
    classes = ids[-1] + 1 - first if ids else 1
    if void is not None and void < classes:
        void = None  # in the classes' middle: one like the others
    if classes > 64 and len(ids) < classes // 4:
        shown = ", ".join(str(value) for value in ids[:8]) + (" ..." if len(ids) > 8 else "")
        raise DataError(
            f"the label maps hold {len(ids)} values from {ids[0]} to {ids[-1]} ({shown}), which "
            "look like grey levels rather than class ids 0, 1, 2 ...: number the classes from 0, "
            "or set data.labels.classes"
        )
    if ids:
        notes.append(f"the {len(counts)} label maps hold values from {ids[0]} to {ids[-1]}")
    return Form(classes=classes, void=void, first=first)
