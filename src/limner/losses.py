"""Losses: pure functions on logits, features and images, each with its equation.

Logits are tensors of any shape, one number a patch; every loss is a mean over all of them, so
that the number of patches does not weigh. Numbers of lower precision than float32 are raised to
it first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import ConfigError


def _raised(values: Tensor) -> Tensor:
    """Return `values` in float32 at least: a mean of bfloat16 keeps two digits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _refuse_soft(label: float, name: str) -> None:
    if label != 1.0:
        raise ConfigError(
            f"objective.real_label is {label}, but the {name} loss has no labels: "
            "set it to 1, or objective.gan to vanilla or lsgan"
        )


def vanilla_d_real(logits: Tensor, label: float = 1.0) -> Tensor:
    """-[y log s(x) + (1 - y) log(1 - s(x))], the first term of Goodfellow et al. 2014, equation 1.

    x are logits, s the logistic function, y the label; written as softplus(-x) + (1 - y) x. A
    label of 0.9 is the one-sided smoothing of Salimans et al. 2016, section 3.4.
    """
    logits = _raised(logits)
    return (F.softplus(-logits) + (1 - label) * logits).mean()


def vanilla_d_fake(logits: Tensor) -> Tensor:
    """-log(1 - s(x)), the second term of Goodfellow et al. 2014, equation 1."""
    return F.softplus(_raised(logits)).mean()


def vanilla_g(logits: Tensor) -> Tensor:
    """-log s(x), the form that does not saturate: Goodfellow et al. 2014, section 3."""
    return F.softplus(-_raised(logits)).mean()


def lsgan_d_real(logits: Tensor, label: float = 1.0) -> Tensor:
    """(x - y)^2, Mao et al. 2017, equation 9 without its 1/2, which is left to the caller."""
    return (_raised(logits) - label).square().mean()


def lsgan_d_fake(logits: Tensor) -> Tensor:
    """x^2, Mao et al. 2017, equation 9 without its 1/2."""
    return _raised(logits).square().mean()


def lsgan_g(logits: Tensor) -> Tensor:
    """(x - 1)^2, Mao et al. 2017, equation 9 without its 1/2."""
    return (_raised(logits) - 1).square().mean()


def hinge_d_real(logits: Tensor, label: float = 1.0) -> Tensor:
    """max(0, 1 - x), Lim and Ye 2017; Miyato et al. 2018, equation 16."""
    _refuse_soft(label, "hinge")
    return F.relu(1 - _raised(logits)).mean()


def hinge_d_fake(logits: Tensor) -> Tensor:
    """max(0, 1 + x), Lim and Ye 2017; Miyato et al. 2018, equation 16."""
    return F.relu(1 + _raised(logits)).mean()


def wasserstein_d_real(logits: Tensor, label: float = 1.0) -> Tensor:
    """-x, Arjovsky et al. 2017, equation 2: the critic raises what is real."""
    _refuse_soft(label, "wgan-gp")
    return -_raised(logits).mean()


def wasserstein_d_fake(logits: Tensor) -> Tensor:
    """x, Arjovsky et al. 2017, equation 2."""
    return _raised(logits).mean()


def negative_mean_g(logits: Tensor) -> Tensor:
    """-x: Miyato et al. 2018, equation 17 (hinge); Arjovsky et al. 2017, algorithm 1 (critic)."""
    return -_raised(logits).mean()


class RealLoss(Protocol):
    """The discriminator's loss on real pictures; `label` is what it is told of them."""

    def __call__(self, logits: Tensor, label: float = 1.0) -> Tensor:
        """Return a scalar."""
        ...


@dataclass(frozen=True)
class GanLoss:
    """One adversarial game: two terms for the discriminator and one for the generator.

    `threshold` is the logit above which the discriminator means "real", None where only
    differences mean anything; `penalised` says that `gradient_penalty` belongs to it.
    """

    d_real: RealLoss
    d_fake: Callable[[Tensor], Tensor]
    g: Callable[[Tensor], Tensor]
    threshold: float | None = 0.0
    penalised: bool = False


GAN_LOSSES: dict[str, GanLoss] = {
    "vanilla": GanLoss(vanilla_d_real, vanilla_d_fake, vanilla_g),
    "lsgan": GanLoss(lsgan_d_real, lsgan_d_fake, lsgan_g, threshold=0.5),
    "hinge": GanLoss(hinge_d_real, hinge_d_fake, negative_mean_g),
    "wgan-gp": GanLoss(
        wasserstein_d_real, wasserstein_d_fake, negative_mean_g, threshold=None, penalised=True
    ),
}


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    weight: float = 10.0,
    target: float = 1.0,
    generator: torch.Generator,
) -> Tensor:
    """w (||grad D(m)||_2 - c)^2 at m = a real + (1 - a) fake: Gulrajani et al. 2017, equation 3.

    `discriminator` takes images N x C x H x W to logits N x ...; D is the mean of a sample's
    logits, as in the losses here. (Some implementations take their sum, which bounds the slope of
    a 30 x 30 PatchGAN 900 times lower.) One a in [0, 1) a sample is drawn from `generator`.
    Gradients flow to the discriminator's weights (second order), not to `fake`.
    """
    mix = torch.rand(len(real), 1, 1, 1, generator=generator, device=generator.device)
    mix = mix.to(real)
    middle = (mix * real.detach() + (1 - mix) * fake.detach()).requires_grad_()
    value = _raised(discriminator(middle)).reshape(len(real), -1).mean(dim=1).sum()
    (slope,) = torch.autograd.grad(value, middle, create_graph=True)
    steepness = torch.linalg.vector_norm(_raised(slope).flatten(1), dim=1)
    return weight * (steepness - target).square().mean()


def l1(fake: Tensor, real: Tensor, weight: Tensor | None = None) -> Tensor:
    """|G(x) - y|, the mean over all values: Isola et al. 2017, equation 3.

    With `weight`, N x 1 x H x W, of w |G(x) - y|: see `mask_weights`.
    """
    if weight is None:
        return F.l1_loss(_raised(fake), _raised(real))
    return ((_raised(fake) - _raised(real)).abs() * weight).mean()


def l2(fake: Tensor, real: Tensor, weight: Tensor | None = None) -> Tensor:
    """(G(x) - y)^2, the mean over all values: Pathak et al. 2016, equation 1, on whole images.

    With `weight`, N x 1 x H x W, of w (G(x) - y)^2: see `mask_weights`.
    """
    if weight is None:
        return F.mse_loss(_raised(fake), _raised(real))
    return ((_raised(fake) - _raised(real)).square() * weight).mean()


def mask_weights(mask: Tensor) -> Tensor:
    """Return m / mean(m): 0 where a pixel does not count, and 1 in the mean over the batch.

    The mean of values weighted so is the mean over the pixels that count, whatever their share;
    the weights of a whole batch serve its parts, whose losses then add up to the batch's. Where no
    pixel counts all weights are 0.

    Args:
        mask: N x 1 x H x W, 1 where pixels count and 0 elsewhere.
    """
    share = mask.mean()
    return torch.where(share > 0, mask / share.clamp(min=1 / mask.numel()), 0.0)


def feature_matching(
    fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]], *, layers: str = "mean"
) -> Tensor:
    """1/K sum over scales k of 4/T sum over layers i of |D_ki(x, G(x)) - D_ki(x, y)|.

    Wang et al. 2018 (pix2pixHD), equation 4, with the factors of its code: the mean over the K
    scales, and 4/T for T inner layers (T is the discriminator's strided layers + 1), so that a
    deeper discriminator weighs the same. SPADE's code has 1 for 4/T, which is the same for T = 4.
    Gradients flow to `fake` alone.

    Args:
        layers: "mean" for pix2pixHD's 4/T, "sum" for SPADE's 1.
        fake, real: scales, then layers, N x ...; what a discriminator returns. The last of each
            scale, the logits, is left out.
    """
    scales = []
    for scale, (features, true) in enumerate(zip(fake, real, strict=True)):
        if len(features) < 2:
            raise ConfigError(
                f"objective.feature_matching needs inner layers, and scale {scale} of a "
                "discriminator has none: set it to 0, or another discriminator"
            )
        distances = torch.stack(
            [l1(f, r.detach()) for f, r in zip(features[:-1], true[:-1], strict=True)]
        )
        scales.append(distances.sum() if layers == "sum" else 4 * distances.mean())
    return torch.stack(scales).mean()


def perceptual(
    fake: Sequence[Tensor],
    real: Sequence[Tensor],
    weights: Sequence[float],
    weight: Tensor | None = None,
) -> Tensor:
    """Sum over layers i of w_i |F_i(G(x)) - F_i(y)|: Wang et al. 2018, section 3.3, its last lines.

    F are the features of a fixed classifier; each difference is a mean over all values, so that w
    are the 1/M_i of that paper. Gradients flow to `fake` alone. With `weight`, N x 1 x H x W (see
    `mask_weights`), each place of a layer weighs as the mean of the pixels below it.
    """
    terms = [
        factor
        * l1(
            features,
            true.detach(),
            None
            if weight is None
            else F.adaptive_avg_pool2d(weight, (features.shape[-2], features.shape[-1])),
        )
        for features, true, factor in zip(fake, real, weights, strict=True)
    ]
    return torch.stack(terms).sum()


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """-1/2 sum (1 + log s^2 - m^2 - s^2): Kingma and Welling 2014, appendix B.

    The divergence of N(m, s^2) from N(0, 1), summed over the N x L latent values of a sample and
    averaged over samples. (SPADE's code sums over the samples of a device, so that its weight
    grows with the batch: its 0.05 at 4 samples a device is 0.2 here.)
    """
    mean, logvar = _raised(mean), _raised(logvar)
    return -0.5 * (1 + logvar - mean.square() - logvar.exp()).flatten(1).sum(dim=1).mean()


def r1(discriminator: Callable[[Tensor], Sequence[Tensor]], real: Tensor) -> list[Tensor]:
    """Return 1/2 ||grad D(y)||^2 of each scale: Mescheder et al. 2018, equation 9, without gamma.

    `discriminator` takes pictures N x C x H x W to each scale's logits, N x ...; D is the mean of
    a sample's logits, as in `gradient_penalty`. Gradients flow to the discriminator's weights.
    """
    real = real.detach().requires_grad_()
    penalties = []
    for logits in discriminator(real):
        value = _raised(logits).reshape(len(real), -1).mean(dim=1).sum()
        (slope,) = torch.autograd.grad(value, real, create_graph=True)
        penalties.append(0.5 * _raised(slope).square().flatten(1).sum(dim=1).mean())
    return penalties


@torch.no_grad()
def discriminator_accuracy(
    real_logits: Tensor, fake_logits: Tensor, *, threshold: float | None = 0.0
) -> Tensor:
    """Return the fraction in [0, 1] of logits that are judged rightly, real and fake alike.

    Real is right above `threshold`, fake below it; a logit right at it is half right. With None
    (a critic, whose zero means nothing) each real logit is compared with the fake one in its place.
    """
    if threshold is None:
        return (0.5 + 0.5 * torch.sign(_raised(real_logits) - _raised(fake_logits))).mean()
    real = taken_for_real(real_logits, threshold=threshold)
    return 0.5 * (real + 1 - taken_for_real(fake_logits, threshold=threshold))


@torch.no_grad()
def taken_for_real(logits: Tensor, *, threshold: float) -> Tensor:
    """Return the fraction in [0, 1] of logits above `threshold`; one right at it counts half."""
    return (0.5 + 0.5 * torch.sign(_raised(logits) - threshold)).mean()
