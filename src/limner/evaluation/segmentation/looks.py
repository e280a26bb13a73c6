"""The guard against a good segmentation score of bad pictures: how they look.

A segmenter forgives what an eye does not: roads and trees are recognised in pictures that are
blurred and grey, and they are most of the pixels. So sharpness, spectrum, colour and, where they
were measured, the distances stand beside the score, and a warning says when they contradict it.

Photos of the world have a power spectrum that falls roughly as the second power of the frequency
(Field 1987, doi:10.1364/JOSAA.4.002379). Blur makes it fall faster, noise and checkerboards slower,
whatever the picture shows, so the slope tells of a fault that a classifier may forgive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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

    Raises:
        DataError: a side is shorter than `SMALLEST`.
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


TAKEN = 1 / 3
"""A score is taken for a success from this share of the way on to the real photos' score.

The way begins at what one class everywhere would score, the largest class's share of the labelled
pixels. In table 1 of pix2pix (arXiv:1611.07004), with roads on 0.37 of Cityscapes, L1 alone has
gone 0.12 of the way, a GAN without L1 0.47, both together 0.67. Blurred, grey photos have been
reported at 0.6 of the way, and here were measured at 0.45 (Cityscapes, blur of 4 pixels) and more.
Below a third the score itself says that the pictures are bad.
"""

FAR_SLOPE = 0.5
"""Far from the photos' spectrum: mean slopes that differ by more.

Street photos differ among themselves by 0.05 to 0.3 (one standard deviation over a data set's
pictures); a Gaussian blur of one pixel makes the slope 1.1 to 2 lower.
"""

FAR_RATIO = 2.0
"""Far in sharpness or colour: this many times the photos' figure, or its inverse."""

LEVEL = 0.5
"""Figures below it, in levels, count as it: all flat or grey pictures are alike."""


def findings(real: Look, fake: Look) -> list[str]:
    """Return in what the looks of two sets are far from each other, a phrase each."""
    phrases = []
    difference = fake.spectrum_slope - real.spectrum_slope
    if abs(difference) > FAR_SLOPE:
        way = "steeper, so details are missing" if difference < 0 else "flatter, as of noise"
        phrases.append(
            f"the spectrum's slope is {fake.spectrum_slope:.2f}, theirs {real.spectrum_slope:.2f} "
            f"({way})"
        )
    for name, ours, theirs in (
        ("sharpness", fake.sharpness, real.sharpness),
        ("colourfulness", fake.colourfulness, real.colourfulness),
    ):
        ratio = max(ours, LEVEL) / max(theirs, LEVEL)
        if not 1 / FAR_RATIO <= ratio <= FAR_RATIO:
            phrases.append(f"the {name} is {ours:.2f}, theirs {theirs:.2f}")
    return phrases


def warning(
    *,
    real_accuracy: float,
    fake_accuracy: float,
    one_class: float,
    real: Look,
    fake: Look,
    values: Mapping[str, Any],
) -> str:
    """Return the warning that a set of pictures deserves, or an empty text.

    It is deserved where the pixel accuracy has gone a good part of the way (`TAKEN`) from that of
    `one_class` everywhere to that of the real photos, while the pictures' look is far from theirs
    (`findings`). `values` are other figures of the same comparison; distances among them are named
    in the sentence.
    """
    far = findings(real, fake)
    if not far or fake_accuracy < one_class + TAKEN * max(0.0, real_accuracy - one_class):
        return ""
    named = [f"{name} {value:.4g}" for name, value in distances(values).items()]
    beside = f" ({', '.join(named)})" if named else ""
    return (
        f"the segmenter recognises much in these pictures (pixel accuracy {fake_accuracy:.4f}, the "
        f"real photos {real_accuracy:.4f}, one class everywhere {one_class:.4f}), but they do not "
        f"look like photos: {'; '.join(far)}{beside}; look at them before trusting the score"
    )


def distances(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those of `values` that say how far pictures are from photos: FID, KID, fd, LPIPS."""
    kinds = ("fid", "kid", "fd", "lpips", "dists")
    return {
        name: float(value)
        for name, value in values.items()
        if name.split("-")[0] in kinds and isinstance(value, int | float)
    }
