"""What a picture's grey values tell of its quality: was it enlarged, through what JPEG it went,
how sharp it is.

All take grey values H x W as float32, 0 to 255, and return plain numbers; a picture too small or
too flat to tell gives the value that accuses nobody.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.fft import dctn, rfft, rfft2

_LONGEST = 512  # pixels of a side that are looked at: the middle of larger pictures
# Enlargement is looked for between these factors; one by f repeats a spectrum at 1/f.
SMALLEST_FACTOR, LARGEST_FACTOR = 1.3, 4.6
_ROWS = 24  # rows on which all factors are tried; the likeliest are looked at on all rows
_LIKELIEST = 3
# The luminance table of the JPEG standard (ITU-T T.81, table K.1), row by row, at quality 50.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float64,
)
# Coefficients on which a quantisation step is read: the lowest, which blocks seldom lack.
_READ = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 3), (3, 0))


def middle(grey: np.ndarray) -> np.ndarray:
    """Return the middle of a picture, at most 512 x 512, its grid of 8 x 8 blocks kept."""
    height, width = grey.shape
    top = max(0, height - _LONGEST) // 16 * 8
    left = max(0, width - _LONGEST) // 16 * 8
    return grey[top : top + _LONGEST, left : left + _LONGEST]


def enlargement(grey: np.ndarray) -> tuple[float, float]:
    """Return the factor by which a picture was most likely enlarged, and how alike (0 to 1) its
    spectrum and the copies are that such an enlargement makes.

    Interpolation by a factor f makes copies of the spectrum at multiples of 1/f, which the filter
    dampens and does not remove (Gallagher 2005; here in the frequency domain, where it also sees a
    factor of two). Every factor from `SMALLEST_FACTOR` to `LARGEST_FACTOR` is tried, along rows
    and columns apart, since both need not be enlarged alike; the smaller likeness counts.
    """
    if min(grey.shape) < 32:
        return 1.0, 0.0
    found = []
    for part in (grey, grey.T):
        length = part.shape[1]
        window = np.hanning(length).astype(np.float32)
        spectrum = np.asarray(rfft((part - part.mean(axis=1, keepdims=True)) * window, axis=1))
        some = spectrum[:: -(-len(spectrum) // _ROWS)]
        offsets = np.arange(
            math.ceil(length / LARGEST_FACTOR), math.floor(length / SMALLEST_FACTOR) + 1
        )
        likely = np.argsort([_alike(some, int(offset)) for offset in offsets])[-_LIKELIEST:]
        copies, offset = max((_alike(spectrum, int(each)), int(each)) for each in offsets[likely])
        found.append((copies, length / offset))
    return min(factor for _, factor in found), min(copies for copies, _ in found)


def _alike(spectrum: np.ndarray, offset: int) -> float:
    """Return how alike the spectra of rows and their copies `offset` frequencies on are.

    Looked at around half of it, where both copies are strong.
    """
    first = np.arange(max(2, round(0.28 * offset)), (offset + 1) // 2)
    if len(first) < 4:
        return 0.0
    one, other = spectrum[:, first], spectrum[:, np.minimum(offset - first, spectrum.shape[1] - 1)]
    across = (one * other).sum(axis=0)
    norm = np.sqrt((np.abs(one) ** 2).sum(axis=0) * (np.abs(other) ** 2).sum(axis=0)) + 1e-9
    # Each frequency counts alike, else the strongest alone would decide.
    return float(np.abs((across / norm).mean()))


def sharpness(grey: np.ndarray) -> float:
    """Return log10 of the energy of the finest details over that of the next coarser ones."""
    if min(grey.shape) < 32 or grey.std() < 2:
        return float("nan")
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    power = np.abs(np.asarray(rfft2((grey - grey.mean()) * window))) ** 2
    rows = np.fft.fftfreq(grey.shape[0])[:, None]
    radius = np.hypot(rows, np.fft.rfftfreq(grey.shape[1])[None])
    fine = power[(radius >= 0.2) & (radius < 0.45)].sum()
    coarse = power[(radius >= 0.04) & (radius < 0.12)].sum()
    return float(np.log10((fine + 1.0) / (coarse + 1.0)))


def quantisation(grey: np.ndarray) -> tuple[float, float]:
    """Return the quality (1 to 100) of the JPEG that a picture went through, and how sure that is.

    The coefficients of blocks of a decoded JPEG lie near multiples of a step; the step of each of
    the lowest is sought, and compared with the standard's table. 100 and 0 where none shows.
    """
    height, width = (side // 8 * 8 for side in grey.shape)
    if height < 32 or width < 32:
        return 100.0, 0.0
    blocks = grey[:height, :width].reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2)
    # Where values were clipped to 0 to 255 coefficients are no multiples any more.
    blocks = blocks.reshape(-1, 8, 8)
    blocks = blocks[(blocks.min(axis=(1, 2)) > 2) & (blocks.max(axis=(1, 2)) < 253)]
    if len(blocks) < 24:
        return 100.0, 0.0
    coefficients = np.asarray(dctn(blocks - 128.0, axes=(1, 2), norm="ortho"))
    steps = np.arange(6, 160)
    scales, sure = [], []
    for u, v in _READ:
        values = np.abs(coefficients[:, u, v])
        values = values[values > 3.5]
        if len(values) < 12:
            continue
        # The mean cosine is 1 where all values are multiples of the step; of several such steps
        # (a divisor of the true one is one, too) the largest counts.
        values = values[:: max(1, len(values) // 400)]
        turns = np.cos(2 * np.pi * values[:, None] / steps).mean(axis=0)
        # Values below half a step cannot come from it.
        lowest = np.quantile(values, 0.05)
        turns[steps > 1.3 * lowest + 1] = -1
        best = turns.max()
        if best < 0.5:
            continue
        step = steps[np.flatnonzero(turns >= best - 0.08)[-1]]
        scales.append(step / _LUMINANCE[u, v])
        sure.append(best)
    if len(scales) < 3:
        return 100.0, 0.0
    scale = float(np.median(scales)) * 100
    quality = 100 - scale / 2 if scale <= 100 else 5000 / scale
    agreement = float(np.mean(np.abs(np.log(np.array(scales) * 100 / scale)) < 0.25))
    return float(np.clip(quality, 1, 100)), agreement * float(np.mean(sure))
