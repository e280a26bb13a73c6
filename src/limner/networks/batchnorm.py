"""Batch norm over the batches of all processes, on any device and any backend."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


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
