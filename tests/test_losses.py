from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.losses import (
    GAN_LOSSES,
    discriminator_accuracy,
    feature_matching,
    gradient_penalty,
    kl_divergence,
    l1,
    l2,
    perceptual,
    r1,
)

LN2 = math.log(2)
LN3 = math.log(3)
LN4_3 = math.log(4 / 3)


def logits(*values: float) -> Tensor:
    return torch.tensor(values).reshape(1, 1, 1, -1)


# By hand, at the logits 0 and ln 3 (a probability of 3/4).
@pytest.mark.parametrize(
    ("name", "d_real", "d_fake", "g"),
    [
        ("vanilla", (LN2 + LN4_3) / 2, (LN2 + 2 * LN2) / 2, (LN2 + LN4_3) / 2),
        ("lsgan", (1 + (LN3 - 1) ** 2) / 2, LN3**2 / 2, (1 + (LN3 - 1) ** 2) / 2),
        ("hinge", 0.5, (2 + LN3) / 2, -LN3 / 2),
        ("wgan-gp", -LN3 / 2, LN3 / 2, -LN3 / 2),
    ],
)  # fmt: skip
def test_values_by_hand(name: str, d_real: float, d_fake: float, g: float) -> None:
    loss, judged = GAN_LOSSES[name], logits(0.0, LN3)
    assert loss.d_real(judged).item() == pytest.approx(d_real, rel=1e-5)
    assert loss.d_fake(judged).item() == pytest.approx(d_fake, rel=1e-5)
    assert loss.g(judged).item() == pytest.approx(g, rel=1e-5)


def test_vanilla_is_binary_cross_entropy_for_every_label() -> None:
    judged = 8 * torch.randn(500, generator=torch.Generator().manual_seed(0))
    for label in (1.0, 0.9, 0.7):
        expected = F.binary_cross_entropy_with_logits(judged, torch.full_like(judged, label))
        assert GAN_LOSSES["vanilla"].d_real(judged, label).item() == pytest.approx(
            expected.item(), rel=1e-5
        )


@pytest.mark.parametrize("name", sorted(GAN_LOSSES))
def test_good_comes_before_bad(name: str) -> None:
    loss = GAN_LOSSES[name]
    # Between what lsgan calls fake and real, and within hinge's margins.
    steps = [logits(v, v + 0.1) for v in (0.0, 0.2, 0.4, 0.6, 0.8)]
    real, fake, fooled = ([f(s).item() for s in steps] for f in (loss.d_real, loss.d_fake, loss.g))
    assert real == sorted(real, reverse=True)
    assert fake == sorted(fake)
    assert fooled == sorted(fooled, reverse=True)
    assert len(set(real)) == len(set(fake)) == len(set(fooled)) == len(steps)


@pytest.mark.parametrize("name", sorted(GAN_LOSSES))
def test_gradients_push_real_up_fake_down_and_the_generators_up(name: str) -> None:
    loss = GAN_LOSSES[name]
    for function, sign in ((loss.d_real, -1), (loss.d_fake, 1), (loss.g, -1)):
        judged = logits(0.2, 0.7).requires_grad_()
        function(judged).backward()
        assert judged.grad is not None
        assert (torch.sign(judged.grad) == sign).all()


def test_hinge_asks_no_more_beyond_its_margin() -> None:
    assert GAN_LOSSES["hinge"].d_real(logits(1.0, 5.0)).item() == 0
    assert GAN_LOSSES["hinge"].d_fake(logits(-1.0, -5.0)).item() == 0


def test_vanilla_stays_finite_far_out() -> None:
    loss, judged = GAN_LOSSES["vanilla"], logits(-1e4, 1e4).requires_grad_()
    total = loss.d_real(judged, 0.9) + loss.d_fake(judged) + loss.g(judged)
    total.backward()
    assert total.item() == pytest.approx(1.5e4, rel=1e-4)
    assert judged.grad is not None
    assert torch.isfinite(judged.grad).all()


def test_soft_labels_have_their_optimum_at_the_label() -> None:
    best = {"vanilla": math.log(0.9 / 0.1), "lsgan": 0.9}
    for name, at in best.items():
        judged = logits(at).requires_grad_()
        GAN_LOSSES[name].d_real(judged, 0.9).backward()
        assert judged.grad is not None
        assert abs(judged.grad.item()) < 1e-6


@pytest.mark.parametrize("name", ["hinge", "wgan-gp"])
def test_losses_without_labels_refuse_soft_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=f"real_label is 0.9, but the {name} loss has no labels"):
        GAN_LOSSES[name].d_real(logits(0.0), 0.9)


@pytest.mark.parametrize("name", sorted(GAN_LOSSES))
def test_low_precision_is_raised_before_the_mean(name: str) -> None:
    judged = torch.linspace(-1, 1, 1001).to(torch.bfloat16)
    for function in (GAN_LOSSES[name].d_real, GAN_LOSSES[name].d_fake, GAN_LOSSES[name].g):
        value = function(judged)
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(function(judged.double()).item(), rel=1e-5, abs=1e-6)


def test_l1_and_l2_are_means_over_all_values() -> None:
    fake, real = torch.zeros(2, 1, 1, 2), torch.tensor([1.0, -1, 3, 0]).reshape(2, 1, 1, 2)
    assert l1(fake, real).item() == pytest.approx(5 / 4)
    assert l2(fake, real).item() == pytest.approx(11 / 4)
    assert l1(fake.bfloat16(), real).dtype == torch.float32


def linear_critic(slope: float, pixels: int, patches: int = 1) -> nn.Module:
    """Return a critic whose gradient has the norm `slope` everywhere."""
    critic = nn.Linear(pixels, patches, bias=True)
    with torch.no_grad():
        drawn = torch.randn(1, pixels, generator=torch.Generator().manual_seed(4))
        critic.weight.copy_(drawn.expand(patches, -1))
        critic.weight *= slope / critic.weight[0].norm()
    return nn.Sequential(nn.Flatten(), critic)


def penalty(critic: nn.Module, target: float = 1.0, seed: int = 0, weight: float = 1.0) -> Tensor:
    drawn = torch.Generator().manual_seed(5)
    real, fake = (torch.randn(3, 2, 4, 4, generator=drawn) for _ in range(2))
    rng = torch.Generator().manual_seed(seed)
    return gradient_penalty(critic, real, fake, weight=weight, target=target, generator=rng)


@pytest.mark.parametrize("patches", [1, 7])
@pytest.mark.parametrize("slope", [0.25, 1.0, 3.0])
def test_the_penalty_of_a_linear_critic(slope: float, patches: int) -> None:
    critic = linear_critic(slope, 32, patches)
    assert penalty(critic).item() == pytest.approx((slope - 1) ** 2, rel=1e-5, abs=1e-9)
    assert penalty(critic, target=slope).item() == pytest.approx(0, abs=1e-9)
    assert penalty(critic, weight=10).item() == pytest.approx(
        10 * (slope - 1) ** 2, rel=1e-5, abs=1e-9
    )


def test_the_penalty_drives_the_slope_to_its_target() -> None:
    critic = linear_critic(3.0, 32)
    optimiser = torch.optim.SGD(critic.parameters(), lr=0.1)
    for step in range(60):
        optimiser.zero_grad()
        penalty(critic, seed=step).backward()
        optimiser.step()
    assert critic.get_parameter("1.weight").norm().item() == pytest.approx(1, abs=1e-3)


def test_the_penalty_of_a_constant_critic_has_finite_gradients() -> None:
    critic = linear_critic(1.0, 32)
    with torch.no_grad():
        critic.get_parameter("1.weight").zero_()
    value = penalty(critic)
    value.backward()
    assert value.item() == pytest.approx(1)
    assert torch.isfinite(critic.get_parameter("1.weight").grad).all()  # pyright: ignore


def test_the_penalty_looks_between_real_and_fake_where_its_generator_says() -> None:
    seen: list[Tensor] = []

    def critic(images: Tensor) -> Tensor:
        seen.append(images.detach())
        return images.square().flatten(1).sum(dim=1)

    real, fake = torch.ones(4, 1, 2, 2), torch.zeros(4, 1, 2, 2, requires_grad=True)
    before = torch.get_rng_state()
    for seed in (1, 1, 2):
        rng = torch.Generator().manual_seed(seed)
        gradient_penalty(critic, real, fake, generator=rng).backward()
    assert torch.equal(torch.get_rng_state(), before)
    assert fake.grad is None
    first, same, other = seen
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert ((first > 0) & (first < 1)).all()
    assert len(set(first[:, 0, 0, 0].tolist())) == 4, "one draw a sample"
    assert torch.equal(first, first[:, :, :1, :1].expand_as(first)), "and the same for its pixels"


@pytest.mark.parametrize(
    ("real", "fake", "threshold", "expected"),
    [
        ((1.0, 2.0), (-1.0, -2.0), 0.0, 1.0),
        ((-1.0, -2.0), (1.0, 2.0), 0.0, 0.0),
        ((1.0, -1.0), (-1.0, -1.0), 0.0, 0.75),
        ((0.4, 0.6), (0.4, 0.6), 0.5, 0.5),
        ((0.4, 0.9), (0.1, 0.2), 0.5, 0.75),
        ((0.0, 0.0), (0.0, 0.0), 0.0, 0.5),
        ((7.0, 9.0), (6.0, 9.5), None, 0.5),
        ((7.0, 9.0), (6.0, 8.0), None, 1.0),
    ],
)
def test_accuracy(
    real: tuple[float, ...], fake: tuple[float, ...], threshold: float | None, expected: float
) -> None:
    found = discriminator_accuracy(logits(*real), logits(*fake), threshold=threshold)
    assert found.item() == pytest.approx(expected)


def test_accuracy_weighs_real_and_fake_alike_and_carries_no_graph() -> None:
    real = torch.ones(1, 1, 1, 1, requires_grad=True)
    found = discriminator_accuracy(real, torch.ones(1, 1, 3, 3))
    assert found.item() == pytest.approx(0.5)
    assert not found.requires_grad


def test_thresholds_are_where_a_loss_is_undecided() -> None:
    thresholds = {name: loss.threshold for name, loss in GAN_LOSSES.items()}
    assert thresholds == {"vanilla": 0.0, "lsgan": 0.5, "hinge": 0.0, "wgan-gp": None}
    for name, threshold in thresholds.items():
        if threshold is not None:
            at = logits(threshold)
            assert GAN_LOSSES[name].d_real(at).item() == GAN_LOSSES[name].d_fake(at).item()


# Losses on features, codes and slopes: their values by hand, and where gradients go


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
def test_r1_of_a_linear_discriminator_is_half_its_slope_squared(slope: float, patches: int) -> None:
    discriminator = nn.Linear(32, 1)
    with torch.no_grad():
        discriminator.weight *= slope / discriminator.weight.norm()

    def scales(pictures: Tensor) -> list[Tensor]:
        logits = discriminator(pictures.flatten(1))
        return [logits.expand(-1, patches), 2 * logits]

    real = drawn(4, 2, 4, 4)
    one, two = r1(scales, real)
    assert one.item() == pytest.approx(0.5 * slope**2, rel=1e-5)
    assert two.item() == pytest.approx(0.5 * (2 * slope) ** 2, rel=1e-5)
    one.backward()
    assert discriminator.weight.grad is not None
    # d/dw of ||w||^2 / 2 is w.
    torch.testing.assert_close(
        discriminator.weight.grad, discriminator.weight.detach(), rtol=1e-4, atol=1e-6
    )
    assert not real.requires_grad
