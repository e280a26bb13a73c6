"""A data set as it was measured: what every check goes by, and how it words what it found."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from limner.checks.listing import Listing
from limner.checks.measuring import ImageFeatures, PairFeatures
from limner.checks.pair_fits import PairFit
from limner.data import Pair
from limner.errors import printable
from limner.findings import Evidence, Finding, Item, Severity

Role: TypeAlias = Literal["source", "target"]
Where: TypeAlias = tuple[str, int]  # a pair: its split and its place in it
Coding: TypeAlias = Literal["ids", "colours"]
ROLES: tuple[Role, ...] = ("source", "target")
_NAMED = re.compile(r"(^|[_-])(labels?|gtfine|annotations?|segmentations?|masks?)($|[_-])", re.I)
_IDS = 64  # a picture of one channel with fewer and smaller values than this holds ids
_SHOWN = 3


@dataclass(frozen=True)
class Image:
    """An image of the data set with what was measured of it."""

    split: str
    role: Role
    pair: Pair
    features: ImageFeatures
    name: str

    @property
    def path(self) -> Path:
        """The file that it lies in."""
        return self.pair.source if self.role == "source" else self.pair.target


@dataclass(frozen=True)
class Relation:
    """Two pairs that show one picture, or nearly.

    `kind` is exact, encoded, resized, mirrored, brightened or cropped; `role` tells which side was
    compared, `likeness` is the correlation of the two once they lie on each other.
    """

    one: Where
    other: Where
    kind: str
    role: Role
    likeness: float


@dataclass(frozen=True)
class Film:
    """Frames that follow each other; `alike` is F x K: how like each is to the K after it, 0 to 1,
    above what pictures far apart are.
    """

    frames: tuple[Where, ...]
    alike: np.ndarray


@dataclass(frozen=True)
class Labels:
    """What is said of the label maps: by the settings, by dataset.yaml, by a known data set.

    `classes` None where nobody says how many; `first` the files' value of the first class.
    """

    asked: bool = False
    classes: int | None = None
    void: int | None = None
    first: int = 0
    coding: str = "auto"
    names: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Measured:
    """Everything measured of a data set.

    Args:
        listing: its files.
        features: by split, of each of the listing's pairs.
        size: height and width to train at, where they were asked for.
        labels: what is said of its label maps.
        relations: pairs that show one picture.
        films: runs of pairs that follow each other as frames do.
        fits: by split, how the two sides of each of the listing's pairs fit.
    """

    listing: Listing
    features: dict[str, list[PairFeatures]]
    size: tuple[int, int] | None = None
    labels: Labels = field(default_factory=Labels)
    relations: Sequence[Relation] = ()
    films: Sequence[Film] = ()
    fits: Mapping[str, Sequence[PairFit | None]] = field(default_factory=dict)

    def images(self, split: str | None = None, *, role: Role | None = None) -> Iterator[Image]:
        """Yield the sources and targets, source before target, as far as they could be read."""
        for name, found in self.features.items():
            if split is not None and name != split:
                continue
            for pair, features in zip(self.listing.pairs[name], found, strict=True):
                for which in ROLES:
                    image: ImageFeatures = getattr(features, which)
                    if not image.problem and role in (None, which):
                        path = pair.source if which == "source" else pair.target
                        yield Image(name, which, pair, image, self.listing.name(path))

    @functools.cached_property
    def codings(self) -> dict[Role, Coding]:
        """Which sides are label maps, and how their pixels tell classes."""
        return {role: coding for role in ROLES if (coding := self._coding(role)) is not None}

    def _coding(self, role: Role) -> Coding | None:
        images = list(self.images(role=role))
        if not images:
            return None
        alone = images[0].pair.source_half is None
        asked = role == "source" and self.labels.asked
        named = alone and sum(_is_named(image.path, self.listing.root) for image in images)
        said = asked or bool(named and named > len(images) / 2)
        single = sum(_is_single(image.features) for image in images) > len(images) / 2
        if single:
            few = sum(_are_ids(image.features) for image in images) > len(images) / 2
            return "ids" if said or few else None
        palette = self._palette_of(images)
        drawn = [_share(image.features, palette) for image in images]
        # Where sources are said to be the label maps, flat targets are drawings.
        may = alone and not (role == "target" and self.labels.asked)
        flat = may and sum(share > 0.9 for share in drawn) > len(images) / 2
        return "colours" if said or flat else None

    def _palette_of(self, images: Sequence[Image]) -> frozenset[int]:
        """Return the colours that many images share."""
        counts: Counter[int] = Counter()
        for image in images:
            values = image.features.values
            share = values[:, 1] / max(1, values[:, 1].sum())
            counts.update(values[share > 2e-4, 0].tolist())
        enough = max(2, 0.1 * len(images))
        return frozenset(value for value, count in counts.items() if count >= enough)

    def palette(self, role: Role) -> frozenset[int]:
        """Return the colours of classes: those declared, else those that many images share."""
        if self.labels.colours:
            return frozenset((r << 16) + (g << 8) + b for r, g, b in self.labels.colours)
        return self._palette_of(list(self.images(role=role)))

    def pictures(self, split: str | None = None, *, role: Role | None = None) -> Iterator[Image]:
        """Yield the images that are no label maps."""
        return (image for image in self.images(split, role=role) if image.role not in self.codings)

    def label_images(self, split: str) -> Iterator[Image]:
        """Yield the label maps of a split."""
        return (image for image in self.images(split) if image.role in self.codings)


def _is_named(path: Path, root: Path) -> bool:
    """Say whether a folder's name below the data's own says that label maps lie in it."""
    folder = root if root.is_dir() else root.parent
    try:
        parts = path.relative_to(folder).parts[:-1]
    except ValueError:
        parts = path.parts[-3:-1]
    return any(_NAMED.search(part) for part in parts)


def _is_single(found: ImageFeatures) -> bool:
    return found.channels <= 2 or found.indexed or found.grey


def _are_ids(found: ImageFeatures) -> bool:
    values = found.values[:, 0]
    if not 2 <= len(values) <= _IDS:
        return False
    return bool(
        found.indexed
        or (
            (values[values != 255] < _IDS).all()
            and values[0] != 255
            and len(values[values != 255]) > 1
        )
    )


def _share(found: ImageFeatures, palette: frozenset[int]) -> float:
    """Return the share of the pixels whose colour is one of the palette."""
    if not len(found.values) or len(palette) > _IDS:
        return 0.0
    known = np.isin(found.values[:, 0], list(palette))
    return float(found.values[known, 1].sum() / max(1, found.values[:, 1].sum()))


Check: TypeAlias = Callable[[Measured], Iterable[Finding]]


def many(count: int, what: str, plural: str | None = None) -> str:
    """Return a count with its noun: "1 file", "3 files"."""
    return f"{count:,} {what if count == 1 else plural or what + 's'}"


def shown(names: Sequence[str]) -> str:
    """Return the first few names, for a sentence."""
    first = ", ".join(printable(name) for name in names[:_SHOWN])
    return first + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def of_files(
    name: str,
    severity: Severity,
    split: str | None,
    items: Sequence[tuple[str, Evidence]],
    *,
    message: str,
    cure: str,
    evidence: Evidence | None = None,
) -> Finding:
    """Return a finding of files, each with what was measured of it; a file stands once."""
    files = list(dict.fromkeys(path for path, _ in items))
    return Finding(
        name=name,
        severity=severity,
        split=split,
        files=files,
        message=f"{message} ({shown(files)})",
        cure=cure,
        evidence={"files": len(files), **(evidence or {})},
        items=[Item(files=(path,), evidence=of) for path, of in items],
    )
