"""Dotted keys: which exist, how they are changed, what to say of a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from limner.errors import ConfigError, unknown_name
from limner.files import read_yaml


@dataclass(frozen=True)
class Known:
    """A key as it may be written: `N` stands for an index into a list."""

    key: str
    default: object
    meaning: str


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models named anywhere within a type, such as the alternatives of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _is_list(field: FieldInfo) -> bool:
    return getattr(field.annotation, "__origin__", None) is tuple


def known_keys(model: type[BaseModel], prefix: str = "") -> dict[str, Known]:
    """Return every dotted key of a model, sections included, by its name."""
    keys: dict[str, Known] = {}
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        keys.setdefault(path, Known(path, default, field.description or ""))
        inner = f"{path}.N." if _is_list(field) else f"{path}."
        for section in _models(field.annotation):
            for key, known in known_keys(section, inner).items():
                keys.setdefault(key, known)
    return keys


def _pattern(key: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".N", key)


def _nearest(key: str, known: dict[str, Known]) -> str:
    """Say which known keys lie nearest: the same last word elsewhere, else similar spelling."""
    last = key.rsplit(".", 1)[-1]
    same = [name for name in known if name.rsplit(".", 1)[-1] == last]
    same.sort(key=lambda name: ".N." in name)  # what is for all comes before what is for one
    near = same[:1] or difflib.get_close_matches(_pattern(key), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else "`limner presets --keys` lists all"


def parse_overrides(overrides: Iterable[str]) -> dict[str, object]:
    """Return the changes that texts `key=value` (of `--set`) ask for; values are YAML.

    Raises:
        ConfigError: a text has no equals sign, or its value is not readable.
    """
    changes: dict[str, object] = {}
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise ConfigError(f"--set {override}: write it as key=value")
        value = read_yaml(text, f"--set {override[:200]}")
        changes.pop(key.strip(), None)  # the last one counts, and in its place
        changes[key.strip()] = value
    return changes


def placed(
    settings: dict[str, Any], changes: Mapping[str, object], known: dict[str, Known]
) -> dict[str, Any]:
    """Return plain settings with the value of each dotted key put in its place, in order.

    Raises:
        ConfigError: a key is unknown, or counts further than its list goes.
    """
    for key, value in changes.items():
        if _pattern(key) not in known:
            raise ConfigError(f"unknown key {key!r}: {_nearest(key, known)}")
        _place(settings, key.split("."), value, key=key)
    return settings


def _place(settings: Any, path: list[str], value: object, *, key: str) -> None:
    head, *rest = path
    if isinstance(settings, list):
        if not head.isdigit() or int(head) >= len(settings):
            raise ConfigError(
                f"{key}: there is no number {head}; the list has {len(settings)} entries, from 0"
            )
        if rest:
            _place(settings[int(head)], rest, value, key=key)
        else:
            settings[int(head)] = value
    elif rest:
        if settings[head] is None:
            settings[head] = {}  # a section that was off: its keys begin at their defaults
        _place(settings[head], rest, value, key=key)
    elif head == "name" and settings.get("name") != value:
        # Another network has other keys: keep none of the old one's.
        settings.clear()
        settings["name"] = value
    else:
        settings[head] = value


def explain(error: ValidationError, known: dict[str, Known], *, origin: str) -> str:
    """Turn a validation error into one sentence that names the key, the value and the cure."""
    first = error.errors(include_url=False)[0]
    # Unions add the alternative's tag to the location; a key never contains it.
    path: list[str] = []
    variant = ""
    for position, part in enumerate(first["loc"], start=1):
        candidate = [*path, str(part)]
        is_key = _pattern(".".join(candidate)) in known or isinstance(part, int)
        if is_key or position == len(first["loc"]):
            path = candidate
        else:
            variant = str(part)
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        if variant and _pattern(key) in known:
            return (
                f"{key} in {origin} is no setting of {variant!r}: leave it out or change the name"
            )
        return f"unknown key {key!r} in {origin}: {_nearest(key, known)}"
    if first["type"] == "union_tag_invalid":
        context = first.get("ctx", {})
        tags = context["expected_tags"].replace("'", "")
        return str(unknown_name(f"{key}.name", context["tag"], tags.split(", ")))
    if first["type"] == "union_tag_not_found":
        return f"{key} in {origin} lacks the key 'name'"
    if first["type"] == "value_error":
        return str(first.get("ctx", {}).get("error", first["msg"]))
    if first["type"] == "missing":
        return f"{origin} lacks the key {key!r}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{key}={first['input']!r} in {origin}: {message.replace('input ', 'the value ')}"
