"""What of a network learns, how fast, and what draws it back to where it began.

Frozen stages keep every number that they have, statistics of norms included; rates may fall from
the picture inwards; and weights may be drawn back to those that another run lent (L2-SP).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from limner.errors import ConfigError
from limner.networks.layers import Stage
from limner.networks.normalisation import SpectralConv2d


def freeze_parts(network: nn.Module, parts: Iterable[str]) -> None:
    """Keep the stages of some parts of a generator as they are.

    Raises:
        ConfigError: it has no such part, or nothing would be left to learn.
    """
    stages = stages_of(network)
    known = dict.fromkeys(stage.part for stage in stages)
    for part in parts:
        if part not in known:
            raise ConfigError(
                f"training.freeze={part}: this generator has no such part, it has "
                f"{', '.join(known)}"
            )
    if known and set(parts) == set(known):
        raise ConfigError(
            f"training.freeze={list(parts)} leaves nothing of the generator to learn: leave one out"
        )
    _freeze(network, [stage for stage in stages if stage.part in parts])


def freeze_first(network: nn.Module, count: int) -> None:
    """Keep the first stages of a discriminator as they are (Mo, Cho and Shin 2020).

    Raises:
        ConfigError: it has no more layers than that.
    """
    stages = stages_of(network)
    if count and count >= len(stages):
        raise ConfigError(
            f"training.freeze_discriminator={count}: a discriminator has {len(stages)} layers, and "
            f"the last must learn: give at most {len(stages) - 1}"
        )
    _freeze(network, stages[:count])


def stages_of(network: nn.Module) -> list[Stage]:
    """Return the stages of a generator or discriminator, from the input to the output."""
    staged: Any = network
    return staged.stages()


def _freeze(network: nn.Module, stages: Iterable[Stage]) -> None:
    for stage in stages:
        for name in stage.modules:
            module = network.get_submodule(name).requires_grad_(False)
            # In training mode norms follow what they see, and spectral norms refine their vectors.
            for inner in module.modules():
                if isinstance(inner, nn.modules.batchnorm._NormBase | SpectralConv2d):
                    inner.eval()


def learning_groups(network: nn.Module, *, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Return an optimizer's groups of what learns.

    Args:
        network: one with stages, where rates are to fall with depth.
        layer_decay: what each stage before the last multiplies the rate by; the group's `factor`.
    """
    if layer_decay == 1:
        return [{"params": list(learning(network).values()), "factor": 1.0}]
    groups = []
    stages = stages_of(network)
    for depth, stage in enumerate(reversed(stages)):
        inside = tuple(f"{name}." for name in stage.modules)
        params = [p for name, p in learning(network).items() if name.startswith(inside)]
        if params:
            groups.append({"params": params, "factor": layer_decay**depth})
    return groups


def learning(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that learn, by name."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def optimized_names(network: nn.Module, optimizer: Optimizer) -> list[str]:
    """Return the names of an optimizer's parameters in its own order."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    return [names[p] for group in optimizer.param_groups for p in group["params"]]


@torch.no_grad()
def draw_back(
    optimizer: Optimizer, start: Mapping[nn.Parameter, Tensor], *, strength: float
) -> None:
    """Move each weight lr * strength of the way back to where it began.

    The gradient step of strength / 2 |w - w0|^2 (Li, Grandvalet and Davoine 2018, equation 2, for
    the weights that two networks share), decoupled from Adam's scaling as Loshchilov and Hutter
    2019 do for weight decay.
    """
    for group in optimizer.param_groups:
        lent = [parameter for parameter in group["params"] if parameter in start]
        if lent and group["lr"]:
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                lent, [start[p] for p in lent], min(1.0, group["lr"] * strength)
            )
