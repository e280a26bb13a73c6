"""The one reader of YAML, with its bounds, and the writer that it reads back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from limner.errors import ConfigError, LimnerError, printable

BYTES, DEPTH, NODES = 4 * 2**20, 64, 200_000


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of version 1.2, within bounds of depth and of nodes.

    `no`, `on` and `2024-02-30` are words here, `2e-4` is a number; a key that stands twice in one
    mapping is an error.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0
        self.nodes = 0
        self.sizes: dict[int, int] = {}

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803
        """Bound the depth of brackets as they are scanned: its time grows with its square."""
        if self.flow_level > DEPTH:
            raise yaml.YAMLError(f"nested deeper than {DEPTH} levels")
        super().fetch_flow_collection_start(TokenClass)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count nodes while they are read; an alias counts as often as it is used."""
        before = self.nodes
        alias = self.check_event(yaml.AliasEvent)
        self.depth += 1
        if self.depth > DEPTH:
            raise yaml.YAMLError(f"nested deeper than {DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if alias and id(node) not in self.sizes:
            raise yaml.YAMLError("a value that contains itself")
        self.nodes += self.sizes[id(node)] if alias else 1
        if self.nodes > NODES:
            raise yaml.YAMLError(f"more than {NODES:,} values")
        self.sizes.setdefault(id(node), self.nodes - before)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1 and key != "<<":
                raise yaml.YAMLError(f"the key {key!r} stands twice")
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` and readers of YAML 1.1 read back equal.

    Words that look like a number, a boolean or a date to either of them are quoted.
    """


_SCALARS = (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN\0"),
)
for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}
    for _tag, _pattern, _first in _SCALARS:
        _regexp = re.compile(rf"(?:{_pattern})\Z")
        _class.add_implicit_resolver(
            _tag, _regexp, ["" if letter == "\0" else letter for letter in _first]
        )


def _represent_word(dumper: yaml.SafeDumper, word: str) -> yaml.Node:
    first = yaml.SafeLoader.yaml_implicit_resolvers.get(word[:1], [])
    other = any(pattern.match(word) for _, pattern in first)
    style = "'" if other and word.isprintable() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", word, style=style)


_Dumper.add_representer(str, _represent_word)


def read_yaml(text: str, origin: str | Path, *, error: type[LimnerError] = ConfigError) -> Any:
    """Return what a YAML text holds: plain values, lists and mappings, nothing that runs.

    Scalars are those of YAML 1.2: true and false alone are booleans (`no` is a word), dates are
    words, `2e-4` is a number, a number with a leading zero (`007`) is a word.

    Args:
        text: at most 4 MiB, 64 levels, 200,000 values (an alias counts as what it stands for).
        origin: what the sentence names: a file, or `--set key=value`.
        error: the type of the error.

    Raises:
        LimnerError: of the type `error`: it is not readable, or beyond those bounds.
    """
    try:
        if len(text) > BYTES:
            raise yaml.YAMLError(f"longer than {BYTES:,} characters")
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, LookupError, ArithmeticError, AttributeError) as reason:
        problem = getattr(reason, "problem", None) or str(reason).partition("\n")[0]
        mark = getattr(reason, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None and "\n" in text else ""
        raise error(
            f"{origin} cannot be read as YAML ({printable(str(problem))}{where}): correct it"
        ) from None


def yaml_text(value: Mapping[str, Any] | list[Any]) -> str:
    """Return plain values as YAML that `read_yaml`, and readers of YAML 1.1, read back equal."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)
