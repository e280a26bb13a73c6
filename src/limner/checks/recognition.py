"""Which pairs of a data set show one picture, be it encoded anew, resized, mirrored, brightened or
cropped: found by fingerprints, believed after both pictures were laid upon each other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from limner.checks.fingerprints import MIRROR_LOCAL, MIRROR_WHOLE, shrunk
from limner.checks.measured import Measured, Relation, Role, Where
from limner.checks.measuring import ImageFeatures, to_grey
from limner.data import decode
from limner.data.pairs import Half
from limner.errors import DataError

# Thresholds; docs/checks.md tells what clean data reach.
ALIKE = 0.93  # correlation of two small wholes from which on the pictures are compared closely
VOTES = 4  # keypoints that must agree on one way to lie upon each other
SAME = 0.90  # correlation of the details of two pictures from which on they are one
CROPPED = 0.97  # part of the other picture's sides, below which a picture is a crop of it

_NEAREST = 4  # keypoints of other pictures that each one is compared with
_TOLERANCE = 0.03  # of the longer side, within which two places are one
_REACH = 48.0  # distance of codes (of norm 127) within which two keypoints may be one
_HOPELESS = 0.3  # correlation of details from which refining leads nowhere
_GRID = 64  # samples of a side at which two pictures are compared
_BLOCK = 1024
_MOST = 3  # candidates of one picture that are compared closely


@dataclass(frozen=True)
class _Candidate:
    """That picture `one` may lie in `other`: x' = scale x + shift, in units of longer sides."""

    one: int
    other: int
    mirrored: bool
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    fitted: bool = False


def related(measured: Measured, *, advance: Callable[[], None] = lambda: None) -> list[Relation]:
    """Return the relations between all pairs of a data set, each pair of pairs once.

    Args:
        measured: what was measured. Label maps are not compared, since many may well be alike;
            nor are the frames of a film within one split, which are told of as a sequence.
        advance: called after each side that was looked through.
    """
    found: dict[tuple[Where, Where], Relation] = {}
    film = {frame: number for number, each in enumerate(measured.films) for frame in each.frames}
    for role in ("target", "source"):
        if role not in measured.codings:
            for relation in _of_side(measured, role, film):
                found.setdefault((relation.one, relation.other), relation)
        advance()
    for relation in same_bytes(measured):
        found[relation.one, relation.other] = relation
    return [found[key] for key in sorted(found)]


def same_bytes(measured: Measured) -> Iterator[Relation]:
    """Yield pairs whose two files have the same bytes, or the same samples on both sides."""
    seen: dict[tuple[str, ...], Where] = {}
    for split, features in measured.features.items():
        for place, found in enumerate(features):
            if found.source.problem or found.target.problem:
                continue
            key = (found.source.content, found.target.content)
            first = seen.setdefault(key, (split, place))
            if first != (split, place):
                yield Relation(first, (split, place), "exact", "target", 1.0)


@dataclass(frozen=True)
class _Side:
    """All pictures of one role: where they are, and what was measured of them."""

    places: list[Where]
    files: list[tuple[Path, Half | None]]
    features: list[ImageFeatures]


def _side(measured: Measured, role: Role) -> _Side:
    places, files, features = [], [], []
    for split, found in measured.features.items():
        for place, pair in enumerate(measured.listing.pairs[split]):
            image: ImageFeatures = getattr(found[place], role)
            if image.problem or not image.small.any():
                continue
            places.append((split, place))
            files.append(
                (pair.source, pair.source_half)
                if role == "source"
                else (pair.target, pair.target_half)
            )
            features.append(image)
    return _Side(places, files, features)


def _of_side(measured: Measured, role: Role, film: dict[Where, int]) -> Iterator[Relation]:
    side = _side(measured, role)
    if len(side.places) < 2:
        return
    first: dict[str, int] = {}
    candidates: dict[tuple[int, int, bool], _Candidate] = {}
    copies = np.zeros(len(side.places), bool)
    for index, image in enumerate(side.features):
        original = first.setdefault(image.content, index)
        if original != index:  # a copy needs no closer look, nor its own relations
            copies[index] = True
            yield Relation(side.places[original], side.places[index], "exact", role, 1.0)
    for candidate in (*_by_keypoints(side, copies), *_by_wholes(side, copies)):
        # Keypoints know how two pictures lie; where both found them, theirs is tried first.
        candidates.setdefault((candidate.one, candidate.other, candidate.mirrored), candidate)
    grey = functools.lru_cache(maxsize=256)(lambda index: _read(*side.files[index]))
    for key in sorted(candidates):
        candidate = candidates[key]
        one, other = side.places[candidate.one], side.places[candidate.other]
        if one[0] == other[0] and one in film and film[one] == film.get(other):
            continue
        relation = _confirmed(candidate, side, grey, role)
        if relation is not None:
            yield relation


def _by_wholes(side: _Side, copies: np.ndarray) -> Iterator[_Candidate]:
    whole = np.stack([image.small for image in side.features]).astype(np.float32)
    for mirrored in (False, True):
        turned = whole * MIRROR_WHOLE if mirrored else whole
        for start in range(0, len(whole), _BLOCK):
            likeness = whole[start : start + _BLOCK] @ turned.T
            likeness[:, copies] = -1
            rows, columns = np.nonzero(likeness >= ALIKE)
            keep = (columns > rows + start) & ~copies[rows + start]
            for row, column in _strongest(rows[keep], columns[keep], likeness):
                yield _Candidate(row + start, column, mirrored)


def _strongest(
    rows: np.ndarray, columns: np.ndarray, likeness: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Yield at most `_MOST` places of each row, the largest first."""
    order = np.lexsort((-likeness[rows, columns], rows))
    rows, columns = rows[order], columns[order]
    starts = np.searchsorted(rows, rows, side="left")
    few = np.arange(len(rows)) - starts < _MOST
    yield from zip(rows[few].tolist(), columns[few].tolist(), strict=True)


def _by_keypoints(side: _Side, copies: np.ndarray) -> Iterator[_Candidate]:
    """Yield pictures of which many keypoints agree on how one lies in the other."""
    from scipy.spatial import KDTree  # takes a while to import, and a short look needs none

    counts = [0 if copies[k] else len(image.codes) for k, image in enumerate(side.features)]
    if sum(counts) == 0:
        return
    owner = np.repeat(np.arange(len(counts)), counts)
    kept = [image for k, image in enumerate(side.features) if counts[k]]
    codes = np.concatenate([image.codes for image in kept]).astype(np.float32)
    places = np.concatenate([image.places for image in kept]).astype(np.float32)
    tree = KDTree(codes[:, :12])
    for mirrored in (False, True):
        wanted, at = codes, places
        if mirrored:
            wanted = codes * MIRROR_LOCAL
            widths = np.array(
                [image.width / max(image.width, image.height) for image in side.features]
            )
            at = places.copy()
            at[:, 0] = widths[owner] - at[:, 0]
        found = tree.query(wanted[:, :12], k=_NEAREST + 1, distance_upper_bound=_REACH, workers=1)
        near = np.asarray(found[1]).reshape(len(codes), _NEAREST + 1)
        one = np.repeat(np.arange(len(codes)), _NEAREST + 1)
        other = near.ravel()
        found = other < len(codes)
        one, other = one[found], other[found]
        found = owner[one] != owner[other]
        one, other = one[found], other[found]
        close = np.linalg.norm(wanted[one] - codes[other], axis=1) < 1.3 * _REACH
        one, other = one[close], other[close]
        yield from _agreed(owner[one], owner[other], at[one, :2], places[other, :2], mirrored)


def _agreed(
    one: np.ndarray, other: np.ndarray, here: np.ndarray, there: np.ndarray, mirrored: bool
) -> Iterator[_Candidate]:
    """Yield the pictures of which `VOTES` keypoints agree on how one lies in the other.

    Args:
        one, other: the pictures of each match, N.
        here, there: where its keypoints lie in the two, N x 2.
        mirrored: whether `one` was mirrored.
    """
    order = np.lexsort((other, one))
    one, other, here, there = one[order], other[order], here[order], there[order]
    changes = (np.diff(one) != 0) | (np.diff(other) != 0)
    ends = np.append(np.flatnonzero(changes) + 1, len(one))
    starts = np.append(0, ends[:-1])
    fits: list[tuple[int, _Candidate]] = []
    for start, end in zip(starts, ends, strict=True):
        if end - start < VOTES:
            continue
        found = _fitted(here[start:end], there[start:end])
        if found is not None:
            votes, scale, shift = found
            fit = _Candidate(int(one[start]), int(other[start]), mirrored, scale, shift, True)
            fits.append((votes, fit))
    given: dict[int, int] = {}
    for votes, fit in sorted(fits, key=lambda found: -found[0]):
        given[fit.one] = given.get(fit.one, 0) + 1
        # So few agree by chance, too: of those the best alone is looked at.
        if given[fit.one] <= (_MOST if votes > VOTES + 1 else 1):
            yield fit


def _fitted(
    here: np.ndarray, there: np.ndarray
) -> tuple[int, tuple[float, float], tuple[float, float]] | None:
    """Return how many keypoints agree on one way, its scale and its shift; None for too few.

    Each two matches tell a scale and a shift; that on which most others agree is taken (Fischler
    and Bolles 1981), and drawn on all that do, across and down for themselves.
    """
    here, there = here[:40], there[:40]
    first, second = np.triu_indices(len(here), 1)
    apart = np.linalg.norm(here[first] - here[second], axis=1)
    scale = np.linalg.norm(there[first] - there[second], axis=1) / np.maximum(apart, 1e-6)
    # The picture that shows less is laid into the one that shows more.
    sound = (apart > 0.08) & (scale > 0.3) & (scale < 1.1)
    if not sound.any():
        return None
    first, scale = first[sound], scale[sound]
    shift = there[first] - scale[:, None] * here[first]
    rest = there[None] - scale[:, None, None] * here[None] - shift[:, None]
    agree = np.abs(rest).max(axis=2) < _TOLERANCE
    best = int(agree.sum(axis=1).argmax())
    inside = agree[best]
    if inside.sum() < VOTES:
        return None
    middle, target = here[inside].mean(axis=0), there[inside].mean(axis=0)
    spread = ((here[inside] - middle) ** 2).sum(axis=0)
    if spread.min() < 1e-3:  # all in one line: nothing tells the scale across it
        x, y = shift[best].tolist()
        return int(inside.sum()), (float(scale[best]), float(scale[best])), (x, y)
    scales = ((here[inside] - middle) * (there[inside] - target)).sum(axis=0) / spread
    if not all(0.5 * scale[best] < each < 2 * scale[best] for each in scales):
        return None
    shifts = target - scales * middle
    return (
        int(inside.sum()),
        (float(scales[0]), float(scales[1])),
        (float(shifts[0]), float(shifts[1])),
    )


def _read(path: Path, half: Half | None) -> np.ndarray | None:
    """Return the luma of a picture, its longer side at most twice the grid."""
    try:
        image = decode(path).numpy()
    except DataError:  # it could be read a moment ago
        return None
    if half is not None:
        middle = image.shape[2] // 2
        image = image[:, :, :middle] if half == "left" else image[:, :, middle:]
    colours = image[: 3 if len(image) >= 3 else 1]
    features = ImageFeatures(dtype=image.dtype.name)
    if features.dtype != "uint8":
        features.dark, features.bright = (float(v) for v in np.percentile(colours, (1, 99)))
    grey = to_grey(colours, features)
    factor = 2 * _GRID / max(grey.shape)
    if factor < 1:
        height, width = (max(8, round(side * factor)) for side in grey.shape)
        grey = shrunk(grey, height, width)
    return np.asarray(gaussian_filter(grey, max(0.5, 0.35 * max(grey.shape) / _GRID)))


def _confirmed(
    candidate: _Candidate,
    side: _Side,
    grey: Callable[[int], np.ndarray | None],
    role: Role,
) -> Relation | None:
    one, other = grey(candidate.one), grey(candidate.other)
    if one is None or other is None:
        return None
    if candidate.mirrored:
        one = one[:, ::-1]
    starts = [(*candidate.scale, *candidate.shift)] if candidate.fitted else []
    starts.append(_stretched(one, other))
    likeness, way = max(_laid(one, other, start) for start in starts)
    if likeness < SAME:
        return None
    places = sorted((candidate.one, candidate.other))
    kind = _kind(candidate, side, one, other, way)
    return Relation(side.places[places[0]], side.places[places[1]], kind, role, likeness)


def _stretched(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float, float]:
    """Return the way that lays all of one picture on all of another, of whatever proportions."""
    long_one, long_other = max(one.shape), max(other.shape)
    across = (other.shape[1] / long_other) / (one.shape[1] / long_one)
    down = (other.shape[0] / long_other) / (one.shape[0] / long_one)
    return across, down, 0.0, 0.0


def _laid(
    one: np.ndarray, other: np.ndarray, way: tuple[float, float, float, float]
) -> tuple[float, tuple[float, float, float, float]]:
    """Refine how a picture lies in another; return the correlation of details and the way.

    Gauss-Newton on scale and shift of both axes (Lucas and Kanade 1981), both pictures normalised.
    """
    long_one, long_other = max(one.shape), max(other.shape)
    rows, columns = np.mgrid[0:_GRID, 0:_GRID].astype(np.float32)
    x = (columns + 0.5) / _GRID * one.shape[1] / long_one
    y = (rows + 0.5) / _GRID * one.shape[0] / long_one
    here = _sampled(one, x * long_one, y * long_one)
    parameters = np.array(way, np.float64)
    best = (-1.0, way)
    for _ in range(8):
        to_x, to_y = parameters[0] * x + parameters[2], parameters[1] * y + parameters[3]
        there = _sampled(other, to_x * long_other, to_y * long_other)
        inside = (to_x >= 0) & (to_x <= other.shape[1] / long_other)
        inside &= (to_y >= 0) & (to_y <= other.shape[0] / long_other)
        if inside.sum() < 0.6 * inside.size:
            break
        likeness = _detail(here, there, inside)
        if likeness < _HOPELESS:
            break
        if likeness > best[0]:
            best = (likeness, tuple(parameters.tolist()))  # pyright: ignore[reportAssignmentType]
        a, b = _normal(here, inside), _normal(there, inside)
        down, across = np.gradient(b)
        # One step of the grid, in the units of the parameters.
        across = across * (_GRID / (parameters[0] * one.shape[1] / long_one))
        down = down * (_GRID / (parameters[1] * one.shape[0] / long_one))
        slopes = np.stack([across * x, down * y, across, down], axis=-1)[inside]
        normal = slopes.T @ slopes + 1e-6 * np.eye(4)
        step = np.linalg.solve(normal, slopes.T @ (a - b)[inside])
        if not np.isfinite(step).all() or np.abs(step).max() > 0.3:
            break
        parameters += step
        if np.abs(step).max() < 2e-4:
            break
    return best


def _sampled(grey: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(map_coordinates(grey, (y - 0.5, x - 0.5), order=1, mode="nearest"))


def _normal(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    part = values[inside]
    return (values - part.mean()) / (part.std() + 1e-6)


def _detail(here: np.ndarray, there: np.ndarray, inside: np.ndarray) -> float:
    """Return the smaller correlation of two pictures: of all, and of details without shades."""
    both = [here, there]
    fine = [values - gaussian_filter(values, 4.0) for values in both]
    found = []
    for first, second in (both, fine):
        if first[inside].std() < 1.0 or second[inside].std() < 1.0:
            return -1.0
        found.append(float(np.corrcoef(first[inside], second[inside])[0, 1]))
    return min(found)


def _kind(
    candidate: _Candidate,
    side: _Side,
    one: np.ndarray,
    other: np.ndarray,
    way: tuple[float, float, float, float],
) -> str:
    """Name what was done to a picture, by what shows most."""
    if candidate.mirrored:
        return "mirrored"
    all_of_it = _stretched(one, other)
    covered = min(way[0] / all_of_it[0], way[1] / all_of_it[1])
    if covered < CROPPED or covered > 1 / CROPPED:
        return "cropped"
    first, second = side.features[candidate.one], side.features[candidate.other]
    if (first.height, first.width) != (second.height, second.width):
        return "resized"
    brighter = float(np.abs(first.colour - second.colour).max())
    gain = abs(np.log((first.contrast + 1) / (second.contrast + 1)))
    return "brightened" if brighter > 0.03 or gain > 0.1 else "encoded"
