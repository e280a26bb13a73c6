"""How sharp and how colourful pictures are: the slope of the power spectrum, and two plain figures.

Photos of the world have a power spectrum that falls roughly as the second power of the frequency
(Field 1987, doi:10.1364/JOSAA.4.002379). Blur makes it fall faster, noise and checkerboards slower,
whatever the picture shows, so the slope tells of a fault that a classifier may forgive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from limner.errors import DataError

BANDS = 12
"""Rings of frequencies, of equal width in the logarithm."""

LOWEST, HIGHEST = 1 / 32, 1 / 2
"""Cycles a pixel between which the slope is fitted."""

SMALLEST = 16
"""Pixels of the shorter side below which there are too few frequencies for a slope."""

ROUNDING = 1 / 12
"""Variance of rounding to whole levels; added to the power, so that a flat picture has a slope."""


@dataclass(frozen=True)
class Look:
    """The figures of one picture, or their means over a set."""

    spectrum_slope: float
    sharpness: float
    colourfulness: float

    def to_json(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def look(picture: Tensor) -> Look:
    """Return the figures of a uint8 picture C x H x W of 1 or 3 channels; `DataError` if tiny."""
    grey = luma(picture)
    return Look(spectrum_slope(grey), sharpness(grey), colourfulness(picture))


def mean_look(looks: Sequence[Look]) -> Look:
    """Return the means over a set of pictures."""
    columns = zip(*(one.to_json().values() for one in looks), strict=True)
    return Look(*(math.fsum(column) / len(looks) for column in columns))


def luma(picture: Tensor) -> Tensor:
    """Return the luma of a uint8 picture as float64 H x W in levels 0..255 (Rec. 601 weights)."""
    x = picture.double()
    if len(x) == 1:
        return x[0]
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64, device=x.device)
    return torch.einsum("c,chw->hw", weights, x[:3])


def spectrum_slope(grey: Tensor) -> float:
    """Return the slope of the radially averaged log power over the log of the frequency.

    `grey` is H x W in levels. Its mean is taken off, a Hann window laid over it, and the power
    |FFT|^2, divided by the sum of the squared window (so that white noise of variance v has power
    v everywhere), averaged in `BANDS` rings between `LOWEST` and `HIGHEST` cycles a pixel, the
    same in both directions whatever the picture's shape. The slope is that of the least squares
    line through (log f, log (power + ROUNDING)) of the rings: 0 for white noise, about -2 for
    photos, lower for blurred ones. Sides shorter than 64 begin at two cycles a side.

    Raises `DataError` where a side is shorter than `SMALLEST`.
    """
    height, width = grey.shape
    if min(height, width) < SMALLEST:
        raise DataError(
            f"the spectrum's slope needs pictures of at least {SMALLEST}x{SMALLEST} pixels, not "
            f"{width}x{height}"
        )
    like = {"dtype": torch.float64, "device": grey.device}
    rows, columns = (torch.hann_window(n, periodic=False, **like) for n in (height, width))
    window = rows[:, None] * columns[None]
    power = torch.fft.rfft2((grey - grey.mean()) * window).abs().square() / window.square().sum()
    frequency = torch.hypot(
        torch.fft.fftfreq(height, **like)[:, None], torch.fft.rfftfreq(width, **like)[None]
    )
    lowest = max(LOWEST, 2 / min(height, width))
    span = math.log(HIGHEST / lowest)
    band = torch.floor((frequency.clamp(min=1e-9) / lowest).log() / span * BANDS)
    inside = (band >= 0) & (band < BANDS)
    index = band[inside].long()
    counts = torch.bincount(index, minlength=BANDS)
    totals = torch.bincount(index, weights=power[inside], minlength=BANDS)
    centres = torch.bincount(index, weights=frequency[inside].log(), minlength=BANDS)
    filled = counts > 0
    x = centres[filled] / counts[filled]
    y = (totals[filled] / counts[filled] + ROUNDING).log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())


def sharpness(grey: Tensor) -> float:
    """Return the root mean square of the Laplacian (four neighbours) in levels, H x W in levels."""
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * middle).square().mean().sqrt())


def colourfulness(picture: Tensor) -> float:
    """Return how colourful a uint8 picture C x H x W is: 0 for grey, 30 to 60 for most photos.

    The third metric of Hasler and Süsstrunk 2003 (doi:10.1117/12.477378), equation 4.
    """
    if len(picture) == 1:
        return 0.0
    red, green, blue = picture[:3].double()
    across, down = red - green, (red + green) / 2 - blue
    spread = math.hypot(float(across.std(correction=0)), float(down.std(correction=0)))
    return spread + 0.3 * math.hypot(float(across.mean()), float(down.mean()))
