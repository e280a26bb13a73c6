"""Normalisation: batch norm over parts and processes, spectral norm, and the table of norms."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import unknown_name

FIRST_ITERATIONS = 5
"""Power iterations at the start, so that the estimate is of use before any step was made."""


class _Divided(torch.autograd.Function):
    """W / sigma where sigma = u^T W v: one product with the weights, and few passes back.

    Of the gradient G of W / sigma follows that of W: (G - <G, W> / sigma u v^T) / sigma. Written
    by autograd it would take twice the passes over the weights, a good part of a small step.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(weight, sigma, u, v)
        return weight * sigma.reciprocal()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,), (weight, sigma, u, v) = gradients, ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives sigma has to know its weight
            sigma = torch.dot(u, weight.flatten(1) @ v)
        share = sigma.reciprocal()
        along = torch.dot(gradient.flatten(), weight.flatten()) * share
        matrix = torch.addr(gradient.flatten(1), u * -along, v) * share
        return matrix.view_as(weight), None, None, None


class SpectralConv2d(nn.Conv2d):
    """A convolution with W / sigma(W) for W, sigma the largest singular value of W as a matrix.

    The matrix has a row for each output channel. `weight` is W itself. The buffers `u` (out
    channels) and `v` (the rest) are the singular vectors as far as they are known: every call in
    training mode refines them by one power iteration, in evaluation they stay. Gradients flow
    through sigma, not through `u` and `v`.
    """

    u: Tensor
    v: Tensor

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        rows, columns = self.weight.flatten(1).shape
        for name, length in (("u", rows), ("v", columns)):
            vector = torch.randn(length, device=self.weight.device, dtype=self.weight.dtype)
            self.register_buffer(name, F.normalize(vector, dim=0))
        # Vectors that stand in for the buffers and stay as they are, while features are
        # computed again for the backward pass.
        self.held: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def draw_vectors(self, generator: torch.Generator) -> None:
        """Draw `u` anew and bring both vectors near the singular ones of the present weight."""
        self.u.copy_(F.normalize(self.u.normal_(generator=generator), dim=0))
        for _ in range(FIRST_ITERATIONS):
            self._iterate()

    @torch.no_grad()
    def _iterate(self) -> Tensor:
        """Refine the vectors by one power iteration; return W v, from which sigma follows."""
        matrix = self.weight.flatten(1)
        self.v.copy_(F.normalize(matrix.t() @ self.u, dim=0))
        product = matrix @ self.v
        self.u.copy_(F.normalize(product, dim=0))
        return product

    def normalised_weight(self) -> Tensor:
        """Return W / sigma(W) after one power iteration, in training mode."""
        kind = self.weight.device.type
        # Sigma in lower precision would scale the whole layer wrongly.
        exact = contextlib.nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False)
        with exact:
            if not self.training:
                sigma = torch.dot(self.u.clone(), self.weight.flatten(1) @ self.v.clone())
                return self.weight / sigma
            product = self._iterate() if self.held is None else None
            # Copies, since the next call changes the buffers before this one's backward pass.
            u, v = self.held or (self.u.clone(), self.v.clone())
            if product is None:
                product = self.weight.detach().flatten(1) @ v
            return _Divided.apply(self.weight, torch.dot(u, product), u, v)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve N x C x H x W."""
        return self._conv_forward(input, self.normalised_weight(), self.bias)


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _SumOverProcesses(torch.autograd.Function):
    """Add up over processes; what each hands back as gradient is added up likewise."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0].contiguous())


def _summed(value: Tensor) -> Tensor:
    total = _SumOverProcesses.apply(value)
    assert isinstance(total, Tensor)
    return total


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm (Ioffe and Szegedy 2015) of several batches in one pass, where `parts` is above 1.

    In training the input's samples are that many batches of one size, one behind the other: each
    has its own statistics, and moves the running ones in its turn, as in passes of their own.
    """

    parts = 1

    def forward(self, input: Tensor) -> Tensor:
        """Normalise N x C x H x W."""
        if self.parts == 1 or not self.training:
            return super().forward(input)
        return torch.cat(
            [super(BatchNorm2d, self).forward(part) for part in input.chunk(self.parts)]
        )


@contextlib.contextmanager
def held_vectors(network: object) -> Iterator[None]:
    """Let the spectral norms of `network` keep their vectors: passes within iterate nothing."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    layers = [module for module in modules if isinstance(module, SpectralConv2d)]
    for layer in layers:
        layer.held = (layer.u.clone(), layer.v.clone())
    try:
        yield
    finally:
        for layer in layers:
            layer.held = None


@contextlib.contextmanager
def in_parts(network: nn.Module, parts: int) -> Iterator[None]:
    """Let the batch norms of `network` take their input for so many batches."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm2d)]
    for norm in norms:
        norm.parts = parts
    try:
        yield
    finally:
        for norm in norms:
            norm.parts = 1


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm (Ioffe and Szegedy 2015) whose mean and variance are those of all processes.

    In training with several processes, statistics and their gradients are summed over them, so
    that R processes with N samples each compute what one computes with R x N; samples may be
    spread unevenly. Every process has to take part. By itself, in evaluation and in inference
    mode (in which one process may make pictures by itself) it is plain batch norm.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise N x C x H x W."""
        if not self.training or _processes() == 1 or torch.is_inference_mode_enabled():
            return super().forward(input)
        self._check_input_dim(input)
        values = input.float()
        samples = values.new_full((1,), values.numel() // values.shape[1])
        total = _summed(torch.cat([values.sum((0, 2, 3)), samples]))
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = values - mean[:, None, None]
        variance = _summed(centred.square().sum((0, 2, 3))) / count
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * count / (count - 1))
        normed = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.weight is not None:
            normed = normed * self.weight[:, None, None] + self.bias[:, None, None]
        return normed.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics; variance is the unbiased one, as batch norm has it."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.item()
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


def _group_norm(channels: int) -> nn.Module:
    """Return a group norm whose group count divides `channels`.

    At most 32 groups (the default of Wu and He 2018), each of at least 8 channels where there are
    that many: groups of one channel would be instance norm under another name.
    """
    groups = max(
        count
        for count in range(1, 33)
        if channels % count == 0 and (count == 1 or channels // count >= 8)
    )
    return nn.GroupNorm(groups, channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    # Ioffe and Szegedy 2015: scale, shift and running statistics.
    "batch": BatchNorm2d,
    # The same, with the statistics of all processes' batches.
    "sync-batch": SyncBatchNorm2d,
    # Ulyanov et al. 2016, without scale, shift or statistics: the form of the pix2pix family.
    "instance": nn.InstanceNorm2d,
    "instance-affine": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "group": _group_norm,
    "none": lambda channels: nn.Identity(),
}


def norm_layer(name: str, channels: int) -> nn.Module:
    """Return the norm of that name for N x `channels` x H x W.

    Raises:
        ConfigError: no norm has that name.
    """
    if name not in NORMS:
        raise unknown_name("norm", name, NORMS)
    return NORMS[name](channels)
