"""What a picture's grey values tell: whether and by how much it was enlarged."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from limner.checks.quality import enlargement
from limner.checks.quality_findings import COPIES

FILTERS = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


def textured(seed: int, *, height: int = 256, width: int = 256) -> np.ndarray:
    """Return grey values whose spectrum falls off as that of photos does."""
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    radius = np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    waves = np.fft.fft2(rng.normal(size=(height, width))) / radius
    picture = np.fft.ifft2(waves).real
    return ((picture / picture.std()) * 40 + 128).clip(0, 255).astype(np.float32)


def enlarged(picture: np.ndarray, width: int, height: int, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), how)).round()


@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("side", [64, 72, 85, 96, 111, 128, 150, 181])
def test_any_factor_is_found(side: int, how: Image.Resampling) -> None:
    small = textured(side, height=side, width=side)
    factor, copies = enlargement(enlarged(small, 256, 256, how))
    assert copies >= COPIES
    assert factor == pytest.approx(256 / side, rel=0.03)


def test_rows_and_columns_may_be_enlarged_by_factors_of_their_own() -> None:
    small = textured(0, height=100, width=160)
    factor, copies = enlargement(enlarged(small, 256, 256, Image.Resampling.BICUBIC))
    assert copies >= COPIES
    assert factor == pytest.approx(1.6, rel=0.03)


def test_one_side_alone_is_no_enlargement() -> None:
    small = textured(0, height=256, width=128)
    assert enlargement(enlarged(small, 256, 256, Image.Resampling.BICUBIC))[1] < COPIES


@pytest.mark.parametrize("seed", range(6))
def test_pictures_of_their_own_size_are_left_alone(seed: int) -> None:
    picture = textured(seed, height=256, width=320)
    assert enlargement(picture)[1] < COPIES
    shrunk = enlarged(picture, 200, 160, Image.Resampling.LANCZOS)
    assert enlargement(shrunk)[1] < COPIES


@pytest.mark.parametrize("period", [5, 8, 16, 21])
def test_repeated_patterns_are_no_enlargement(period: int) -> None:
    rows, columns = np.mgrid[:256, :256]
    bricks = ((rows % period < 2) | ((columns + rows // period * period // 2) % period < 2)) * 90.0
    picture = (textured(period) * 0.4 + bricks).astype(np.float32)
    assert enlargement(picture)[1] < COPIES


def test_little_pictures_accuse_nobody() -> None:
    assert enlargement(np.zeros((16, 300), np.float32)) == (1.0, 0.0)
    assert enlargement(np.full((64, 64), 7, np.float32))[1] < COPIES
