"""MS-SSIM, the edge F-score and DISTS: order, extremes, symmetry, hand-made cases."""

from __future__ import annotations

import drawn
import pytest
import torch
from torch import Tensor

from limner.errors import DataError, WeightsError
from limner.evaluation.metrics.learned import DISTS
from limner.evaluation.metrics.per_pixel import edge_f, ms_ssim, ssim
from limner.networks import pretrained as store


def large(seed: int) -> Tensor:
    return drawn.image(seed, height=176, width=192)[None]


def stripe(at: int, *, size: int = 32) -> Tensor:
    """A bright half plane from the column `at` on: one vertical edge."""
    image = torch.zeros(1, 1, size, size, dtype=torch.uint8)
    image[..., at:] = 200
    return image


def test_ms_ssim_is_one_for_equals_and_falls_with_blur() -> None:
    x = large(1)
    values = [ms_ssim(x, drawn.blurred(x[0], times=t)[None]).item() for t in (1, 3, 6)]
    assert ms_ssim(x, x).item() == pytest.approx(1, abs=1e-12)
    assert 1 > values[0] > values[1] > values[2] > 0
    # Coarse scales hardly see a blur.
    assert values[2] > ssim(x, drawn.blurred(x[0], times=6)[None]).item()


def test_ms_ssim_counts_the_whole_similarity_at_the_last_scale_only() -> None:
    x = torch.full((1, 3, 176, 176), 100, dtype=torch.uint8)
    y = torch.full((1, 3, 176, 176), 150, dtype=torch.uint8)
    # Flat pictures differ in luminance only, so the last scale's exponent stands alone.
    assert ms_ssim(x, y).item() == pytest.approx(ssim(x, y).item() ** 0.1333, rel=1e-9)


def test_ms_ssim_says_what_it_needs() -> None:
    with pytest.raises(DataError, match="at least 176x176 pixels, not 192x175"):
        ms_ssim(large(1)[:, :, 1:], large(1)[:, :, 1:])


def test_edges_within_two_pixels_are_met_and_beyond_are_not() -> None:
    values = [edge_f(stripe(16), stripe(16 + moved)).item() for moved in (0, 1, 2, 3, 6)]
    # The edge is two pixels wide (Sobel), so three pixels on one of the two is still met.
    assert values == pytest.approx([1, 1, 1, 0.5, 0], abs=1e-9)


def test_edge_f_weighs_missing_and_invented_edges() -> None:
    both = torch.maximum(stripe(8), stripe(24))
    both[..., 24:] = 90
    one = both.clone()
    one[..., 24:] = 200
    # Half of the edges missing: P = 1, R = 1/2; invented: the other way round.
    assert edge_f(both, one).item() == pytest.approx(2 / 3, abs=1e-9)
    assert edge_f(one, both).item() == pytest.approx(2 / 3, abs=1e-9)
    flat = torch.full_like(one, 7)
    assert edge_f(flat, flat).tolist() == [1.0]
    assert edge_f(one, flat).tolist() == edge_f(flat, one).tolist() == [0.0]


def test_edge_f_does_not_mind_brightness_or_direction_but_minds_blur() -> None:
    x = large(2)
    paler = (x // 2 + 100).to(torch.uint8)
    soft = drawn.blurred(x[0], times=8)[None]
    assert edge_f(x, x).item() == 1
    assert edge_f(x, paler).item() > edge_f(x, soft).item()
    turned = edge_f(x.transpose(2, 3), soft.transpose(2, 3))
    assert turned.item() == pytest.approx(edge_f(x, soft).item(), abs=0.01)


@pytest.fixture(scope="module")
def dists(vgg16_state: dict[str, Tensor]) -> DISTS:
    network = DISTS().eval()
    network.load(vgg16_state, store.load("dists", download=False))
    return network


def test_dists_is_zero_for_equals_symmetric_and_orders_noise(dists: DISTS) -> None:
    x = drawn.image(3, height=48, width=64)
    a = x[None].float() / 255
    noisy = [drawn.noisy(x, levels=n)[None].float() / 255 for n in (10, 40, 90)]
    with torch.inference_mode():
        values = [dists(a, b).item() for b in noisy]
        assert dists(a, a).item() == pytest.approx(0, abs=1e-5)
        assert dists(noisy[1], a).item() == pytest.approx(values[1], abs=1e-6)
        together = dists(a.expand(3, -1, -1, -1), torch.cat(noisy)).tolist()
    assert 0 < values[0] < values[1] < values[2] < 1
    assert together == pytest.approx(values, abs=1e-5)


def test_dists_pool_is_the_root_of_weighted_squares(dists: DISTS) -> None:
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 4.0
    # Stride 2 with one pixel of padding: the middle output has the pixel in its middle, of 1/4.
    pooled = dists._l2_pooled(x)
    assert pooled.shape == (1, 1, 3, 3)
    assert pooled[0, 0, 1, 1].item() == pytest.approx(2.0, rel=1e-5)
    assert pooled[0, 0, 0, 0].item() == pytest.approx(0, abs=1e-5)


def test_dists_refuses_what_does_not_fit(dists: DISTS, vgg16_state: dict[str, Tensor]) -> None:
    with pytest.raises(DataError, match="at least 16x16 pixels, not 40x15"):
        dists(torch.zeros(1, 3, 15, 40), torch.zeros(1, 3, 15, 40))
    with pytest.raises(WeightsError, match=r"x\.pt has no 'beta' of 1475 numbers"):
        DISTS().load(vgg16_state, {"alpha": torch.ones(1475)}, heads_origin="x.pt")
