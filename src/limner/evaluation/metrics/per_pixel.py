"""How near each picture is to its own target: L1, PSNR, SSIM, MS-SSIM and edges of pairs.

Every function takes two N x C x H x W batches of one shape and returns N float64 values. They are
uint8, or of any type with the width of their range as `peak`. `mask`, N x 1 x H x W, is 1 where
pixels count: the others are of no consequence then, whatever they are, but they must be finite.
torchmetrics' SSIM is not used: in float32 it is off by 5e-5, in float64 it takes twenty times as
long, and its mean takes mirrored borders in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import DataError

PEAK = 255.0

PSNR_CAP = 100.0
"""dB. Equal images have an infinite ratio, which neither a mean nor JSON can hold."""

SSIM_RADIUS = 5
SSIM_SIGMA = 1.5
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SSIM_SMALLEST = 2 * SSIM_RADIUS + 1
"""Pixels of the shorter side into which the window fits."""
MS_SSIM_SMALLEST = SSIM_SMALLEST * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
"""The same at the smallest scale."""

_LEAST = 1e-12  # of a sum of weights: below it nothing counts

EDGE_THRESHOLD = 0.05
"""Slope a pixel, of levels in [0, 1]."""
EDGE_TOLERANCE = 2
"""Pixels."""


def l1(real: Tensor, fake: Tensor, *, peak: float = PEAK, mask: Tensor | None = None) -> Tensor:
    """Return the mean absolute difference over channels and pixels, the range scaled to [0, 1]."""
    return mae(real, fake, mask=mask) / peak


def mae(real: Tensor, fake: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Return the mean absolute difference: of uint8 pictures in levels."""
    return _mean((real.double() - fake.double()).abs(), mask)


def rmse(real: Tensor, fake: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Return the root of the mean squared difference: of uint8 pictures in levels."""
    return _mean((real.double() - fake.double()).square(), mask).sqrt()


def psnr(real: Tensor, fake: Tensor, *, peak: float = PEAK, mask: Tensor | None = None) -> Tensor:
    """Return the peak signal-to-noise ratio in dB, at most `PSNR_CAP`."""
    error = _mean((real.double() - fake.double()).square(), mask)
    return (10 * torch.log10(peak**2 / error)).clamp(max=PSNR_CAP)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of N x C x H x W over the pixels that count; 0 where none does."""
    if mask is None:
        return values.mean(dim=(1, 2, 3))
    weight = mask.to(values)
    total = (values * weight).sum(dim=(1, 2, 3))
    return total / (weight.sum(dim=(1, 2, 3)) * values.shape[1]).clamp(min=1e-300)


def count_capped(values: Sequence[float]) -> dict[str, float]:
    """Return what a figure of `psnr` rests on: its cap, and the pictures that reached it."""
    return {"cap_db": PSNR_CAP, "capped_images": sum(value >= PSNR_CAP for value in values)}


def ssim(real: Tensor, fake: Tensor, *, peak: float = PEAK, mask: Tensor | None = None) -> Tensor:
    """Return the structural similarity, the mean over channels and inner pixels.

    Wang et al. 2004 (doi:10.1109/TIP.2003.819861), equation 13 with K1 = 0.01, K2 = 0.03 and an 11
    x 11 Gaussian window of deviation 1.5, only where the whole window lies inside: the figures of
    scikit-image with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=peak`. With a mask the window's moments are of the pixels that count in it, and each
    window weighs as much as they do there.

    Raises:
        DataError: images smaller than the window.
    """
    height, width = real.shape[-2:]
    if min(height, width) < SSIM_SMALLEST:
        raise DataError(
            f"ssim needs images of at least {SSIM_SMALLEST}x{SSIM_SMALLEST} pixels, not "
            f"{width}x{height}: leave it out of the metrics"
        )
    likeness, _, weight = _similarity(real.double(), fake.double(), peak, mask)
    return _mean(likeness, weight)


def ms_ssim(
    real: Tensor, fake: Tensor, *, peak: float = PEAK, mask: Tensor | None = None
) -> Tensor:
    """Return the multi-scale structural similarity.

    Wang et al. 2003 (doi:10.1109/ACSSC.2003.1292216), equation 7 with the five weights of its
    section 4: contrast and structure at full size and at 1/2, 1/4 and 1/8 (means over 2 x 2 pixels,
    an odd last one left out), the whole similarity at 1/16; each the mean over pixels whose window
    lies inside, negative ones taken as 0, multiplied for each channel and averaged over channels:
    pytorch-msssim's figures where sides are multiples of 16. A mask is as in `ssim`, and at the
    smaller scales the share of the pixels that count.

    Raises:
        DataError: a side is below 176 pixels, so that the window does not fit into the smallest
            scale.
    """
    height, width = real.shape[-2:]
    if min(height, width) < MS_SSIM_SMALLEST:
        raise DataError(
            f"ms-ssim needs images of at least {MS_SSIM_SMALLEST}x{MS_SSIM_SMALLEST} pixels, not "
            f"{width}x{height}: leave it out of the metrics"
        )
    a, b = real.double(), fake.double()
    mask = None if mask is None else mask.double()
    product = torch.ones(a.shape[:2], dtype=torch.float64, device=a.device)
    for scale, exponent in enumerate(MS_SSIM_WEIGHTS, start=1):
        likeness, structure, weight = _similarity(a, b, peak, mask)
        last = scale == len(MS_SSIM_WEIGHTS)
        value = _mean_of_channels(likeness if last else structure, weight)
        product = product * value.clamp(min=0) ** exponent
        if not last:
            a, b, mask = _halved(a, b, mask)
    return product.mean(dim=1)


def _halved(a: Tensor, b: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return means over 2 x 2 pixels, those that do not count left out."""
    if mask is None:
        return F.avg_pool2d(a, 2), F.avg_pool2d(b, 2), None
    share = F.avg_pool2d(mask, 2)
    some = share.clamp(min=_LEAST)
    return F.avg_pool2d(a * mask, 2) / some, F.avg_pool2d(b * mask, 2) / some, share


def _mean_of_channels(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return N x C means over pixels."""
    if weight is None:
        return values.mean(dim=(2, 3))
    return (values * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3)).clamp(min=_LEAST)


def edge_f(real: Tensor, fake: Tensor) -> Tensor:
    """Return the F-score of the fake picture's edges against the real one's, 0 to 1.

    Limner's own definition; compare the figure only with itself. Edges: Sobel's gradient of the
    mean over channels, levels in [0, 1], of a magnitude (slope a pixel) of at least
    `EDGE_THRESHOLD`, thinned to the pixels that no neighbour along the stronger of the two axes
    exceeds. An edge pixel is met where the other picture has one within `EDGE_TOLERANCE` pixels in
    each direction. Precision is the part of the fake's edges that are met, recall that of the
    real's; F = 2 P R / (P + R). Pictures without any edges agree (1).
    """
    a, b = _edges(real), _edges(fake)
    size = 2 * EDGE_TOLERANCE + 1
    near_a, near_b = (F.max_pool2d(e, size, stride=1, padding=EDGE_TOLERANCE) for e in (a, b))
    count_a, count_b = a.sum(dim=(1, 2, 3)), b.sum(dim=(1, 2, 3))
    precision = (b * near_a).sum(dim=(1, 2, 3)) / count_b.clamp(min=1)
    recall = (a * near_b).sum(dim=(1, 2, 3)) / count_a.clamp(min=1)
    score = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return torch.where((count_a == 0) & (count_b == 0), torch.ones_like(score), score)


def _edges(images: Tensor) -> Tensor:
    """Return N x 1 x H x W float64, 1 at edge pixels."""
    grey = images.double().mean(dim=1, keepdim=True) / PEAK
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    smooth, slope = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)
    kernel = torch.tensor(smooth, dtype=torch.float64)[:, None] * torch.tensor(
        slope, dtype=torch.float64
    )
    kernels = torch.stack([kernel, kernel.T])[:, None].to(grey.device) / 8
    across, down = F.conv2d(padded, kernels).unbind(dim=1)
    magnitude = (across.square() + down.square()).sqrt()
    around = F.pad(magnitude, (1, 1, 1, 1))
    rows, columns = magnitude.shape[1:]
    beside = torch.maximum(around[:, 1 : rows + 1, :columns], around[:, 1 : rows + 1, 2:])
    above = torch.maximum(around[:, :rows, 1 : columns + 1], around[:, 2:, 1 : columns + 1])
    strongest = torch.where(across.abs() >= down.abs(), beside, above)
    return ((magnitude >= EDGE_THRESHOLD) & (magnitude >= strongest)).double()[:, None]


def _similarity(
    a: Tensor, b: Tensor, peak: float, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return SSIM, its factor of contrast and structure, and the weight of every inner window."""
    windowed, weight = _windowed, None
    if mask is not None:
        counts = mask.to(a)
        weight = _windowed(counts)

        def windowed(x: Tensor) -> Tensor:
            return _windowed(x * counts) / weight.clamp(min=_LEAST)

    mean_a, mean_b = windowed(a), windowed(b)
    variances = windowed(a * a) - mean_a**2 + windowed(b * b) - mean_b**2
    covariance = windowed(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return luminance * structure, structure, weight


def _windowed(x: Tensor) -> Tensor:
    """Return Gaussian-weighted means over windows that lie inside, down and then across."""
    weights = [math.exp(-0.5 * (k / SSIM_SIGMA) ** 2) for k in range(-SSIM_RADIUS, SSIM_RADIUS + 1)]
    for dim in (2, 3):
        length = x.shape[dim] - 2 * SSIM_RADIUS
        total = torch.zeros_like(x.narrow(dim, 0, length))
        for start, weight in enumerate(weights):
            total.add_(x.narrow(dim, start, length), alpha=weight / sum(weights))
        x = total
    return x
