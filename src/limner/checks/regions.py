"""What the regions of a label map tell: which values, how their borders run, how they crowd."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

MOST_VALUES = 1024  # more distinct ids or colours than this are no label map
_LONG_RUN = 4  # pixels from which on a run of one value is a region rather than a border
_SIDE = 256  # pixels of the longer side at which objects are counted
_SMALL = 0.015  # share of the picture below which an object is small


class Regions(NamedTuple):
    """What was measured of a label map.

    Args:
        values: N x 2 int64: each id (or colour as red x 65536 + green x 256 + blue) and its pixels;
            empty where there are more than 1,024.
        ramps: share of the borders between two regions, not neighbours in their values, that run
            through values between the two.
        ragged: share of the pixels that lie in runs of one or two pixels.
        objects: N x 4 int32: id, objects, small objects, objects that are several grown together.
    """

    values: np.ndarray
    ramps: float
    ragged: float
    objects: np.ndarray


NONE = Regions(np.zeros((0, 2), np.int64), 0.0, 0.0, np.zeros((0, 4), np.int32))


def regions(codes: np.ndarray) -> Regions:
    """Measure a label map H x W of whole numbers."""
    values, counts = np.unique(codes, return_counts=True)
    known = len(values) <= MOST_VALUES
    ramps, ragged = _borders(codes)
    table = np.stack([values, counts], axis=1).astype(np.int64)
    objects = _objects(codes) if len(values) <= 64 else NONE.objects
    return Regions(table if known else NONE.values, ramps, ragged, objects)


def _borders(codes: np.ndarray) -> tuple[float, float]:
    """Return `ramps` and `ragged` over rows and columns."""
    crossings = ramped = thin = 0
    for part in (codes, codes.T):
        height, width = part.shape
        if width < 2 * _LONG_RUN:
            continue
        # Runs of one value, row after row.
        change = np.ones((height, width), bool)
        change[:, 1:] = part[:, 1:] != part[:, :-1]
        start = np.flatnonzero(change.ravel())
        length = np.diff(np.append(start, height * width))
        value = part.ravel()[start].astype(np.int64)
        row = start // width
        thin += int(length[length <= 2].sum())
        long = np.flatnonzero(length >= _LONG_RUN)
        if len(long) < 2:
            continue
        first, second = long[:-1], long[1:]
        gap = start[second] - (start[first] + length[first])
        counts = (row[first] == row[second]) & (gap <= 2 * _LONG_RUN)
        counts &= np.abs(value[first] - value[second]) >= 2
        crossings += int(counts.sum())
        first, second, gap = first[counts], second[counts], gap[counts]
        through = gap > 0
        low = np.minimum(value[first], value[second])[through]
        high = np.maximum(value[first], value[second])[through]
        # The run in the middle of the gap speaks for all of it.
        middle = value[(first[through] + second[through]) // 2]
        ramped += int(((middle > low) & (middle < high)).sum())
    total = 2 * codes.size
    return (ramped / crossings if crossings >= 8 else 0.0), thin / total


def _objects(codes: np.ndarray) -> np.ndarray:
    """Count the objects of each id in a copy of at most 256 pixels a side (nearest)."""
    step = max(1, -(-max(codes.shape) // _SIDE))
    small = codes[step // 2 :: step, step // 2 :: step]
    limit = _SMALL * small.size
    found = []
    for value in np.unique(small):
        mask = small == value
        labelled, count = _labelled(mask)
        areas = np.bincount(labelled.ravel())[1:]
        solid = areas >= 9
        if solid.sum() < 1:
            continue
        few = int((solid & (areas < limit)).sum())
        found.append((int(value), int(solid.sum()), few, _grown(mask, labelled, count, solid)))
    return np.array(found, np.int32).reshape(-1, 4)


def _labelled(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the connected parts of a mask from 1."""
    numbered = np.zeros(mask.shape, np.int32)
    count = ndimage.label(mask, output=numbered)
    return numbered, int(np.asarray(count))


def _grown(mask: np.ndarray, labelled: np.ndarray, count: int, solid: np.ndarray) -> int:
    """Count the objects that fall into several, each nearly as thick, when they are worn down.

    Wearing down to 7/10 of the largest thickness parts discs that touch, and no single one.
    """
    if count > 2000:
        return 0
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1)))[1:-1, 1:-1]
    deepest = np.zeros(count + 1)
    deepest[1:] = ndimage.maximum(depth, labelled, np.arange(1, count + 1))
    core = mask & (depth > 0.7 * deepest[labelled]) & (deepest[labelled] >= 2.5)
    parts, number = _labelled(core)
    if number == 0:
        return 0
    sizes = np.bincount(parts.ravel())[1:]
    owner = np.asarray(ndimage.maximum(labelled, parts, np.arange(1, number + 1)), int)
    several = np.bincount(owner[sizes >= 3], minlength=count + 1)[1:]
    return int(((several >= 2) & solid).sum())


def purity(codes: np.ndarray, instance: np.ndarray) -> float:
    """Return the share of pixels whose label is that of most of their instance (1: all)."""
    if codes.shape != instance.shape:
        return 0.0
    names, flat = np.unique(instance, return_inverse=True)
    kinds, labels = np.unique(codes, return_inverse=True)
    if len(names) * len(kinds) > 5_000_000:
        return 1.0
    table = np.zeros((len(names), len(kinds)), np.int64)
    np.add.at(table, (flat.ravel(), labels.ravel()), 1)
    # Pixels of no instance, the most frequent number, may be of any class.
    ground = int(table.sum(axis=1).argmax())
    things = np.arange(len(names)) != ground
    total = int(table[things].sum())
    return float(table[things].max(axis=1).sum() / total) if total else 1.0
