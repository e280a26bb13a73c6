"""`limner check`: problems of a data set, before anything is spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from limner.cli.options import Json, Overrides, print_json, read_size, say


def check(
    data: Path,
    *,
    direction: Literal["AtoB", "BtoA"] | None = None,
    size: str | None = None,
    preset: str | None = None,
    overrides: Overrides = None,
    out: Path | None = None,
    json: Json = False,
) -> int:
    """Look for problems of a data set, each with its evidence and its cure; exit 1 on errors.

    **Examples**

    - `limner check facades`
    - `limner check camvid --preset spade --out check-camvid`
    - `limner check facades --direction BtoA --size 256 --json`

    Parameters
    ----------
    data
        Folder of pairs, or a CSV manifest; also one that `limner train` refuses.
    direction
        AtoB or BtoA: which half or folder is the source.
    size
        SIDE or HEIGHTxWIDTH that will be trained at; the preset's, or the data's own.
    preset
        The settings of the training to come.
    out
        Folder for index.html, which shows what was found.
    """
    from limner.api import check as run_check
    from limner.config import parse_overrides, replace
    from limner.presets import preset as named
    from limner.terminal import progress

    config = None
    changes = parse_overrides(overrides or [])
    if preset is not None or changes:
        config = replace(named(preset or "pix2pix"), changes)
    sides = read_size(f"{size}x{size}" if size and size.isdecimal() else size, option="--size")
    if sides is None and config is not None and (preset is not None or "data.size" in changes):
        sides = config.data.size
    result = run_check(
        data,
        direction=direction,
        size=sides,
        labels=None if config is None else config.data.labels,
        progress=progress,
    )
    if json:
        print_json(result.to_json())
    else:
        for split, facts in result.splits.items():
            say(f"{split}: {facts['pairs']:,.0f} pairs, worth {facts['independent']:,.1f}")
        for finding in result.findings:
            say(f"{finding.line()}; {finding.cure}")
        if not result.findings:
            say("nothing was found")
    return 1 if result.errors else 0
