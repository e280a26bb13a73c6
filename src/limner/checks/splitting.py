"""`limner split`: a manifest in which nothing leaks between splits."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from limner.checks import Advancing, SplitResult
from limner.checks.checking import measure
from limner.checks.distribution_findings import k_means, points_of
from limner.checks.likeness_findings import connected, series_of
from limner.checks.listing import list_data
from limner.checks.measured import Measured, Where
from limner.data import Pair, natural
from limner.data.manifest import column_of
from limner.errors import ConfigError, DataError
from limner.files import write_text

logger = logging.getLogger(__name__)
WAYS = ("random", "sequence", "cluster", "group")
_PARTS = {2: ("train", "test"), 3: ("train", "val", "test")}


def split_data(
    root: Path,
    *,
    out: Path,
    by: str = "random",
    group_regex: str | None = None,
    group_column: str | None = None,
    shares: Sequence[float] = (8, 1, 1),
    folds: int | None = None,
    seed: int = 0,
    memory: Path | None = None,
    processes: int | None = None,
    progress: Advancing | None = None,
) -> SplitResult:
    """Deal all pairs of a data set out to splits anew, and write a manifest of them.

    Near duplicates, frames of one film and members of one group stay together whatever `by` says.
    Where there are label maps each split gets its share of the classes' pixels, too.

    Args:
        root: the data folder, or a manifest.
        out: the manifest; paths in it count from its folder.
        by: random; sequence (as random, but refused where no film is found); cluster: pictures
            that look alike stay together, so that held-out ones look unlike training's; group.
        group_regex: what tells a pair's group from the path of its target, relative to the data:
            its first parenthesis, else all that matches.
        group_column: the column of a manifest that does.
        shares: of train and test, or of train, val and test.
        folds: into so many equal parts; the first is `test`, of three or more the second `val`.
        seed: decides what chance decides.
        memory, processes, progress: as `check_data` has them.

    Raises:
        ConfigError: the arguments contradict each other. DataError: there is too little to part.
    """
    _agree(by, group_regex, group_column, shares, folds)
    if out.suffix.lower() != ".csv":
        raise ConfigError(f"--out {out}: a manifest's name ends in .csv, such as {out.name}.csv")
    if out.exists() and (not out.is_file() or (root.is_file() and out.samefile(root))):
        raise ConfigError(f"--out {out} would replace what is there: give a file of its own")
    # As the files lie: the direction is the training's affair, and dataset.yaml may tell it.
    listing = list_data(root, direction="AtoB")
    if listing.refused:
        split, reason = next(iter(listing.refused.items()))
        raise DataError(f"the split {split} of {root} cannot be dealt out: {reason}")
    alone = [path for paths in listing.unmatched.values() for path in paths]
    if alone:
        logger.warning(
            "%d files without a partner are left out, such as %s: `limner check %s` lists them",
            len(alone),
            listing.name(alone[0]),
            shlex.quote(str(root)),
        )
    measured = measure(
        listing, size=None, labels=None, memory=memory, processes=processes, progress=progress
    )
    groups = _groups(measured, group_regex, group_column)
    if by == "group" and not groups:
        raise DataError(
            f"{root} tells no groups: give --group-regex, or --group-column with a manifest"
        )
    if by == "sequence" and not measured.films:
        raise DataError(f"no pictures of {root} follow each other as frames: take --by random")
    units = _units(measured, groups, cluster=by == "cluster", seed=seed)
    count = sum(share > 0 for share in shares) if folds is None else folds
    if len(units) < count:
        raise DataError(
            f"the {sum(map(len, units))} pairs of {root} hang together as {len(units)} "
            f"{'unit' if len(units) == 1 else 'units'} (copies, films, groups), too few for "
            f"{count:,} parts: ask for fewer, or split --by another way"
        )
    parts = _PARTS[len(shares)] if folds is None else [str(fold) for fold in range(folds)]
    wanted = np.array(shares if folds is None else [1] * folds, float)
    wanted = wanted / wanted.sum()
    chosen = _dealt([_weight(measured, unit) for unit in units], wanted, seed)
    rows = []
    for unit, part in zip(units, chosen, strict=True):
        for where in unit:
            split = parts[part] if folds is None else _split_of(part, folds)
            rows.append((split, part, where))
    _write(out, measured, rows, groups, folds=folds)
    pairs: dict[str, int] = defaultdict(int)
    counts: dict[str, int] = defaultdict(int)
    for unit, part in zip(units, chosen, strict=True):
        pairs[parts[part]] += len(unit)
        counts[parts[part]] += 1
    kept = sum(pairs.values())
    total = sum(map(len, measured.features.values()))
    return SplitResult(out, dict(pairs), dict(counts), total - kept)


def _agree(
    by: str,
    regex: str | None,
    column: str | None,
    shares: Sequence[float],
    folds: int | None,
) -> None:
    if by not in WAYS:
        raise ConfigError(f"--by {by}: give one of {', '.join(WAYS)}")
    if regex is not None and column is not None:
        raise ConfigError("--group-regex and --group-column both tell groups: give one of them")
    if regex is not None:
        try:
            re.compile(regex)
        except re.error as error:
            raise ConfigError(f"--group-regex {regex}: {error}") from None
    if len(shares) not in _PARTS or min(shares) < 0 or shares[0] <= 0 or sum(shares) <= 0:
        raise ConfigError("--shares: give those of train, val and test (8:1:1), or of two")
    if folds is not None and folds < 2:
        raise ConfigError(f"--folds {folds}: give 2 or more")


def _split_of(fold: int, folds: int) -> str:
    return "test" if fold == 0 else "val" if fold == 1 and folds >= 3 else "train"


def _groups(measured: Measured, regex: str | None, column: str | None) -> dict[Where, str]:
    groups: dict[Where, str] = {}
    cells = {} if column is None else column_of(measured.listing.root, column)
    for split, pairs in measured.listing.pairs.items():
        for place, pair in enumerate(pairs):
            group = pair.group
            if regex is not None:
                match = re.search(regex, measured.listing.name(pair.target))
                group = None if match is None else (match[1] if match.re.groups else match[0])
            elif column is not None:
                group = cells.get(pair.target)
            if group:
                groups[split, place] = group
    return groups


def _units(
    measured: Measured, groups: Mapping[Where, str], *, cluster: bool, seed: int
) -> list[list[Where]]:
    """Return the sets of pairs that stay together, each in order."""
    links: list[tuple[Where, Where]] = [(r.one, r.other) for r in measured.relations]
    series = series_of(measured)
    begins = {film.frames[0] for film in measured.films}
    for frames in series:  # all of a drive, over its cuts, too
        if not begins.isdisjoint(frames):
            links += [(frames[0], other) for other in frames[1:]]
    by_group: dict[str, list[Where]] = defaultdict(list)
    for where, group in groups.items():
        by_group[group].append(where)
    links += [(m[0], other) for m in by_group.values() for other in m[1:]]
    sound = [
        (split, place)
        for split, found in measured.features.items()
        for place, features in enumerate(found)
        if not (features.source.problem or features.target.problem)
    ]
    if cluster:
        named = defaultdict(list)
        for where, name in zip(sound, clusters(measured, sound, seed=seed), strict=True):
            named[name].append(where)
        links += [(m[0], other) for m in named.values() for other in m[1:]]
    whole = set(sound)
    units = [[where for where in unit if where in whole] for unit in connected(links)]
    joined = {where for unit in units for where in unit}
    units += [[where] for where in sound if where not in joined]
    return sorted(unit for unit in units if unit)


def clusters(measured: Measured, places: Sequence[Where], *, seed: int = 0) -> list[int]:
    """Return for each pair the number of the cluster of pictures that look like its own.

    k-means on the small whole and the colours, k the root of half the number of pictures.
    """
    points = points_of(measured, places)
    count = max(1, min(len(points), round((len(points) / 2) ** 0.5)))
    return k_means(points, count, seed=seed)[0].tolist()


def _weight(measured: Measured, unit: Sequence[Where]) -> dict[object, float]:
    """Return what a unit weighs: its pairs, and the pixels of each class as shares of a map."""
    weight: dict[object, float] = {"pairs": float(len(unit))}
    for role in measured.codings:
        for split, place in unit:
            values = getattr(measured.features[split][place], role).values
            whole = max(1, values[:, 1].sum())
            for value, count in values.tolist():
                weight[role, value] = weight.get((role, value), 0.0) + count / whole
    return weight


def _dealt(weights: Sequence[dict[object, float]], wanted: np.ndarray, seed: int) -> list[int]:
    """Return the part of each unit: the heaviest first, each to where it is missed most."""
    kinds = sorted({kind for weight in weights for kind in weight}, key=repr)
    table = np.array([[weight.get(kind, 0.0) for kind in kinds] for weight in weights])
    total = table.sum(axis=0)
    table = table / np.where(total > 0, total, 1)
    # The number of pairs counts as much as all classes together.
    table[:, kinds.index("pairs")] *= max(1.0, (len(kinds) - 1) ** 0.5)
    goal = wanted[:, None] * table.sum(axis=0)[None]
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(weights))
    size = np.array([weight["pairs"] for weight in weights])
    order = shuffled[np.argsort(-size[shuffled], kind="stable")]
    have = np.zeros_like(goal)
    chosen = np.zeros(len(weights), int)
    for number, unit in enumerate(order):
        cost = ((have + table[unit] - goal) ** 2).sum(1) - ((have - goal) ** 2).sum(1)
        cost[wanted == 0] = np.inf
        empty = (have.sum(axis=1) == 0) & (wanted > 0)
        if empty.any() and len(order) - number <= int(empty.sum()):
            cost[~empty] = np.inf  # no part that was asked for stays empty
        part = int(cost.argmin())
        have[part] += table[unit]
        chosen[unit] = part
    return chosen.tolist()


def _write(
    out: Path,
    measured: Measured,
    rows: Sequence[tuple[str, int, Where]],
    groups: Mapping[Where, str],
    *,
    folds: int | None,
) -> None:
    def pair_of(where: Where) -> Pair:
        return measured.listing.pairs[where[0]][where[1]]

    def cell(path: Path | None) -> str:
        if path is None:
            return ""
        return Path(os.path.relpath(path.absolute(), out.parent.absolute())).as_posix()

    order = {"train": 0, "val": 1, "test": 2}
    rows = sorted(rows, key=lambda row: (order[row[0]], natural(cell(pair_of(row[2]).target))))
    pairs = [pair_of(where) for *_, where in rows]
    more = max((len(pair.more) for pair in pairs), default=0)
    extra = {
        "instance": any(pair.instance for pair in pairs),
        "mask": any(pair.mask for pair in pairs),
        "group": bool(groups),
    }
    columns = ["source", *(f"source.{number + 2}" for number in range(more)), "target"]
    columns += [name for name, there in extra.items() if there] + ["split"]
    columns += ["fold"] * (folds is not None)
    columns += ["side"] * any(pair.source_half for pair in pairs)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for (split, part, where), pair in zip(rows, pairs, strict=True):
        further = {f"source.{n + 2}": cell(path) for n, path in enumerate(pair.more)}
        writer.writerow(
            {
                "source": cell(pair.source),
                **further,
                "target": cell(pair.target),
                "instance": cell(pair.instance),
                "mask": cell(pair.mask),
                "group": groups.get(where, ""),
                "split": split,
                "fold": part,
                "side": pair.source_half or "",
            }
        )
    write_text(out, text.getvalue())
