"""Slope, sharpness and colour of pictures whose figures are known."""

from __future__ import annotations

import drawn
import numpy as np
import pytest
import torch
from torch import Tensor

from limner.errors import DataError
from limner.evaluation.segmentation.looks import (
    colourfulness,
    look,
    mean_look,
    sharpness,
    spectrum_slope,
)


def power_law(exponent: float, *, height: int, width: int, seed: int = 0) -> Tensor:
    """Noise whose power falls as the frequency to -exponent, in levels around 128."""
    rng = np.random.RandomState(seed)
    noise = np.fft.rfft2(rng.randn(height, width))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    shaped = np.fft.irfft2(noise * frequency ** (-exponent / 2), s=(height, width))
    return torch.from_numpy(128 + 40 * shaped / shaped.std())


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("size", [(256, 256), (128, 384)])
def test_the_slope_is_that_of_the_power_law(exponent: float, size: tuple[int, int]) -> None:
    drawn_slopes = [
        spectrum_slope(power_law(exponent, height=size[0], width=size[1], seed=seed))
        for seed in range(8)
    ]
    assert np.mean(drawn_slopes) == pytest.approx(-exponent, abs=0.06)


def test_contrast_and_brightness_leave_the_slope_and_blur_does_not() -> None:
    grey = power_law(2, height=128, width=128)
    slope = spectrum_slope(grey)
    assert spectrum_slope(0.5 * grey + 30) == pytest.approx(slope, abs=0.02)
    blurred = (grey + grey.roll(1, 0) + grey.roll(1, 1) + grey.roll((1, 1), (0, 1))) / 4
    assert spectrum_slope(blurred) < slope - 0.5
    assert spectrum_slope(torch.full((64, 64), 77.0, dtype=torch.float64)) == pytest.approx(0)


def test_borders_that_do_not_meet_are_no_detail() -> None:
    ramp = 1000 * torch.arange(128, dtype=torch.float64).expand(128, 128)
    # Without a window the jump from the last column to the first would fall as frequency to -2.
    assert spectrum_slope(ramp) < -4


def test_the_sharpness_of_stripes_is_known() -> None:
    stripes = torch.zeros(16, 16, dtype=torch.float64)
    stripes[:, ::2] = 10
    # Each pixel differs by 10 from both neighbours beside it, and not from those above and below.
    assert sharpness(stripes) == pytest.approx(20)
    assert sharpness(torch.full((16, 16), 9.0)) == 0


def test_colourfulness_by_hand() -> None:
    halves = torch.zeros(3, 16, 16, dtype=torch.uint8)
    halves[0, :, :8] = 100
    # red - green: 100 and 0, mean and deviation 50; (red + green) / 2 - blue: 50 and 0, both 25.
    expected = np.hypot(50, 25) + 0.3 * np.hypot(50, 25)
    assert colourfulness(halves) == pytest.approx(expected)
    assert colourfulness(torch.randint(0, 256, (1, 16, 16)).to(torch.uint8)) == 0


def test_a_set_has_the_means_of_its_pictures() -> None:
    pictures = [drawn.image(n) for n in range(3)]
    looks = [look(picture) for picture in pictures]
    found = mean_look(looks)
    assert found.sharpness == pytest.approx(sum(one.sharpness for one in looks) / 3)
    soft = mean_look([look(drawn.blurred(picture, times=3)) for picture in pictures])
    assert soft.spectrum_slope < found.spectrum_slope - 0.5
    assert soft.sharpness < found.sharpness / 2
    grey = pictures[0].float().mean(0, keepdim=True).to(torch.uint8)
    assert look(grey).spectrum_slope == look(grey.expand(3, -1, -1)).spectrum_slope


def test_tiny_pictures_are_refused() -> None:
    with pytest.raises(DataError, match="at least 16x16 pixels, not 40x12"):
        look(torch.zeros(3, 12, 40, dtype=torch.uint8))
