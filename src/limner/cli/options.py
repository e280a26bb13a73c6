"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from limner.errors import ConfigError

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
    str | None, Parameter(help="Names separated by commas, such as lpips,ssim,fd-vgg16.")
]


def command_line() -> str:
    """Return what the user typed, fit to be typed again."""
    return shlex.join(["limner", *sys.argv[1:]])


def read_size(text: str | None, *, option: str) -> tuple[int, int] | None:
    """Return height and width of a text HEIGHTxWIDTH; nothing for none.

    Raises:
        ConfigError: it is no such text, or one of them is 0.
    """
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()) or 0 in (int(height), int(width)):
        raise ConfigError(f"{option} {text}: give HEIGHTxWIDTH such as 256x512")
    return int(height), int(width)


def pick_device(name: str) -> str:
    """Turn "auto" into the device that there is.

    Raises:
        ConfigError: a device is named that cannot be used here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"--device {name} cannot be used here ({reason}): say cpu or auto"
        ) from None
    return name


def print_json(result: Any) -> None:
    """Print a result as one JSON document."""
    print(json.dumps(result, indent=2, default=str))


def print_scores(values: dict[str, float], details: dict[str, dict[str, Any]]) -> None:
    """Print a metric a line: name, value, its interval, how many images, and a caveat if any."""
    from limner.evaluation.scoretable import interval

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
        print(f"{name:<{width}}  {value:10.4f}{between}  over {images} images{note}")


def print_comparison(comparison: dict[str, Any]) -> None:
    """Print the scores of several runs, a metric a line, and then every test in a sentence."""
    from limner.evaluation.comparison_page import told
    from limner.evaluation.scoretable import rows

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
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip())
    level = comparison["method"]["believed_below"]
    count = f"{comparison['images']:,}"
    print(f"over {count} images; * better than every other run, p < {level} (Holm)")
    for test in comparison["tests"]:
        words = told(test)
        print(
            f"{words['metric']}: {words['pair']} = {words['mean']} ({words['interval']}), images "
            f"won {words['wins']}, p {words['p']}: {words['verdict']}"
        )
    for note in comparison["notes"]:
        print(note)
