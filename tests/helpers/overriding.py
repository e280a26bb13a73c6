"""Settings changed as the command line changes them, by texts `key=value`."""

from __future__ import annotations

from collections.abc import Iterable

from limner.config import Config, parse_overrides, replace


def with_overrides(config: Config, overrides: Iterable[str]) -> Config:
    return replace(config, parse_overrides(overrides))
