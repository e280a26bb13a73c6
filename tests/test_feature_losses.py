"""Losses on features, codes and slopes: their values by hand, and where gradients go."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.losses import feature_matching, kl_divergence, perceptual, r1


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pyramid(offset: float, *, scales: int, layers: int) -> list[list[Tensor]]:
    """Features that differ from those of offset 0 by `offset` everywhere, logits by a million."""
    features = [[drawn(2, 3, 4, 4, seed=7 * s + i) for i in range(layers)] for s in range(scales)]
    return [[layer + offset for layer in s] + [torch.full((2, 1), 1e6 * offset)] for s in features]


@pytest.mark.parametrize("scales", [1, 2, 3])
@pytest.mark.parametrize("layers", [1, 4, 6])
def test_matching_weighs_depth_and_scales_out_and_leaves_out_logits(
    scales: int, layers: int
) -> None:
    real, fake = (pyramid(offset, scales=scales, layers=layers) for offset in (0.0, 0.25))
    assert feature_matching(fake, real).item() == pytest.approx(4 * 0.25, rel=1e-4)
    assert feature_matching(real, real).item() == 0


@pytest.mark.parametrize("layers", [1, 3, 4])
def test_matching_by_the_sum_is_spades_at_any_depth(layers: int) -> None:
    real, fake = (pyramid(offset, scales=2, layers=layers) for offset in (0.0, 0.25))
    matched = feature_matching(fake, real, layers="sum").item()
    assert matched == pytest.approx(layers * 0.25, rel=1e-4)


def test_matching_is_the_references_sum_at_their_depth() -> None:
    """Four inner layers (n_layers_D = 3): each has weight 4 / (3 + 1) over num_D = 2 scales."""
    real, fake = (
        [[drawn(1, 2, 5, 5, seed=seed + 10 * s + i) for i in range(5)] for s in range(2)]
        for seed in (0, 100)
    )
    expected = sum(
        (0.5 * 4 / (3 + 1) * (f - r).abs().mean()).item()
        for scale in zip(fake, real, strict=True)
        for f, r in list(zip(*scale, strict=True))[:-1]
    )
    assert feature_matching(fake, real).item() == pytest.approx(expected, rel=1e-5)


def test_matching_and_perception_teach_the_generator_alone() -> None:
    for loss in (
        lambda fake, real: feature_matching([[fake, fake]], [[real, real]]),
        lambda fake, real: perceptual([fake], [real], [1.0]),
    ):
        fake, real = drawn(1, 2, 3, 3).requires_grad_(), drawn(1, 2, 3, 3, seed=1).requires_grad_()
        loss(fake, real).backward()
        assert real.grad is None
        assert fake.grad is not None
        assert float(fake.grad.abs().min()) > 0


def test_matching_needs_inner_layers() -> None:
    only_logits = [[torch.zeros(1, 1, 2, 2)]]
    with pytest.raises(ConfigError, match=r"feature_matching needs inner layers"):
        feature_matching(only_logits, only_logits)


def test_perception_is_the_weighted_sum_of_mean_differences() -> None:
    real = [drawn(1, c, 4, 4, seed=c) for c in (2, 3)]
    fake = [real[0] + 0.5, real[1] - 2.0]
    assert perceptual(fake, real, (1 / 32, 0.25)).item() == pytest.approx(0.5 / 32 + 0.5, rel=1e-5)


def test_divergence_by_hand_and_as_torch_has_it() -> None:
    assert kl_divergence(torch.zeros(3, 8), torch.zeros(3, 8)).item() == 0
    one = kl_divergence(torch.tensor([[2.0]]), torch.tensor([[math.log(4.0)]]))
    assert one.item() == pytest.approx(0.5 * (4 + 4 - 1 - math.log(4)))
    mean, logvar = drawn(5, 8), drawn(5, 8, seed=1)
    normal = torch.distributions.Normal
    theirs = torch.distributions.kl_divergence(
        normal(mean, (0.5 * logvar).exp()), normal(torch.zeros(5, 8), torch.ones(5, 8))
    )
    assert kl_divergence(mean, logvar).item() == pytest.approx(
        theirs.sum(1).mean().item(), rel=1e-5
    )
    assert kl_divergence(mean.repeat(3, 1), logvar.repeat(3, 1)).item() == pytest.approx(
        kl_divergence(mean, logvar).item(), rel=1e-5
    )


@pytest.mark.parametrize("patches", [1, 9])
@pytest.mark.parametrize("slope", [0.5, 3.0])
def test_r1_of_a_linear_judge_is_half_its_slope_squared(slope: float, patches: int) -> None:
    judge = nn.Linear(32, 1)
    with torch.no_grad():
        judge.weight *= slope / judge.weight.norm()

    def scales(pictures: Tensor) -> list[Tensor]:
        logits = judge(pictures.flatten(1))
        return [logits.expand(-1, patches), 2 * logits]

    real = drawn(4, 2, 4, 4)
    one, two = r1(scales, real)
    assert one.item() == pytest.approx(0.5 * slope**2, rel=1e-5)
    assert two.item() == pytest.approx(0.5 * (2 * slope) ** 2, rel=1e-5)
    one.backward()
    assert judge.weight.grad is not None
    # d/dw of ||w||^2 / 2 is w.
    torch.testing.assert_close(judge.weight.grad, judge.weight.detach(), rtol=1e-4, atol=1e-6)
    assert not real.requires_grad
