"""The weights of several discriminators in a training, and what decides them next epoch.

`limner.schedules` has the rules; here they meet a training: epochs, processes, checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from limner.config import Config
from limner.errors import TrainingError
from limner.schedules import Weights, adapted, weights_at

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass
class DiscriminatorWeights:
    """The present weights of the discriminators, and their losses over the epoch so far.

    `weights` is None where all share equally. `losses` holds the sum of each discriminator's
    loss over `steps` steps, as this process saw them; only the adaptive rule has them filled.
    """

    weights: Weights | None
    losses: Tensor
    steps: int = 0

    @property
    def shares(self) -> list[float]:
        """The weights as numbers, equal shares too."""
        count = len(self.losses)
        return list(self.weights) if self.weights is not None else [1 / count] * count


def discriminator_names(count: int) -> list[str]:
    """Return what the scalars of each discriminator begin with: `d`, or `d0`, `d1` and so on."""
    return ["d"] if count == 1 else [f"d{number}" for number in range(count)]


def begin_weights(config: Config, device: torch.device) -> DiscriminatorWeights:
    """Return the weights of the first epoch."""
    losses = torch.zeros(len(config.discriminators), device=device)
    return DiscriminatorWeights(_looked_up(config, epoch=1), losses)


def add_losses(
    weighting: DiscriminatorWeights, scalars: Mapping[str, Tensor], *, config: Config
) -> None:
    """Take note of what each discriminator lost in a step, where the rule wants to know."""
    if config.objective.weighting == "adaptive":
        totals = [scalars[f"{name}/total"] for name in discriminator_names(len(weighting.losses))]
        weighting.losses = weighting.losses + torch.stack(totals).to(weighting.losses)
        weighting.steps += 1


def begin_epoch(
    weighting: DiscriminatorWeights, epoch: int, *, config: Config, fabric: Fabric
) -> None:
    """Set the weights for `epoch`, counted from 1; call it before its first step.

    The adaptive rule is given each discriminator's mean loss over the epoch that ended, over all
    processes, which so agree. Where it knows of none (the first epoch, a checkpoint from before
    there was a rule) the weights stay.

    Raises:
        TrainingError: those losses are not finite.
    """
    if config.objective.weighting != "adaptive":
        weighting.weights = _looked_up(config, epoch=epoch)
    elif weighting.steps:
        losses = weighting.losses
        if fabric.world_size > 1:
            losses: Any = fabric.all_reduce(losses, reduce_op="mean")
        means = [float(value) / weighting.steps for value in losses]
        if not all(map(math.isfinite, means)):
            raise TrainingError(
                f"the discriminators' losses over epoch {epoch - 1} are {means}: training stopped, "
                "and the last good checkpoint stands; lower training.lr or use "
                "training.precision=32-true, then --resume with --allow for what you changed"
            )
        weighting.weights = _adapted(config, means)
        weighting.losses, weighting.steps = torch.zeros_like(weighting.losses), 0


def to_be_saved(weighting: DiscriminatorWeights, fabric: Fabric) -> dict[str, Any]:
    """Return them as plain values, each process's losses in a row of their own.

    Every process takes part.
    """
    rows: Any = weighting.losses[None]
    if fabric.world_size > 1:
        rows = fabric.all_gather(weighting.losses)
    return {
        "weights": None if weighting.weights is None else list(weighting.weights),
        "losses": rows.cpu(),
        "steps": weighting.steps,
    }


def restored(
    weighting: DiscriminatorWeights, saved: Mapping[str, Any] | None, fabric: Fabric
) -> DiscriminatorWeights:
    """Return what was saved; `weighting` itself where a checkpoint has none.

    With another number of processes each takes the mean of the losses.
    """
    if saved is None:
        return weighting
    rows = saved["losses"]
    same = len(rows) == fabric.world_size
    losses = rows[fabric.global_rank] if same else rows.mean(0)
    weights = None if saved["weights"] is None else tuple(saved["weights"])
    return DiscriminatorWeights(weights, losses.to(weighting.losses), saved["steps"])


def _start(config: Config) -> Weights:
    count = len(config.discriminators)
    return config.objective.weights or (1 / count,) * count


def _looked_up(config: Config, *, epoch: int) -> Weights | None:
    objective = config.objective
    if objective.weighting == "constant" or not config.discriminators:
        return objective.weights  # nothing stays nothing: a mean, to the last bit
    return weights_at(
        objective.weighting,
        epoch,
        epochs=config.training.epochs,
        weights=_start(config),
        end=objective.weights_end,
    )


def _adapted(config: Config, losses: list[float]) -> Weights:
    objective = config.objective
    return adapted(
        _start(config),
        losses,
        sharpness=objective.adaptive_sharpness,
        floor=objective.adaptive_floor,
    )
