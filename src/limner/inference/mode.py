"""The mode in which a network makes pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def as_for_pictures(network: nn.Module, *, statistics: str, dropout: bool) -> Iterator[nn.Module]:
    """Put a network in the mode in which it makes pictures; restore it as it was on leaving.

    Args:
        network: any generator.
        statistics: "running" for batch norm's statistics of training, "batch" for those of what
            is being translated; the running ones are never changed.
        dropout: whether dropout stays on.
    """
    before = {module: module.training for module in network.modules()}
    tracking = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    network.eval()
    try:
        for module in network.modules():
            if dropout and isinstance(module, nn.modules.dropout._DropoutNd):
                module.train()
        if statistics == "batch":
            for module in tracking:
                module.train()
                module.track_running_stats = False
        with torch.inference_mode():
            yield network
    finally:
        for module in tracking:
            module.track_running_stats = True
        for module, training in before.items():
            module.training = training
