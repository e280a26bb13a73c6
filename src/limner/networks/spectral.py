"""Convolutions divided by their spectral norm (Miyato et al. 2018, algorithm 1)."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
