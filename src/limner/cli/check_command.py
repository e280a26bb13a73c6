"""`limner check` and `limner split`: a data set is looked at, and dealt out to splits."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from limner.cli.options import Count, Json, Overrides, Seed, page_folder, print_json, read_size, say


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

    page_folder(out)
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
    if out is not None:
        from limner.reporting.check_page import write_check

        say(f"see {write_check(result, data, out, direction=direction)}", aside=True)
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


def split(
    data: Path,
    *,
    out: Path,
    by: Literal["random", "sequence", "cluster", "group"] = "random",
    group_regex: str | None = None,
    group_column: str | None = None,
    shares: str = "8:1:1",
    folds: Count | None = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Deal all pairs out to splits anew so that nothing leaks; writes a manifest to train on.

    Copies, frames of one film and members of one group stay together whatever --by says.

    **Examples**

    - `limner split camvid --by sequence --out camvid-drives.csv`
    - `limner split slides --by group --group-regex '^(P[0-9]+)_' --out slides.csv`
    - `limner split facades --by random --folds 5 --out folds.csv`

    Parameters
    ----------
    data
        Folder of pairs, or a CSV manifest.
    out
        The manifest; `limner train FILE` takes it.
    by
        random; sequence: by films; cluster: by what looks alike; group: by a regex or a column.
    group_regex
        Tells a pair's group from its target's path: the first parenthesis, else what matches.
    group_column
        The column of the manifest that tells groups.
    shares
        Of train, val and test, or of train and test.
    folds
        Into so many equal parts instead: the first is test, the second val.
    """
    from limner.api import split as run_split
    from limner.errors import ConfigError
    from limner.terminal import progress

    try:
        parts = tuple(float(part) for part in shares.split(":"))
    except ValueError:
        raise ConfigError(f"--shares {shares}: give numbers such as 8:1:1") from None
    result = run_split(
        data,
        out=out,
        by=by,
        group_regex=group_regex,
        group_column=group_column,
        shares=parts,
        folds=folds,
        seed=seed,
        progress=progress,
    )
    if json:
        print_json(
            {
                "file": result.file,
                "pairs": dict(result.pairs),
                "units": dict(result.units),
                "left_out": result.left_out,
            }
        )
        return
    for part, count in sorted(result.pairs.items()):
        say(f"{part}: {count:,} pairs in {result.units[part]:,} units that stay together")
    if result.left_out:
        say(f"{result.left_out:,} pairs with files that cannot be read are left out")
    say(f"written to {result.file}")
