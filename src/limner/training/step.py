"""The training step: the one place where the networks take turns."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from limner.data import network_input
from limner.objective import Objective
from limner.training.state import Player, State, update_ema


def gan_step(state: State, batch: dict[str, Tensor], objective: Objective) -> dict[str, Tensor]:
    """Update every discriminator, then the generator, on one batch.

    First each discriminator learns to tell `target` from the generator's picture, then the
    generator learns against the discriminators just updated (Isola et al. 2017, section 3.3, in
    the order of pytorch-CycleGAN-and-pix2pix). The batch is worked through in
    `training.accumulate` parts whose gradients add up to those of the whole batch. With one part
    the picture made for the discriminators serves the generator too; with several it is made
    again, since keeping every part's graph would cost the memory that accumulation saves.

    Args:
        state: networks and optimisers; changed in place, `state.step` included.
        batch: `source` and `target`, N x C x H x W in [-1, 1], N = batch_size x accumulate.
        objective: the losses and their weights.

    Returns:
        Named scalars, detached and on the device: `g/gan`, `g/l1`, `g/total`, `d/real`,
        `d/fake`, `d/accuracy`, `d/total` and so on; `d0/...`, `d1/...` with several
        discriminators.
    """
    fabric, judges = state.fabric, state.discriminators
    batch = {**batch, "source": network_input(batch, **state.config.expansion)}
    parts = _parts(batch, state.config.training.accumulate)
    share = 1 / len(parts)
    scalars: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=fabric.device))
    # Each step's noise (dropout, instance noise) depends on seed, step and rank alone, so that
    # it is the same after a resume and whatever else drew random numbers in between.
    torch.manual_seed(_mixed(state.config.seed, state.step, fabric.global_rank))

    fake = None
    for judge in judges:
        judge.optimizer.zero_grad()
    for number, (source, target) in enumerate(parts if judges else []):
        last = number == len(parts) - 1
        with torch.set_grad_enabled(len(parts) == 1):
            fake = state.generator.network(source)
        for index, judge in enumerate(judges):
            with _gradients_shared(state, judge, last=last):
                loss, terms = objective.discriminator(
                    judge.network, source, target, fake.detach(), conditional=judge.conditional
                )
                fabric.backward(loss * share)
            prefix = "d" if len(judges) == 1 else f"d{index}"
            _add(scalars, prefix, terms, share)
    for judge in judges:
        judge.optimizer.step()

    state.generator.optimizer.zero_grad()
    for judge in judges:
        judge.network.requires_grad_(False)
    for number, (source, target) in enumerate(parts):
        with contextlib.ExitStack() as stack:
            stack.enter_context(
                _gradients_shared(state, state.generator, last=number == len(parts) - 1)
            )
            for judge in judges:  # theirs get no gradients here, so there are none to share
                stack.enter_context(_gradients_shared(state, judge, last=False))
            if fake is None or len(parts) > 1:
                fake = state.generator.network(source)
            loss, terms = objective.generator(
                [(judge.network, judge.conditional) for judge in judges], source, target, fake
            )
            fabric.backward(loss * share)
        _add(scalars, "g", terms, share)
    for judge in judges:
        judge.network.requires_grad_(True)
    state.generator.optimizer.step()
    update_ema(state)
    state.step += 1
    return dict(scalars)


def _parts(batch: dict[str, Tensor], count: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(batch["source"].chunk(count), batch["target"].chunk(count), strict=True))


def _mixed(seed: int, step: int, rank: int) -> int:
    """Return a 63-bit seed in which neighbouring steps and ranks have nothing in common."""
    value = (
        seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB
    ) % 2**64
    value ^= value >> 31
    return value * 0x9E3779B97F4A7C15 % 2**63


def _gradients_shared(state: State, player: Player, *, last: bool) -> AbstractContextManager[None]:
    """Average gradients over processes in the last part only."""
    if state.fabric.world_size == 1 or last:
        return contextlib.nullcontext()
    return state.fabric.no_backward_sync(player.network)  # pyright: ignore[reportArgumentType]


def _add(scalars: dict[str, Tensor], prefix: str, terms: dict[str, Tensor], share: float) -> None:
    for name, value in terms.items():
        scalars[f"{prefix}/{name}"] = scalars[f"{prefix}/{name}"] + value.detach() * share
