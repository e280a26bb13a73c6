"""What is said of a data set: its dataset.yaml, and tables of the classes of well-known ones."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

from limner.data.data_settings import LabelSettings
from limner.data.labelmaps import CODINGS, Colour, LabelMaps
from limner.errors import ConfigError, DataError, unknown_name
from limner.files import read_text, read_yaml


@dataclass(frozen=True)
class Form:
    """How a data set's files number its classes; keys as `LabelMaps` has them."""

    classes: int
    void: int | None = None
    first: int = 0


FORMS = {
    # labelIds as cityscapesScripts numbers them; 34 stands for its -1, as in pix2pixHD and SPADE.
    "cityscapes": Form(classes=35),
    "camvid": Form(classes=11, void=11),  # SegNet's form
    "ade20k": Form(classes=150, void=150, first=1),  # the scene parsing benchmark
    "coco-stuff": Form(classes=182, void=255),  # stuffthingmaps
}


@dataclass(frozen=True)
class Table:
    """The classes of a data set: their form, their names and their colours, id by id.

    Where void has a name or colour, it is the last.
    """

    form: Form
    names: tuple[str, ...]
    colours: tuple[Colour, ...]


@functools.cache
def label_table(name: str) -> Table:
    """Return the table of that name; raises `ConfigError` that lists the known ones."""
    if name not in FORMS:
        raise unknown_name("data.labels.table", name, FORMS)
    text = (resources.files("limner.data") / "tables" / f"{name}.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return Table(
        FORMS[name],
        tuple(row["name"] for row in rows),
        tuple((int(row["red"]), int(row["green"]), int(row["blue"])) for row in rows),
    )


def class_ids(labels: LabelSettings, other: LabelSettings) -> tuple[dict[str, int], dict[str, int]]:
    """Return the id of each class of two sets of label maps, by names that mean the same in both.

    Names are taken in lower case; where either set has none, a class is called by its number
    ("class 7") in both. Void is "void", where there is one. The settings are derived ones.
    """
    both = [_names(side) for side in (labels, other)]
    known = all(both)
    ids = []
    for side, names in zip((labels, other), both, strict=True):
        own = {
            names[k].strip().lower() if known and k < len(names) else f"class {k}": k
            for k in range(side.expansion["classes"])
        }
        ids.append(own if side.void is None else {**own, "void": side.void})
    return ids[0], ids[1]


def _names(labels: LabelSettings) -> tuple[str, ...]:
    return labels.names or (label_table(labels.table).names if labels.table else ())


def class_colours(
    *, classes: int, void: int | None, colours: tuple[Colour, ...] = ()
) -> tuple[Colour, ...]:
    """Return a colour for every class, and for void (last) where there is one.

    `colours` come first, class after class and void last; classes beyond them get colours of their
    own and void black.
    """
    shown = [colours[k] if k < len(colours) else _own(k + 1) for k in range(classes)]
    if void is not None:
        shown.append(colours[classes] if classes < len(colours) else (0, 0, 0))
    return tuple(shown)


def label_maps(
    *,
    classes: int,
    void: int | None,
    first: int,
    coding: str,
    table: str | None,
    colours: tuple[Colour, ...] | None,
    instances: bool,
) -> LabelMaps:
    """Return how label maps are read, the colours taken from the table where none are given.

    Raises:
        DataError: pixels are colours, and fewer are known than there are classes.
    """
    known = colours or (label_table(table).colours if table is not None else ())
    count = classes + (void is not None)
    if coding in ("exact", "nearest") and len(known) < classes:
        raise DataError(
            f"data.labels.coding={coding} needs a colour for each of the {classes} classes, and "
            f"{len(known)} are known: name colours in dataset.yaml or set data.labels.table"
        )
    return LabelMaps(
        classes=classes,
        void=void,
        first=first,
        coding="ids" if coding == "auto" else coding,
        colours=known[:count],
        instances=instances,
    )


def _own(number: int) -> Colour:
    """Return the colour that PASCAL VOC's scheme gives a number: its bits, dealt out in turn."""
    parts = [0, 0, 0]
    for place in range(24):
        parts[place % 3] |= (number >> place & 1) << (7 - place // 3)
    return parts[0], parts[1], parts[2]


FILE = "dataset.yaml"
DIRECTIONS = ("AtoB", "BtoA")


@dataclass(frozen=True)
class Description:
    """The contents of a `dataset.yaml`; every key is optional.

    `direction` is AtoB or BtoA. Of label maps: `classes` names the classes in the order of their
    ids; `colours` gives each its red, green and blue, 0 to 255; `void` is the id of pixels without
    a class (it may be the first or the last of the classes, or beyond them); `first` is the files'
    value of the first class; `table` a name of `labeltables.FORMS`; `coding` one of
    `labelmaps.CODINGS`.
    """

    direction: str | None = None
    classes: tuple[str, ...] | None = None
    colours: tuple[tuple[int, int, int], ...] | None = None
    void: int | None = None
    first: int | None = None
    table: str | None = None
    coding: str | None = None


def read_description(root: Path) -> Description:
    """Read the dataset.yaml of a data set; an absent or empty file describes nothing.

    Args:
        root: the data folder, or the manifest in it.

    Raises:
        DataError: the sentence names the file, the key and the cure.
    """
    path = (root.parent if root.is_file() else root) / FILE
    try:
        content = read_yaml(read_text(path, error=DataError), path, error=DataError)
    except (FileNotFoundError, NotADirectoryError):
        return Description()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): correct or remove it") from None
    if content is None:
        return Description()
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold keys and values such as `direction: BtoA`")
    for key in content:
        if key not in _READERS:
            raise DataError(f"{path}: {unknown_name('key', str(key), _READERS)}")
    values = {}
    for key, value in content.items():
        if value is not None:
            values[key] = _READERS[key](value, path)
    described = Description(**values)
    classes, colours = described.classes, described.colours
    if classes is not None and colours is not None and len(classes) != len(colours):
        raise DataError(
            f"{path} names {len(classes)} classes and {len(colours)} colours: give one each"
        )
    return described


def checked_direction(direction: str) -> str:
    """Return `direction` if it is one of the two; raises `ConfigError` otherwise."""
    if direction not in DIRECTIONS:
        raise unknown_name("data.direction", direction, DIRECTIONS)
    return direction


def _direction(value: object, path: Path) -> str:
    try:
        return checked_direction(str(value))
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from None


def _classes(value: object, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str | int) for name in value):
        raise DataError(f"{path}: classes must be a list of names, not {value!r}")
    return tuple(str(name) for name in value)


def _colours(value: object, path: Path) -> tuple[tuple[int, int, int], ...]:
    if not isinstance(value, list) or not all(_is_colour(each) for each in value):
        raise DataError(f"{path}: colours must be a list of [red, green, blue], each 0 to 255")
    return tuple((each[0], each[1], each[2]) for each in value)


def _is_colour(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(part, int) and 0 <= part <= 255 for part in value)
    )


def _void(value: object, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"{path}: void must be the id of a class, a whole number, not {value!r}")
    return value


def _first(value: object, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(f"{path}: first must be a whole number from 0, not {value!r}")
    return value


def _one_of(kind: str, known: Collection[str]) -> Callable[[object, Path], str]:
    def read(value: object, path: Path) -> str:
        if value not in known:
            raise DataError(f"{path}: {unknown_name(kind, str(value), known)}")
        return str(value)

    return read


_READERS = {
    "direction": _direction,
    "classes": _classes,
    "colours": _colours,
    "void": _void,
    "first": _first,
    "table": _one_of("table", FORMS),
    "coding": _one_of("coding", CODINGS),
}
assert set(_READERS) == {field.name for field in fields(Description)}
