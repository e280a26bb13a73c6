"""`dataset.yaml`: what a data set says of itself, beside its images."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from limner.data.labelmaps import CODINGS
from limner.data.labeltables import FORMS
from limner.errors import ConfigError, DataError, unknown_name

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


def read_description(folder: Path) -> Description:
    """Read `folder`/dataset.yaml; an absent or empty file describes nothing.

    Raises `DataError` that names the file, the key and the cure.
    """
    path = folder / FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Description()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as YAML ({reason}): correct or remove it") from None
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
