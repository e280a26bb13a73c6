"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from limner.errors import ConfigError, printable


def _finite(type_: object, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        raise ValueError("Must be a finite number.")


def _word(type_: object, value: str | None) -> None:
    """A split or a checkpoint is a name, never a path."""
    if value is not None and not re.fullmatch(r"\w[\w.-]*", value):
        raise ValueError("Must be a name of letters, digits, '_', '-' and '.'.")


def _listed(type_: object, value: str | None) -> None:
    if value is not None and not any(part.strip() for part in value.split(",")):
        raise ValueError("Must name at least one, separated by commas.")


Count = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=10**9))]
"""So many of something: a whole number from 1."""
Few = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=10_000))]
"""So many things that are made or started at once."""
Seed = Annotated[int, Parameter(validator=validators.Number(gte=0, lt=2**32))]
"""What random generators begin from, on 32 bits as NumPy has it."""
Finite = Annotated[float, Parameter(validator=_finite)]
Name = Annotated[str, Parameter(validator=_word)]
Overrides = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="A setting as key=value; may be repeated."),
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print the result as JSON.")]
Weights = Annotated[
    Path | None, Parameter(help="File or folder of pretrained weights for the metrics.")
]
Device = Annotated[
    str, Parameter(help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")
]
Metrics = Annotated[
    str | None,
    Parameter(validator=_listed, help="Names separated by commas, such as lpips,ssim,fd-vgg16."),
]
Statistics = Annotated[
    Literal["running", "batch"] | None,
    Parameter(
        help="Normalise by what training gathered (running) or by each picture (batch), in place "
        "of the run's inference.statistics."
    ),
]
Dropout = Annotated[
    Literal["true", "false"] | None,
    Parameter(
        help="Whether dropout stays on, in place of the run's inference.dropout; drawn from the "
        "seed and the picture's name."
    ),
]
# Of a picture that memory can hold; what a network makes of it is many times as large.
LARGEST_SIDE, LARGEST_AREA = 2**16, 2**28


def command_line() -> str:
    """Return what the user typed, fit to be typed again."""
    return shlex.join(["limner", *sys.argv[1:]])


def read_size(text: str | None, *, option: str) -> tuple[int, int] | None:
    """Return height and width of a text HEIGHTxWIDTH; None for None.

    Raises:
        ConfigError: it is no such text, or is 0 or beyond what memory can hold.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", text)
    sides = (0, 0) if match is None else (int(match[1]), int(match[2]))
    fits = all(1 <= side <= LARGEST_SIDE for side in sides) and math.prod(sides) <= LARGEST_AREA
    if not fits:
        raise ConfigError(
            f"{option} {text}: give HEIGHTxWIDTH such as 256x512, each side 1 to {LARGEST_SIDE:,} "
            f"and at most {LARGEST_AREA:,} pixels"
        )
    return sides


_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def read_bytes(text: str | None, *, option: str) -> int | None:
    """Return the bytes that a text such as 24GiB, 512M or 1.5g tells (in powers of 1024).

    Raises:
        ConfigError: it is no such text.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None or not (size := int(float(match[1]) * _UNITS[match[2]])):
        raise ConfigError(f"{option} {text}: give a size such as 24GiB or 512MiB")
    return size


def pick_device(name: str) -> str:
    """Turn "auto" into the device that there is.

    Raises:
        ConfigError: a device is named that cannot be used here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.zeros(1, device=device).cpu()
    except (
        RuntimeError,
        AssertionError,
        NotImplementedError,
        ImportError,
    ) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"--device {name} cannot be used here ({reason}): say cpu or auto"
        ) from None
    return name


def page_folder(out: Path | None) -> None:
    """Make sure before any work that a page can be written into a folder; it need not exist.

    Raises:
        ConfigError: it is a file, or lies where no folder can be made.
    """
    if out is None:
        return
    there = out
    while not (there.exists() or there.is_symlink()) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise ConfigError(f"--out {out}: {there} is no folder: give a folder for the page")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {out}: nothing can be written in {there}: give another folder")


def device_kind(name: str) -> str:
    """Return cpu or cuda, for commands that deal out the devices of one kind themselves.

    Raises:
        ConfigError: another device is named, or there is none of the kind.
    """
    kind = pick_device(name)
    if kind not in ("cpu", "cuda"):
        raise ConfigError(
            f"--device {name}: say cpu or cuda; CUDA_VISIBLE_DEVICES chooses among several"
        )
    return kind


def say(*lines: str, aside: bool = False, at_once: bool = False) -> None:
    """Print lines; names from elsewhere cannot move the terminal or break a line.

    Args:
        lines: parts of a result, on standard output.
        aside: no part of the result; then on standard error.
        at_once: whoever reads the output has it before the command goes on.
    """
    for line in lines:
        print(printable(line), file=sys.stderr if aside else sys.stdout, flush=at_once)


def say_table(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of cells, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip())


def print_json(result: Any) -> None:
    """Print a result as one JSON document; numbers that JSON has no word for are null."""
    print(json.dumps(_for_json(result), indent=2, default=str, allow_nan=False))


def _for_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _for_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_for_json(inner) for inner in value]
    return value


def print_scores(values: dict[str, float], details: dict[str, dict[str, Any]]) -> None:
    """Print a metric a line: name, value, its interval, how many images, and a caveat if any."""
    from limner.reporting.score_table import interval

    width = max((len(name) for name in values), default=0)
    bounds = {
        name: interval(details.get(name, {}).get("interval"), values[name]) for name in values
    }
    room = max((len(words) for words in bounds.values()), default=0)
    for name, value in values.items():
        detail = details.get(name, {})
        note = f"  ({detail['note']})" if detail.get("note") else ""
        between = f"  {bounds[name]:<{room}}" if room else ""
        images = detail.get("images", "?")
        say(f"{name:<{width}}  {value:10.4f}{between}  over {images} images{note}")


def print_comparison(comparison: dict[str, Any]) -> None:
    """Print the scores of several runs, a metric a line, and then every test in a sentence."""
    from limner.reporting.comparison_page import in_words
    from limner.reporting.score_table import rows

    runs = comparison["runs"]
    tables = [{row["name"]: row for row in rows(results)} for results in runs.values()]
    lines = [["", *runs]]
    for name in tables[0]:
        best = comparison["best"].get(name, {})
        cells = []
        for label, table in zip(runs, tables, strict=True):
            row = table.get(name, {"value": "", "interval": ""})
            mark = "*" if best.get("clear") and best.get("run") == label else ""
            between = f" ({row['interval']})" if row["interval"] else ""
            cells.append(f"{row['value']}{mark}{between}")
        lines.append([name, *cells])
    say_table(lines)
    level = comparison["method"]["believed_below"]
    count = f"{comparison['images']:,}"
    say(f"over {count} images; * better than every other run, p < {level} (Holm)")
    for test in comparison["tests"]:
        words = in_words(test)
        say(
            f"{words['metric']}: {words['pair']} = {words['mean']} ({words['interval']}), images "
            f"won {words['wins']}, p {words['p']}: {words['verdict']}"
        )
    for note in comparison["notes"]:
        say(note)
