"""Gradient checkpointing that leaves the state of networks as one forward pass leaves it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from limner.networks.spectral import SpectralConv2d

Vectors = dict[SpectralConv2d, tuple[Tensor, Tensor]]


def run(segment: nn.Module, *inputs: Tensor, checkpointing: bool) -> Tensor:
    """Return `segment(*inputs)`; with `checkpointing` its features are not kept.

    They are computed again when the backward pass needs them (Chen et al. 2016), with the same
    random numbers. Results, gradients and the state afterwards are those without: the second time
    batch norm does not count the batch again and spectral norm uses the vectors of the first.
    """
    if not (checkpointing and torch.is_grad_enabled()):
        return segment(*inputs)
    vectors: Vectors = {}

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return _first_time(segment, vectors), _second_time(segment, vectors)

    output = checkpoint(segment, *inputs, use_reentrant=False, context_fn=contexts)
    assert isinstance(output, Tensor)
    return output


@contextlib.contextmanager
def _first_time(segment: nn.Module, vectors: Vectors) -> Iterator[None]:
    """Note the vectors that the first pass used."""
    yield
    for module in segment.modules():
        if isinstance(module, SpectralConv2d):
            vectors[module] = (module.u.clone(), module.v.clone())


@contextlib.contextmanager
def _second_time(segment: nn.Module, vectors: Vectors) -> Iterator[None]:
    """Hold everything as the first pass left it."""
    # Batch norm is given its statistics as before, since it notes them down, and they are put back.
    statistics = [
        (buffer, buffer.clone())
        for module in segment.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        for buffer in module.buffers()
    ]
    for module, pair in vectors.items():
        module.held = pair
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in statistics:
                buffer.copy_(value)
        for module in vectors:
            module.held = None
