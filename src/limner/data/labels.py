"""What is left open about label maps is derived: from dataset.yaml, a known table, the maps."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from limner.data.dataset_cache import FileMemory
from limner.data.decode import decode_ids, header, is_lossy, palette_of, stored_channels
from limner.data.description import FORMS, Description, Form, label_table, read_description
from limner.data.labelmaps import (
    Colour,
    LabelMaps,
    ids_of,
    is_grey,
    no_instances,
    out_of_range,
    read_codes,
    two_sizes,
)
from limner.data.layouts import find_pairs, splits
from limner.data.pairs import Pair
from limner.errors import DataError
from limner.terminal import progress

_T = TypeVar("_T")


class _Known(NamedTuple):
    """How the files of a well-known data set are named, and which id shows that it is this one."""

    stem: re.Pattern[str]
    reaches: int = 0  # at least so high must the ids go: a name of digits alone proves little


_NAMED = {
    "cityscapes": _Known(re.compile(r".*_gt(Fine|Coarse)_labelIds")),
    "camvid": _Known(re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?\d+")),
    "ade20k": _Known(re.compile(r"ADE_(train|val)_\d{8}")),
    "coco-stuff": _Known(re.compile(r"(COCO_(train|val)2014_)?\d{12}"), reaches=91),
}
_MASK: tuple[Colour, Colour] = ((0, 0, 0), (255, 255, 255))


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

    Where `classes` is given, `void` and `first` are taken as they are. `memory` is what
    `scan_labels` takes. The result's `notes` say what was derived.

    Raises:
        DataError: the classes do not follow from any of these, or the files are no label maps.
    """
    described = read_description(root)
    by_split = {split: find_pairs(root, split, direction=direction) for split in splits(root)}
    pairs = by_split.get("train") or next(iter(by_split.values()), [])
    if not pairs:
        raise DataError(f"{root} has no split that is complete: put pairs under train")
    every = [pair for pairs in by_split.values() for pair in pairs]
    notes: list[str] = []
    colours = colours or described.colours
    names = names or described.classes
    table = table or described.table
    void_known = void if void is not None else described.void
    if coding == "auto" and described.coding is not None:
        coding = described.coding
    elif coding == "auto":
        shown = colours or (label_table(table).colours if table is not None else None)
        expected = classes or len(names or colours or ())
        coding, mask = _decided(
            every, shown, expected=expected, void=void_known, memory=memory, notes=notes
        )
        if mask:
            colours = _MASK
            classes = classes or len(names or _MASK)
    if table is None and coding == "ids" and not (names or colours):
        table = _recognised(every, memory)
        if table is not None and classes not in (None, FORMS[table].classes):
            table = None
        if table is not None:
            notes.append(
                f"the label maps are taken for those of {table}, by their names and values; "
                "data.labels.classes decides otherwise"
            )
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
            form = _counted(every, void_known, first, memory, notes)
        else:
            raise DataError(
                f"{pairs[0].source} is a colour image, and nothing says which colours its classes "
                "have: name colours in dataset.yaml, or set data.labels.table"
            )
        classes = form.classes
        first = (first or form.first) if coding == "ids" else 0
        void = void if void is not None and void >= classes else form.void
        notes.append(
            f"{_plural(classes)} in the label maps, void {'none' if void is None else void}; "
            "data.labels.classes and data.labels.void decide otherwise"
        )
    if first and void is None:
        void = classes  # what lies below the first class has a channel of its own
    if edges is None:
        edges = all(pair.instance is not None for pair in pairs)
    return LabelFacts(classes, void, first, edges, table, coding, names, colours, tuple(notes))


def known_table(root: Path, pairs: Sequence[Pair], *, memory: Path | None = None) -> str | None:
    """Return the name in `FORMS` of the data set whose label maps `pairs` have, if any.

    dataset.yaml in `root` names it, or the names and values of all label maps show it; not where
    it describes classes of its own. `memory` is what `scan_labels` takes.

    Raises:
        DataError: dataset.yaml or a label map cannot be read.
    """
    described = read_description(root)
    if described.table is not None or described.classes or described.colours:
        return described.table
    single = bool(pairs) and all(_each(lambda pair: stored_channels(pair.source) <= 2, pairs))
    return _recognised(pairs, memory) if single else None


def _plural(classes: int) -> str:
    return f"{classes} class" + ("" if classes == 1 else "es")


def _decided(
    pairs: Sequence[Pair],
    colours: Sequence[Colour] | None,
    *,
    expected: int,
    void: int | None,
    memory: Path | None,
    notes: list[str],
) -> tuple[str, bool]:
    """Return how all the label maps tell their classes, and whether they are masks of 0 and 255.

    Args:
        pairs: those of all splits.
        colours: the classes' colours, where they are declared.
        expected: how many classes are declared; 0 for none.
        void: the declared id of void.
        memory: as `scan_labels` takes it.
        notes: gets a sentence on what was decided and which key decides otherwise.

    Raises:
        DataError: the maps do not agree with each other, or not with what is declared.
    """
    kinds = _each(lambda pair: stored_channels(pair.source) <= 2, pairs)
    numbers = [pair for pair, single in zip(pairs, kinds, strict=True) if single]
    coloured = [pair for pair, single in zip(pairs, kinds, strict=True) if not single]
    lossy = [pair for pair, bad in zip(pairs, _each(_is_lossy, pairs), strict=True) if bad]
    if coloured and colours is None:
        greys = _each(lambda pair: is_grey(decode_ids(pair.source)), coloured)
        if not all(greys):
            wrong = coloured[greys.index(False)].source
            if numbers:
                raise DataError(
                    f"{wrong} is a colour image and {numbers[0].source} has one channel: save the "
                    "label maps alike, or name the classes' colours in dataset.yaml"
                )
            return ("nearest" if lossy else "exact"), False
        notes.append(
            f"{len(coloured)} label map{'s are' if len(coloured) > 1 else ' is'} grey written as "
            "red, green and blue, and read as ids; data.labels.coding decides otherwise"
        )
        numbers, coloured = [*numbers, *coloured], []
    if coloured:
        return ("nearest" if lossy else "exact"), False
    if lossy:
        raise DataError(
            f"{lossy[0].source} and {len(lossy) - 1} more label maps are stored by a codec that "
            "changes values, so that ids between two classes appear: save them as PNG, or set "
            "data.labels.coding=ids to take them as they are"
        )
    counts = scan_labels(numbers, coding="ids", memory=memory)
    values = {value for each in counts for value in each}
    if values == {0, 255} and void is None and expected in (0, 2) and colours in (None, _MASK):
        notes.append(
            "the label maps hold 0 and 255 alone, taken for two classes; data.labels.void=255 "
            "takes 255 for void"
        )
        return "exact", True
    declared = () if colours is None else colours
    greys = bool(declared) and all((value, value, value) in declared for value in values)
    if greys and not values - {void} <= set(range(expected)):
        notes.append(
            "the values of the label maps are greys among the classes' colours, and read as "
            "these; data.labels.coding=ids reads them as ids"
        )
        return "exact", False
    return _by_palette(numbers, counts, colours, notes), False


def _by_palette(
    pairs: Sequence[Pair],
    counts: Sequence[Values],
    colours: Sequence[Colour] | None,
    notes: list[str],
) -> str:
    """Return "ids", or "exact" where palettes number the declared colours in another way."""
    first: dict[int, tuple[Colour, Path]] = {}
    used: set[Colour] = set()
    agree = True
    palettes = _each(lambda pair: palette_of(pair.source), pairs)
    for pair, values, palette in zip(pairs, counts, palettes, strict=True):
        if palette is None:
            continue
        for value in values:
            if value >= len(palette):
                continue
            red, green, blue = palette[value].tolist()
            colour, path = first.setdefault(value, ((red, green, blue), pair.source))
            used.add((red, green, blue))
            if colours is not None:
                agree &= value < len(colours) and tuple(colours[value]) == (red, green, blue)
            elif colour != (red, green, blue):
                raise DataError(
                    f"{path} and {pair.source} number their colours in different ways ({value} is "
                    f"{colour} and {(red, green, blue)}): name the classes' colours in "
                    "dataset.yaml, or set data.labels.coding=ids if the numbers count"
                )
    if colours is None or agree or not used <= set(colours):
        return "ids"
    notes.append(
        "the palettes of the label maps hold the classes' colours in another order, so that these "
        "are read; data.labels.coding=ids reads the numbers"
    )
    return "exact"


def _is_lossy(pair: Pair) -> bool:
    return is_lossy(pair.source)


def _each(look: Callable[[Pair], _T], pairs: Sequence[Pair], *, threads: int = 4) -> list[_T]:
    """Return `look` of every pair, several at a time."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(look, pairs))


def _recognised(pairs: Sequence[Pair], memory: Path | None) -> str | None:
    """Return the data set whose way of naming files and whose values all pairs show."""
    for name, known in _NAMED.items():
        if all(known.stem.fullmatch(pair.source.stem) for pair in pairs):
            form = FORMS[name]
            values = {
                value for each in scan_labels(pairs, coding="ids", memory=memory) for value in each
            }
            ids = values - _voids(form)
            fits = all(form.first <= value < form.first + form.classes for value in ids)
            return name if fits and max(ids, default=0) >= known.reaches else None
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
    pairs: Sequence[Pair], void: int | None, first: int, memory: Path | None, notes: list[str]
) -> Form:
    """Return the form that the values of all maps show: ids up to the highest, and 255 as void."""
    counts = scan_labels(pairs, coding="ids", memory=memory)
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


Values = dict[int, int]
"""How many pixels of a label map have each value (or colour, see `read_codes`)."""

_KEPT = 4096  # values of a map that are worth remembering


def scan_labels(
    pairs: Sequence[Pair], *, coding: str, memory: Path | None = None, threads: int = 4
) -> list[Values]:
    """Count the values of every pair's label map.

    `memory` is a folder where the counts are kept under each file's size and time of change, so
    that only what is new is read again.

    Raises:
        DataError: a file is no label map.
    """
    known = FileMemory(memory, f"labels-{coding}", [pair.source for pair in pairs])
    remembered = [_counts(known.get(pair.source, str(pair.source_half))) for pair in pairs]
    unread = [pair for pair, values in zip(pairs, remembered, strict=True) if values is None]

    def count(pair: Pair) -> Values:
        codes = read_codes(pair.source, coding=coding, half=pair.source_half)
        if int(codes.max(initial=0)) < 2**16:
            counts = np.bincount(codes.ravel())
            return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
        values, numbers = np.unique(codes, return_counts=True)
        return dict(zip(values.tolist(), numbers.tolist(), strict=True))

    fresh: list[Values] = []
    with (
        ThreadPoolExecutor(threads) as pool,
        progress("reading label maps", len(unread)) as advance,
    ):
        for pair, values in zip(unread, pool.map(count, unread), strict=True):
            fresh.append(values)
            if len(values) <= _KEPT:
                known.put(pair.source, values, str(pair.source_half))
            advance()
    known.save()
    rest = iter(fresh)
    return [next(rest) if values is None else values for values in remembered]


def _counts(stored: Any) -> Values | None:
    """Return counts as they were stored; None where they are no such thing."""
    if not isinstance(stored, dict):
        return None
    try:
        return {int(value): int(count) for value, count in stored.items()}
    except (TypeError, ValueError):
        return None


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
