"""L1, PSNR and SSIM of single pairs (scikit-image's figures: test_reference_metrics.py)."""

from __future__ import annotations

import drawn
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from limner.errors import DataError
from limner.evaluation.metrics.per_pixel import l1, mae, ms_ssim, psnr, rmse, ssim


def test_values_that_can_be_reckoned_by_hand() -> None:
    real = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    fake = torch.full((1, 3, 16, 16), 151, dtype=torch.uint8)
    assert l1(real, fake).item() == pytest.approx(51 / 255)
    assert psnr(real, fake).item() == pytest.approx(13.979400086720377)  # 20 log10(255 / 51)
    # Without structure only the means count.
    expected = (2 * 100 * 151 + 2.55**2) / (100**2 + 151**2 + 2.55**2)
    assert ssim(real, fake).item() == pytest.approx(expected, rel=1e-9)


def test_equal_images_have_the_best_values_and_no_infinity() -> None:
    x = drawn.image(1)[None]
    assert l1(x, x).item() == 0
    assert psnr(x, x).item() == 100
    assert ssim(x, x).item() == pytest.approx(1, abs=1e-12)


def test_negatives_have_negative_structure() -> None:
    x = drawn.image(1)[None]
    assert ssim(x, 255 - x).item() < -0.2


def test_more_damage_is_worse() -> None:
    x = drawn.image(3, noise=2)
    for damaged in (
        [drawn.noisy(x, levels=n) for n in (2, 10, 40, 100)],
        [drawn.blurred(x, times=n) for n in (1, 2, 4, 8)],
    ):
        batch = torch.stack(damaged)
        real = x.expand_as(batch)
        assert l1(real, batch).diff().min() > 0
        assert psnr(real, batch).diff().max() < 0
        assert ssim(real, batch).diff().max() < 0


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
def test_each_image_has_its_own_value(metric) -> None:
    real = torch.stack([drawn.image(n) for n in range(3)])
    fake = torch.stack([drawn.noisy(x, levels=5 + 20 * n) for n, x in enumerate(real)])
    alone = [metric(real[n : n + 1], fake[n : n + 1]).item() for n in range(3)]
    assert metric(real, fake).tolist() == pytest.approx(alone, rel=1e-12)
    assert metric(fake, real).tolist() == pytest.approx(alone, rel=1e-12)


def test_grey_has_the_value_of_its_copies_in_three_channels() -> None:
    a, b = drawn.image(1)[None, :1], drawn.image(2)[None, :1]
    for metric in (l1, psnr, ssim):
        wide = metric(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1))
        assert metric(a, b).item() == pytest.approx(wide.item(), rel=1e-12)


def test_ssim_needs_room_for_its_window() -> None:
    x = torch.zeros(1, 3, 11, 30, dtype=torch.uint8)
    assert ssim(x, x).item() == 1
    with pytest.raises(DataError, match="at least 11x11 pixels, not 30x10"):
        ssim(x[:, :, :10], x[:, :, :10])


def shot(seed: int, side: int = 40) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(2, 2, side, side, generator=rng, dtype=torch.float64) * 4000 - 1000


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
def test_the_range_is_the_peak_and_figures_are_scikit_image_s(metric) -> None:
    a, b = shot(0), shot(1)
    scaled = metric(a / 4000, b / 4000, peak=1)
    assert metric(a, b, peak=4000).tolist() == pytest.approx(scaled.tolist())
    images = [x[0, 0].numpy() for x in (a, b)]
    expected = {
        l1: np.abs(images[0] - images[1]).mean() / 4000,
        psnr: peak_signal_noise_ratio(*images, data_range=4000),
        ssim: structural_similarity(
            *images,
            data_range=4000,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        ),
    }[metric]
    assert metric(a[:1, :1], b[:1, :1], peak=4000).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", [l1, mae, rmse, psnr, ssim, ms_ssim])
def test_pixels_outside_the_mask_are_of_no_consequence(metric) -> None:
    side = 176 if metric is ms_ssim else 40
    a, b = shot(0, side), shot(1, side)
    whole = torch.ones(2, 1, side, side)
    rng = torch.Generator().manual_seed(3)
    part = (torch.rand(2, 1, side, side, generator=rng) < 0.3).double()
    part[1, :, 6:, :] = 0  # near the edge alone, where no window has its centre
    part[1, :, :, 6:] = 0
    assert metric(a, b, mask=whole).tolist() == pytest.approx(metric(a, b).tolist(), rel=1e-9)
    value = metric(a, b, mask=part)
    hidden = [torch.where(part > 0, x, y) for x, y in ((a, shot(8, side)), (b, shot(9, side)))]
    assert torch.equal(value, metric(*hidden, mask=part))
    better = metric(a, torch.where(part > 0, a, b), mask=part)
    assert better.tolist() == pytest.approx(metric(a, a).tolist())
    assert (value != better).all()


def test_means_are_over_the_mask() -> None:
    a, b = shot(0), shot(1)
    mask = torch.zeros(2, 1, 40, 40, dtype=torch.bool)
    mask[:, :, 3:9, 20:] = True
    inside = (a - b)[:, :, 3:9, 20:]
    assert mae(a, b, mask=mask).tolist() == pytest.approx(inside.abs().mean(dim=(1, 2, 3)).tolist())
    assert rmse(a, b, mask=mask).tolist() == pytest.approx(
        inside.square().mean(dim=(1, 2, 3)).sqrt().tolist()
    )
