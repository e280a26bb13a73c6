"""Norms that span a picture, at work on its tiles: statistics gathered over all, then held.

Instance norm (Ulyanov et al. 2016), group norm (Wu and He 2018) and batch norm that takes the
picture's own statistics need the mean and the variance of the whole picture. Those of the k-th norm
depend on all norms before it, so that exact ones take a pass over the tiles for each norm.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limner.inference.cpu.packed_networks import PictureNorm
from limner.inference.reach import BATCH_NORMS, PICTURE_NORMS

Box = tuple[int, int, int, int]
"""Top, left, bottom and right."""


@dataclass
class Moments:
    """Mean and variance (the biased one) of a norm's groups, float64, over `count` values each."""

    count: int
    mean: Tensor
    variance: Tensor

    def joined(self, other: Moments) -> Moments:
        """Return those of both parts' values together (Chan, Golub and LeVeque 1983)."""
        count = self.count + other.count
        share, step = other.count / count, other.mean - self.mean
        variance = self.variance * (1 - share) + other.variance * share
        return Moments(
            count, self.mean + step * share, variance + step.square() * share * (1 - share)
        )


class Gathered(Exception):  # noqa: N818 - no failure: the pass ends where its statistics are known
    """Ends a pass at the norm whose statistics it is for."""


class TileNorm(nn.Module):
    """Stands in for a norm that spans the picture, x N x C x H x W.

    `held` are the statistics that it normalises with. Without them it takes those of what it is
    given, as the norm does; with `gathering` it adds those of the part of the tile that counts to
    `moments` and ends the pass.
    """

    def __init__(self, norm: nn.Module, box: list[Box]) -> None:
        super().__init__()
        self.eps = float(norm.eps)  # pyright: ignore[reportArgumentType]
        self.groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else None
        self.weight: Tensor | None = norm.weight  # pyright: ignore[reportAttributeAccessIssue]
        self.bias: Tensor | None = norm.bias  # pyright: ignore[reportAttributeAccessIssue]
        self.held: Moments | None = None
        self.moments: Moments | None = None
        self.gathering = False
        self._box = box  # the part that counts, and the window's height and width, in pixels

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised."""
        if self.gathering:
            own = self.of(self._counted(x))
            self.moments = own if self.moments is None else self.moments.joined(own)
            raise Gathered
        statistics = self.held
        if statistics is None:
            statistics = self.moments = self.of(self._counted(x))
        repeat = x.shape[1] // len(statistics.mean)
        mean = statistics.mean.to(x.device, torch.float32).repeat_interleave(repeat)
        spread = (statistics.variance + self.eps).rsqrt()
        scale = spread.to(x.device, torch.float32).repeat_interleave(repeat)
        if self.weight is not None:
            scale = scale * self.weight
        shape = (1, -1, 1, 1)
        normed = x.float().sub(mean.view(shape)).mul_(scale.view(shape))
        if self.bias is not None:
            normed.add_(self.bias.view(shape))
        return normed.to(x.dtype)

    def of(self, x: Tensor) -> Moments:
        """Return the statistics of N x C x H x W, of all N together."""
        # Centred before squaring, and summed in float64. A group's follow from its channels'.
        count, axes = x.numel() // x.shape[1], (0, 2, 3)
        mean = x.mean(axes, dtype=torch.float64)
        centred = x.float() - mean.to(torch.float32)[:, None, None]
        variance = centred.square_().sum(axes, dtype=torch.float64) / count
        parts = mean.view(self.groups or len(mean), -1)
        whole = parts.mean(dim=1)
        within = variance.view_as(parts) + (parts - whole[:, None]).square()
        return Moments(count * parts.shape[1], whole.cpu(), within.mean(dim=1).cpu())

    def _counted(self, x: Tensor) -> Tensor:
        top, left, bottom, right = self._box[0]
        height, width = self._box[1][2:]
        down, across = x.shape[-2] / height, x.shape[-1] / width
        return x[
            ...,
            round(top * down) : round(bottom * down),
            round(left * across) : round(right * across),
        ]


class HeldNorms:
    """The norms of a network that span the picture, in the order in which they work."""

    def __init__(self, network: nn.Module, *, own_statistics: bool) -> None:
        self.box: list[Box] = [(0, 0, 1, 1), (0, 0, 1, 1)]  # all of what is given
        self._network = network
        kinds = (PictureNorm, *PICTURE_NORMS, *([BATCH_NORMS] if own_statistics else []))
        self._originals = {
            name: module for name, module in network.named_modules() if isinstance(module, kinds)
        }
        self.norms: list[TileNorm] = []

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let tile norms stand in for the network's own within the block."""
        stand_ins = {name: TileNorm(norm, self.box) for name, norm in self._originals.items()}
        called: list[TileNorm] = []

        def note(module: nn.Module, _: object) -> None:
            if isinstance(module, TileNorm) and module not in called:
                called.append(module)

        for name, norm in stand_ins.items():
            self._network.set_submodule(name, norm)
            norm.register_forward_pre_hook(note)
        try:
            self.norms = called
            yield
        finally:
            for name, norm in self._originals.items():
                self._network.set_submodule(name, norm)

    def place(self, counted: Box, height: int, width: int) -> None:
        """Say which part of the next window counts, and how large the window is."""
        self.box[:] = [counted, (0, 0, height, width)]
