"""Copies, near copies and frames of one film: within a split they make it worth less than it
counts, across splits they make figures better than they are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from limner.checks.measured import Film, Measured, Relation, Where, many, shown
from limner.findings import Finding, Item

# Thresholds; docs/checks.md tells what clean data reach.
FRAMES = 6  # numbered pictures from which on a film can be told
AHEAD = 0.9  # quantile of the likeness of pictures far apart, which neighbours in a film exceed
FILM = 0.5  # likeness that neighbours in a film have at least
WINDOW = 30  # frames on either side that are counted as like a frame
FEW_TRAINING = 100  # independent training images below which a generator learns them by heart
FEW_HELD_OUT = 16  # below which figures of a held-out split say little

_ORDER = {"test": 0, "val": 1, "train": 3}


def films(measured: Measured) -> list[Film]:
    """Find runs of frames: numbered pictures that are more like their neighbours than like others.

    Names are taken apart into what stands before their last number and that number. Within one
    such series neighbours must be more alike than nine tenths of the pictures far apart; where a
    picture is not like the one before it, another run begins.
    """
    runs: list[Film] = []
    for order in series_of(measured):
        if len(order) >= FRAMES:
            runs += _runs(measured, order)
    return runs


def series_of(measured: Measured) -> list[list[Where]]:
    """Return the pairs whose names differ in their last number alone, in the order of that."""
    series: dict[tuple[str, str], list[tuple[int, Where]]] = defaultdict(list)
    for split, pairs in measured.listing.pairs.items():
        for place, pair in enumerate(pairs):
            match = re.fullmatch(r"(.*?)(\d{1,15})(\D*)", pair.name, re.S)
            found = measured.features[split][place]
            if match is not None and not (found.source.problem or found.target.problem):
                series[match[1], match[3]].append((int(match[2]), (split, place)))
    return [[where for _, where in sorted(numbered)] for numbered in series.values()]


def _runs(measured: Measured, order: Sequence[Where]) -> Iterator[Film]:
    role = "source" if "target" in measured.codings else "target"
    wholes = np.stack(
        [getattr(measured.features[split][place], role).small for split, place in order]
    ).astype(np.float32)
    count = len(order)
    ahead = [
        (wholes[:-step] * wholes[step:]).sum(axis=1)
        for step in range(1, min(WINDOW, count - 1) + 1)
    ]
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, count, (2, 20_000))
    apart = np.abs(one - other) >= max(2, count // 4)
    far = (wholes[one[apart]] * wholes[other[apart]]).sum(axis=1)
    usual, limit = np.quantile(far, (0.5, AHEAD))
    # Copies are alike wherever they stand; they make no film.
    if not (np.median(ahead[0]) > max(limit, FILM) and (ahead[0] > usual).mean() > 0.8):
        return
    start = 0
    for end in [*(np.flatnonzero(ahead[0] < min(limit, usual + 0.5 * (limit - usual))) + 1), count]:
        if end - start >= 3:
            span = max(1.0 - usual, 1e-3)
            alike = np.zeros((end - start, min(WINDOW, end - start - 1)))
            for step in range(alike.shape[1]):
                values = ahead[step][start : end - step - 1]
                alike[: len(values), step] = ((values - usual) / span).clip(0, 1)
            yield Film(tuple(order[start:end]), alike)
        start = int(end)


def independent(measured: Measured) -> dict[str, float]:
    """Return for each split how many independent images it is worth.

    The sum over images of 1 / (sum of their likeness to all, themselves among them): n unrelated
    images are n, k copies one (the similarity-sensitive richness of Leinster and Cobbold 2012).
    Likeness is 1 between copies, that above chance between frames of a film, else 0.
    """
    alike: dict[Where, dict[Where, float]] = defaultdict(dict)
    for film in measured.films:
        for first, frame in enumerate(film.frames):
            for step in range(film.alike.shape[1]):
                if first + step + 1 < len(film.frames):
                    value = float(film.alike[first, step])
                    alike[frame][film.frames[first + step + 1]] = value
                    alike[film.frames[first + step + 1]][frame] = value
    for group in connected([(r.one, r.other) for r in measured.relations]):
        for one in group:
            for other in group:
                if one != other:
                    alike[one][other] = 1.0
    worth = {}
    for split, found in measured.features.items():
        total = 0.0
        for place in range(len(found)):
            beside = alike.get((split, place), {})
            total += 1 / (1 + sum(value for (name, _), value in beside.items() if name == split))
        worth[split] = total
    return worth


def connected(links: Sequence[tuple[Where, Where]]) -> list[list[Where]]:
    """Return the sets of pairs that links connect, each in order."""
    parent: dict[Where, Where] = {}

    def root(where: Where) -> Where:
        while parent.setdefault(where, where) != where:
            parent[where] = parent[parent[where]]
            where = parent[where]
        return where

    for one, other in links:
        parent[root(one)] = root(other)
    groups: dict[Where, list[Where]] = defaultdict(list)
    for where in parent:
        groups[root(where)].append(where)
    return [sorted(group) for group in groups.values()]


def copies(measured: Measured) -> Iterator[Finding]:
    """Find `duplicate` and `near-duplicate` pairs within a split, and a `leak` across splits."""
    within: dict[tuple[str, str], list[Relation]] = defaultdict(list)
    across: dict[str, list[Relation]] = defaultdict(list)
    for relation in measured.relations:
        (first, _), (second, _) = relation.one, relation.other
        if first != second:
            across[min(first, second, key=_rank)].append(relation)
        elif relation.kind == "exact":
            within["duplicate", first].append(relation)
        else:
            within["near-duplicate", first].append(relation)
    for (name, split), found in within.items():
        yield _of_relations(
            measured,
            found,
            name=name,
            severity="warning" if name == "duplicate" else "note",
            split=split,
            message=f"{many(len(found), 'pair')} that {'repeat' if len(found) > 1 else 'repeats'} "
            + ("another one exactly" if name == "duplicate" else "another one, changed a little"),
            cure="remove the copies: what stands twice is learnt twice as often",
        )
    for split, found in across.items():
        kinds = sorted({relation.kind for relation in found})
        yield _of_relations(
            measured,
            found,
            name="leak",
            severity="error",
            split=split,
            message=f"{many(len({_held(r, split) for r in found}), 'pair')} of {split} also "
            f"{'stand' if len(found) > 1 else 'stands'} in another split ({', '.join(kinds)}), so "
            "that its figures are too good",
            cure=f"remove them from one of the two, or make splits anew: limner split "
            f"{measured.listing.root} --by sequence --out splits.csv",
        )


def _rank(split: str) -> tuple[int, str]:
    return _ORDER.get(split, 2), split


def _held(relation: Relation, split: str) -> Where:
    return relation.one if relation.one[0] == split else relation.other


def _of_relations(
    measured: Measured,
    relations: Sequence[Relation],
    *,
    name: str,
    severity: str,
    split: str,
    message: str,
    cure: str,
) -> Finding:
    pairs, items = [], []
    for relation in relations:
        held, other = relation.one, relation.other
        if other[0] == split and held[0] != split:
            held, other = other, held
        both = (_file(measured, held, relation.role), _file(measured, other, relation.role))
        pairs.append(both)
        items.append(
            Item(files=both, evidence={"kind": relation.kind, "likeness": relation.likeness})
        )
    files = list(dict.fromkeys(path for pair in pairs for path in pair))
    kinds = {f"{kind}_pairs": sum(r.kind == kind for r in relations) for kind in _kinds(relations)}
    return Finding(
        name=name,
        severity="error" if severity == "error" else "warning" if severity == "warning" else "note",
        split=split,
        files=files,
        pairs=pairs,
        message=f"{message} ({shown([' = '.join(pair) for pair in pairs])})",
        cure=cure,
        evidence={"pairs": len(pairs), **kinds},
        items=items,
    )


def _kinds(relations: Sequence[Relation]) -> list[str]:
    return sorted({relation.kind for relation in relations})


def _file(measured: Measured, where: Where, role: str) -> str:
    pair = measured.listing.pairs[where[0]][where[1]]
    path: Path = pair.source if role == "source" else pair.target
    return measured.listing.name(path)


def groups(measured: Measured) -> Iterator[Finding]:
    """Find members of one group, as a manifest tells them, in several splits: a `leak` too."""
    members: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for split, pairs in measured.listing.pairs.items():
        for pair in pairs:
            if pair.group:
                members[pair.group][split].append(measured.listing.name(pair.target))
    leaked: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for group, by_split in members.items():
        for split in sorted(by_split, key=_rank)[:-1]:
            other = max(by_split, key=_rank)
            leaked[split] += [(group, path, by_split[other][0]) for path in by_split[split]]
    for split, found in leaked.items():
        pairs = [(path, other) for _, path, other in found]
        yield Finding(
            name="leak",
            severity="error",
            split=split,
            files=list(dict.fromkeys(path for pair in pairs for path in pair)),
            pairs=pairs,
            message=f"{many(len({group for group, *_ in found}), 'group')} of {split} "
            f"also in another split ({shown([group for group, *_ in found])})",
            cure=f"limner split {measured.listing.root} --by group --group-column group "
            "--out splits.csv",
            evidence={"pairs": len(pairs), "kind": "group"},
            items=[
                Item(files=(path, other), evidence={"kind": "group", "group": group})
                for group, path, other in found
            ],
        )


def leaks(measured: Measured) -> Iterator[Finding]:
    """Find copies within and across splits and groups across splits; one finding a split."""
    merged: dict[str, Finding] = {}
    for finding in (*copies(measured), *groups(measured)):
        first = merged.get(finding.split or "") if finding.name == "leak" else None
        if finding.name != "leak":
            yield finding
        elif first is None:
            merged[finding.split or ""] = finding
        else:
            merged[finding.split or ""] = Finding(
                name="leak",
                severity="error",
                split=first.split,
                files=list(dict.fromkeys([*first.files, *finding.files])),
                pairs=[*first.pairs, *finding.pairs],
                message=f"{first.message}; {finding.message}",
                cure=first.cure,
                evidence={**first.evidence, "pairs": len(first.pairs) + len(finding.pairs)},
                items=[*first.items, *finding.items],
            )
    yield from merged.values()


def sequence(measured: Measured) -> Iterator[Finding]:
    """Find frames of films, and those whose neighbours stand in another split."""
    worth = independent(measured)
    frames: dict[str, list[tuple[Where, int]]] = defaultdict(list)
    crossing: dict[str, list[tuple[Where, Where]]] = defaultdict(list)
    for number, film in enumerate(measured.films):
        for place, frame in enumerate(film.frames):
            frames[frame[0]].append((frame, number))
            near = film.frames[max(0, place - 3) : place + 4]
            others = [other for other in near if _rank(other[0]) > _rank(frame[0])]
            if others:
                crossing[frame[0]].append((frame, others[0]))
    for split, found in frames.items():
        cross = crossing.get(split, [])
        shared = {
            number
            for number, film in enumerate(measured.films)
            if {split} < {frame[0] for frame in film.frames}
        }
        runs = len({number for _, number in found})
        total = len(measured.features[split])
        message = (
            f"{len(found):,} of {total:,} pairs are frames of {many(runs, 'film')}, worth "
            f"{worth[split]:.0f} independent images"
        )
        if cross:
            message += f"; {len(cross):,} have neighbours in another split"
        elif shared:
            message += "; the same film goes on in another split"
        items: list[Item] = [
            Item(files=(_file(measured, frame, "target"),), evidence={"film": number})
            for frame, number in found
        ]
        yield Finding(
            name="sequence",
            severity="warning" if shared else "note",
            split=split,
            files=[_file(measured, frame, "target") for frame, _ in found],
            pairs=[(_file(measured, a, "target"), _file(measured, b, "target")) for a, b in cross],
            message=message,
            cure=f"limner split {measured.listing.root} --by sequence --out splits.csv keeps each "
            "film in one split"
            if shared
            else "count on the independent images; more films help more than more frames",
            evidence={
                "films": runs,
                "frames": len(found),
                "independent": round(worth[split], 2),
                "affected": len(cross),
                "share_affected": len(cross) / total,
            },
            items=items,
        )


def few_images(measured: Measured) -> Iterator[Finding]:
    """Find splits that are worth too few images, by what sets of this field needed."""
    for split, worth in independent(measured).items():
        enough = FEW_TRAINING if split == "train" else FEW_HELD_OUT
        if worth >= enough:
            continue
        pairs = len(measured.features[split])
        training = split == "train"
        yield Finding(
            name="few-images",
            severity="warning",
            split=split,
            message=f"{many(pairs, 'pair')} worth {worth:.0f} independent images, under {enough}: "
            + (
                "a generator learns so few by heart (facades do with 400, bacteria took 2,000, "
                "streets 3,000 to 10,000)"
                if training
                else "figures of so few say little"
            ),
            cure="take more images, train from a run on similar data (--from), and keep data.flip"
            if training
            else "hold out more pairs: limner split --shares 8:1:1",
            evidence=_worth(pairs, worth),
        )


def _worth(pairs: int, worth: float) -> Mapping[str, float]:
    return {"pairs": pairs, "independent": round(worth, 2)}
