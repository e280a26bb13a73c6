"""One tree of exceptions: every failure that a user can cause and cure is a `LimnerError`.

The message of each is one sentence that names the thing, the value and the cure; the command
line prints it as it stands and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LimnerError(Exception):
    """A failure that the user can cure; the message says how."""

    exit_code = 2


class ConfigError(LimnerError):
    """A setting is unknown, has a wrong value or contradicts another one."""


class DataError(LimnerError):
    """A data set, an image or a pair cannot be used as it is."""


class CheckpointError(LimnerError):
    """A run or a checkpoint is missing, damaged or does not fit."""


class WeightsError(LimnerError):
    """Pretrained weights are missing, damaged or not the published ones."""


class ExportError(LimnerError):
    """An exported file would not compute what the run computes."""

    exit_code = 1


class TrainingError(LimnerError):
    """Training cannot go on: numbers that are not finite, a full disk."""

    exit_code = 1


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a `name` that no variant of `kind` bears, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
