"""What is measured means what it says: each on tensors whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from limner.health.measurements import (
    blob,
    contrast,
    flat_error,
    following,
    gradient_norm,
    gradient_shares,
    moved,
    saturation,
    spectra,
    update_ratio,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_norm_of_gradients_is_that_of_all_together() -> None:
    weights = [torch.zeros(3, requires_grad=True), torch.zeros(4, requires_grad=True)]
    (3 * weights[0][0] + 4 * weights[1][1]).backward()
    assert float(gradient_norm([*weights, torch.zeros(2)])) == pytest.approx(5)
    assert float(gradient_norm([torch.zeros(2)])) == 0


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_the_update_is_told_from_the_moments(kind: type, steps: int) -> None:
    weight = noise(5, 4).requires_grad_()
    optimizer = kind([weight], lr=1e-2, betas=(0.5, 0.9), weight_decay=0.0)
    before = weight.detach().clone()
    for step in range(steps):
        optimizer.zero_grad()
        (weight * noise(5, 4, seed=step)).sum().backward()
        before = weight.detach().clone()
        optimizer.step()
    truth = (weight.detach() - before).norm() / weight.detach().norm()
    assert float(update_ratio(optimizer, updates=steps)) == pytest.approx(float(truth), rel=1e-4)


def test_shares_are_those_of_the_gradients_not_of_the_values() -> None:
    picture = noise(1, 3, 8, 8).requires_grad_()
    loud = {"l1": 3 * picture.sum() + 1000, "gan": -picture.sum(), "kl": torch.zeros(())}
    shares = gradient_shares(loud, picture)
    assert shares.keys() == {"l1", "gan"}
    assert float(shares["l1"]) == pytest.approx(0.75)
    assert float(shares["gan"]) == pytest.approx(0.25)


def test_a_generator_that_ignores_its_source_does_not_follow() -> None:
    target = noise(2, 3, 16, 16)
    same = noise(2, 3, 16, 16, seed=1)
    assert float(following(same, same, target)) == 0
    assert float(following(target, moved(target), target)) == pytest.approx(1)


def test_a_flat_picture_has_no_contrast_and_the_error_of_the_mean_colour() -> None:
    target = torch.tensor([-0.5, 0.5]).repeat(8)[None, None, None].expand(1, 3, 16, 16)
    assert float(flat_error(target)) == pytest.approx(0.5)
    assert float(contrast(target)) == pytest.approx(0.5)
    assert float(contrast(torch.full((1, 3, 8, 8), 0.3))) == pytest.approx(0, abs=1e-6)


def test_saturation_counts_what_tanh_cannot_move() -> None:
    picture = torch.tensor([-1.0, 1.0, 0.999, 0.5])[None, None, None]
    assert float(saturation(picture)) == pytest.approx(0.75)


@pytest.mark.parametrize("side", [64, 96, 60])
@pytest.mark.parametrize("stride", [2, 4])
def test_a_pattern_of_a_stride_is_seen_with_its_amplitude(stride: int, side: int) -> None:
    target = torch.nn.functional.avg_pool2d(noise(1, 3, side, side), 3, 1, 1)
    wave = 0.1 * torch.cos(2 * math.pi * torch.arange(side) / stride)
    found = spectra(target + wave, target)
    expected = 0.1 / float(contrast(target)) * (1 if stride == 2 else 1 / math.sqrt(2))
    assert float(found["checkerboard"]) == pytest.approx(expected, rel=0.35)
    assert float(found["checkerboard_decibels"]) > 3


def test_noise_and_blur_are_no_pattern_and_tell_by_high_frequencies() -> None:
    target = noise(1, 3, 64, 64)
    blurred = torch.nn.functional.avg_pool2d(target, 5, 1, 2)
    noisy = target + noise(1, 3, 64, 64, seed=3)
    alike = spectra(target, target)
    assert float(alike["high_frequencies"]) == pytest.approx(1)
    assert float(alike["checkerboard"]) == 0
    assert float(spectra(blurred, target)["high_frequencies"]) < 0.2
    assert float(spectra(noisy, target)["high_frequencies"]) > 1.5
    assert abs(float(spectra(noisy, target)["checkerboard"])) < 0.05


def test_one_spot_far_off_is_a_blob_and_errors_all_over_are_none() -> None:
    target = 0.1 * noise(1, 3, 64, 64)
    tiles = noise(1, 3, 16, 16, seed=1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    everywhere = target + 0.3 * tiles
    spot = target + 0.02
    spot[..., 20:28, 20:28] = 1.0
    assert float(blob(spot, target)) > 20
    assert float(blob(everywhere, target)) < 4


@pytest.mark.parametrize("side", [4, 8, 20])
def test_small_pictures_are_measured_too(side: int) -> None:
    picture, target = noise(1, 3, side, side), noise(1, 3, side, side, seed=1)
    found = [*spectra(picture, target).values(), blob(picture, target)]
    assert all(math.isfinite(float(value)) for value in found)
