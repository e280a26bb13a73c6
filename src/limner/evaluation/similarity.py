"""How near each picture is to its own target: L1, PSNR and SSIM of uint8 pairs.

Every function takes two N x C x H x W uint8 batches of one shape and returns N float64 values.
torchmetrics' SSIM is not used: in float32 it is off by 5e-5, in float64 it takes twenty times as
long, and its mean takes mirrored borders in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limner.errors import DataError

PEAK = 255.0

PSNR_CAP = 100.0
"""dB. Equal images have an infinite ratio, which neither a mean nor JSON can hold."""

SSIM_RADIUS = 5
SSIM_SIGMA = 1.5


def l1(real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean absolute difference over channels and pixels, levels scaled to [0, 1]."""
    return (real.double() - fake.double()).abs().mean(dim=(1, 2, 3)) / PEAK


def psnr(real: Tensor, fake: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB, peak 255, at most `PSNR_CAP`."""
    error = (real.double() - fake.double()).square().mean(dim=(1, 2, 3))
    return (10 * torch.log10(PEAK**2 / error)).clamp(max=PSNR_CAP)


def ssim(real: Tensor, fake: Tensor) -> Tensor:
    """Return the structural similarity, the mean over channels and inner pixels.

    Wang et al. 2004 (doi:10.1109/TIP.2003.819861), equation 13 with K1 = 0.01, K2 = 0.03 and an
    11 x 11 Gaussian window of deviation 1.5, only where the whole window lies inside: the figures
    of scikit-image with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=255`. Raises `DataError` for images smaller than the window.
    """
    height, width = real.shape[-2:]
    window = 2 * SSIM_RADIUS + 1
    if min(height, width) < window:
        raise DataError(
            f"ssim needs images of at least {window}x{window} pixels, not {width}x{height}: leave "
            "it out of the metrics"
        )
    a, b = real.double(), fake.double()
    mean_a, mean_b = _windowed(a), _windowed(b)
    variances = _windowed(a * a) - mean_a**2 + _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))


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
