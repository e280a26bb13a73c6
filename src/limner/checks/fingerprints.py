"""By what pictures are recognised again: a small whole, and the small surroundings of keypoints.

The whole is compared where a picture was encoded anew, resized, mirrored or brightened. Keypoints
find what is left of it where it was cropped. Both are sets of cosine coefficients, so that a
mirrored picture's are known without looking at it: those of odd horizontal frequency change sign.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter, zoom

THUMB = 24  # pixels of a side of the small whole
WAVES = 12  # cosine coefficients of a side that are kept of it
KEYPOINTS = 48
_PATCH = 12  # samples of a side of a keypoint's surroundings
_LONG = 160  # pixels of the longer side at which keypoints are sought
_SIGMAS = tuple(1.6 * 2 ** (k / 2) for k in range(6))


def _zigzag(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the lowest `count` frequencies but the constant."""
    places = sorted(
        ((u, v) for u in range(size) for v in range(size) if u or v),
        key=lambda place: (place[0] ** 2 + place[1] ** 2, place),
    )[:count]
    return np.array([u for u, _ in places]), np.array([v for _, v in places])


_WHOLE = _zigzag(WAVES * WAVES - 1, WAVES)
_LOCAL = _zigzag(20, _PATCH)
MIRROR_WHOLE = np.where(_WHOLE[1] % 2, -1, 1).astype(np.float32)
MIRROR_LOCAL = np.where(_LOCAL[1] % 2, -1, 1).astype(np.float32)


class Keypoints(NamedTuple):
    """Places (x, y, scale) in units of the picture's longer side, and their surroundings.

    `places` is N x 3 float16, `codes` N x 20 int8: cosine coefficients of norm 127.
    """

    places: np.ndarray
    codes: np.ndarray


def shrunk(grey: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture at another size, each pixel the mean of what it covers."""
    return _means(_means(grey, height).T, width).T


def _means(grey: np.ndarray, size: int) -> np.ndarray:
    """Return `size` rows, each the mean of what it covers of the rows of a picture."""
    length = len(grey)
    if length == size:
        return grey
    edges = np.linspace(0, length, size + 1)
    sums = np.concatenate([np.zeros_like(grey[:1], np.float64), grey.cumsum(0, np.float64)])
    low = np.floor(edges).astype(int)
    part = (edges - low)[:, None]
    at = sums[low] * (1 - part) + sums[np.minimum(low + 1, length)] * part
    return (np.diff(at, axis=0) * (size / length)).astype(np.float32)


def whole(grey: np.ndarray) -> np.ndarray:
    """Return the small whole of a picture H x W: 143 cosine coefficients of norm 1, float16.

    The scalar product of two is the correlation of the two small pictures. All 0 where the
    picture is flat.
    """
    waves = np.asarray(dctn(shrunk(grey, THUMB, THUMB), norm="ortho"))[_WHOLE]
    norm = float(np.linalg.norm(waves))
    return (waves / norm if norm > THUMB * 0.5 else waves * 0).astype(np.float16)


def keypoints(grey: np.ndarray) -> Keypoints:
    """Return the most marked blobs of a picture H x W (Lowe 2004: extrema of differences of
    Gaussians in space and scale), not turned upright, for data sets are.
    """
    factor = _LONG / max(grey.shape)
    if factor < 1:
        grey = shrunk(
            grey, max(16, round(grey.shape[0] * factor)), max(16, round(grey.shape[1] * factor))
        )
    elif factor > 1.2:
        grey = np.asarray(zoom(grey, factor, order=1))
    grey = grey.astype(np.float32)
    stack = [gaussian_filter(grey, _SIGMAS[0], truncate=3)]
    for before, sigma in itertools.pairwise(_SIGMAS):
        stack.append(gaussian_filter(stack[-1], (sigma**2 - before**2) ** 0.5, truncate=3))
    levels = np.stack(stack)
    strength = np.abs(np.diff(levels, axis=0))
    peaks = np.asarray(strength == maximum_filter(strength, size=(3, 5, 5)))
    peaks[0] = peaks[-1] = False
    peaks &= strength > 1.5
    level, row, column = np.nonzero(peaks)
    order = np.argsort(-strength[level, row, column], kind="stable")[: 2 * KEYPOINTS]
    level, row, column = level[order], row[order], column[order]
    reach = 3.5 * np.array(_SIGMAS)[level]
    inside = (row >= reach * 0.7) & (row < grey.shape[0] - reach * 0.7)
    inside &= (column >= reach * 0.7) & (column < grey.shape[1] - reach * 0.7)
    level, row, column, reach = (each[inside][:KEYPOINTS] for each in (level, row, column, reach))
    if not len(level):
        return Keypoints(np.zeros((0, 3), np.float16), np.zeros((0, len(_LOCAL[0])), np.int8))
    steps = (np.arange(_PATCH) - (_PATCH - 1) / 2) / ((_PATCH - 1) / 2)
    rows = row[:, None, None] + reach[:, None, None] * steps[None, :, None]
    columns = column[:, None, None] + reach[:, None, None] * steps[None, None, :]
    planes = np.broadcast_to(level[:, None, None], np.broadcast_shapes(rows.shape, columns.shape))
    rows, columns = np.broadcast_arrays(rows, columns)
    patches = map_coordinates(levels, (planes, rows, columns), order=1, mode="nearest")
    waves = np.asarray(dctn(patches, axes=(1, 2), norm="ortho"))[:, _LOCAL[0], _LOCAL[1]]
    waves /= np.linalg.norm(waves, axis=1, keepdims=True) + 1e-6
    long = max(grey.shape)
    places = np.stack([(column + 0.5) / long, (row + 0.5) / long, reach / long], axis=1)
    return Keypoints(places.astype(np.float16), np.rint(waves * 127).astype(np.int8))
