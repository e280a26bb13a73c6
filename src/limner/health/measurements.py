"""What is measured of two networks in training: pure functions of tensors, none waits for a GPU.

`training` calls them every `training.health` steps and logs each as `health/...`; docs/health.md
says what every one means and what healthy trainings reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

STRIDE = 4
"""Patterns of so many pixels, and of half as many, are upsampling's: two layers of stride 2."""
RING = (2, 4)
"""Bins between which the neighbourhood of a frequency lies: outside a Hann window's main lobe."""
SATURATED = 0.99
"""From this magnitude on tanh has lost nine tenths of its slope and more: 1 - 0.99^2 = 0.02."""
WINDOWS = 16
"""`blob` looks at so many windows on each side of a picture."""
FLOOR = 1e-12


@torch.no_grad()
def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Return the Euclidean norm of the gradients that the parameters hold; those without are 0."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)).float())  # pyright: ignore[reportPrivateImportUsage]


@torch.no_grad()
def update_ratio(optimizer: Optimizer, *, updates: int) -> Tensor:
    """Return ||last update|| / ||weights|| of one of Adam's family, from its own moments.

    lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps): Kingma and Ba 2015, algorithm 1. Decay of
    weights is left out.

    Args:
        optimizer: whose state holds `exp_avg` and `exp_avg_sq`; others give 0.
        updates: t, how many it has made.
    """
    moved, weights = [], []
    for group in optimizer.param_groups:
        known = [(p, optimizer.state[p]) for p in group["params"] if p.grad is not None]
        known = [(p, state) for p, state in known if "exp_avg_sq" in state]
        if not known:
            continue
        first, second = group["betas"]
        scale = group["lr"] / (1 - first**updates)
        roots = torch._foreach_sqrt([state["exp_avg_sq"] for _, state in known])  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_div_(roots, (1 - second**updates) ** 0.5)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_add_(roots, group["eps"])  # pyright: ignore[reportPrivateImportUsage]
        steps = torch._foreach_div([state["exp_avg"] for _, state in known], roots)  # pyright: ignore[reportPrivateImportUsage]
        moved += [norm * scale for norm in torch._foreach_norm(steps)]  # pyright: ignore[reportPrivateImportUsage]
        weights += torch._foreach_norm([p for p, _ in known])  # pyright: ignore[reportPrivateImportUsage]
    if not moved:
        return torch.zeros(())
    norms = [torch.linalg.vector_norm(torch.stack(values).float()) for values in (moved, weights)]
    return norms[0] / norms[1].clamp_min(FLOOR)


def gradient_shares(terms: Mapping[str, Tensor], picture: Tensor) -> dict[str, Tensor]:
    """Return each weighted term's share of the gradient at the generator's picture, in [0, 1].

    The norms of the terms' gradients, divided by their sum: how loudly each speaks to the
    generator, whatever the loss's value. Terms that do not depend on the picture (kl) have none.

    Args:
        terms: each times its weight, with their graph.
        picture: N x C x H x W, requires gradients.
    """
    norms = {}
    for name, term in terms.items():
        if not term.requires_grad:
            continue
        (slope,) = torch.autograd.grad(term, picture, retain_graph=True, allow_unused=True)
        if slope is not None:
            norms[name] = torch.linalg.vector_norm(slope.float())
    total = sum(norms.values(), torch.zeros((), device=picture.device)).clamp_min(FLOOR)
    return {name: norm / total for name, norm in norms.items()}


def distance(one: Tensor, other: Tensor) -> Tensor:
    """Return the root of the mean squared difference."""
    return (one.float() - other.float()).square().mean().sqrt()


def moved(plane: Tensor) -> Tensor:
    """Return ... x H x W moved by half its height and width, around the border.

    Another input with a known target, made of the same sample: it needs no second one.
    """
    return plane.roll((plane.shape[-2] // 2, plane.shape[-1] // 2), dims=(-2, -1))


def following(picture: Tensor, picture_of_moved: Tensor, target: Tensor) -> Tensor:
    """Return how far the picture moves with its source: 0 where it is the same for every input.

    ||G(moved x) - G(x)|| / ||moved y - y||: about 1 where outputs differ as targets do.
    """
    return distance(picture_of_moved, picture) / distance(moved(target), target).clamp_min(1e-3)


def contrast(picture: Tensor) -> Tensor:
    """Return the standard deviation over the pixels of each channel, root mean square."""
    return distance(picture, picture.mean(dim=(-2, -1), keepdim=True))


def flat_error(target: Tensor) -> Tensor:
    """Return the mean absolute difference of targets to their own mean colour.

    What a picture of one colour, the right one, would reach: a generator that is no better has
    learnt nothing of the source.
    """
    target = target.float()
    return (target - target.mean(dim=(-2, -1), keepdim=True)).abs().mean()


def saturation(picture: Tensor) -> Tensor:
    """Return the share of values where tanh has no slope left."""
    return (picture.abs() >= SATURATED).float().mean()


def spectra(picture: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return what the spectra of pictures and targets, N x C x H x W, say.

    `high_frequencies`: energy above half of the highest frequency, pictures over targets (1 is
    alike, below 1 blur, above it noise). `checkerboard`: the amplitude of patterns that repeat
    with upsampling's strides, as a share of the targets' contrast, less the same of the targets
    (Odena et al. 2016; such artefacts are lines in the spectrum). `checkerboard_decibels`: by how
    much these lines stand out of their neighbourhood, more than in the targets.
    """
    powers = [_power(plane) for plane in (picture, target)]
    outer = [_above_half(power) for power in powers]
    scale = contrast(target).clamp_min(1e-3)
    amplitudes, levels = zip(*map(_lines, powers), strict=True)
    return {
        "high_frequencies": outer[0] / outer[1].clamp_min(FLOOR),
        "checkerboard": (amplitudes[0] - amplitudes[1]) / scale,
        "checkerboard_decibels": levels[0] - levels[1],
    }


def _power(plane: Tensor) -> Tensor:
    """Mean power spectrum over samples and channels, H x W, of sides in 8s.

    Under a Hann window, and scaled so that a pattern of the highest frequency of amplitude a has
    a^2 in its bin.
    """
    height, width = (side - side % 8 or side for side in plane.shape[-2:])
    plane = plane[..., :height, :width].float()
    plane = plane - plane.mean(dim=(-2, -1), keepdim=True)
    rows = torch.hann_window(height, device=plane.device)[:, None]
    columns = torch.hann_window(width, device=plane.device)
    transformed = torch.fft.fft2(plane * (rows * columns)) / (height * width / 4)
    return transformed.abs().square().mean(dim=(0, 1))


def _above_half(power: Tensor) -> Tensor:
    rows, columns = (torch.fft.fftfreq(side, device=power.device).abs() for side in power.shape)
    return power[torch.maximum(rows[:, None], columns[None]) > 0.25].sum()


def _lines(power: Tensor) -> tuple[Tensor, Tensor]:
    """The strides' frequencies above their neighbourhood: amplitude, and decibels.

    Frequencies of stride 2 are among those of stride 4. Pictures too small to have a neighbourhood
    have no lines.
    """
    height, width = power.shape
    if min(height, width) <= 2 * RING[1]:
        return power.new_zeros(()), power.new_zeros(())
    reach, ring = RING[1], _ring(power.device)
    lines, around = [], []
    for row in range(STRIDE):
        for column in range(STRIDE):
            if row or column:
                shifts = (reach - row * height // STRIDE, reach - column * width // STRIDE)
                near = power.roll(shifts, dims=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
                lines.append(near[reach, reach])
                around.append(near[ring].mean())
    line, usual = torch.stack(lines), torch.stack(around)
    decibels = 10 * torch.log10((line.sum() + FLOOR) / (usual.sum() + FLOOR))
    return (line - usual).clamp_min(0).sum().sqrt(), decibels


def _ring(device: torch.device) -> Tensor:
    offsets = torch.arange(-RING[1], RING[1] + 1, device=device).abs()
    return torch.maximum(offsets[:, None], offsets[None]) > RING[0]


def blob(picture: Tensor, target: Tensor) -> Tensor:
    """Return how far the worst window's mean error stands above the usual one.

    The largest root mean square over channels of the difference of window means, over the median
    window's: a droplet where the rest is right is many times as far off.
    """
    height, width = (min(WINDOWS, side) for side in picture.shape[-2:])
    means = torch.nn.functional.adaptive_avg_pool2d((picture - target).float(), (height, width))
    errors = means.square().mean(dim=1).sqrt().flatten(1)
    return (errors.amax(1) / errors.median(dim=1).values.clamp_min(1e-2)).mean()


def mean_logit(scales: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the mean over scales of a discriminator's mean logit."""
    return torch.stack([layers[-1].float().mean() for layers in scales]).mean()
