"""Names and colours of the classes of well-known data sets, from small tables beside this file."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib import resources

from limner.data.labelmaps import Colour, LabelMaps
from limner.errors import DataError, unknown_name


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

    Raises `DataError` where pixels are colours and fewer are known than there are classes.
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
