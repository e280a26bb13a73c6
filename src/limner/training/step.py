"""The training step: the one place where the networks take turns."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from limner.objective import Objective
from limner.training.balance import hear, judge_names
from limner.training.coarse_to_fine import begin_whole, held_parameters
from limner.training.parts import make_pictures, parts_of
from limner.training.state import Player, State, update_ema

Turns = Callable[[State, dict[str, Tensor], Objective], dict[str, Tensor]]


def gan_step(
    state: State, batch: dict[str, Tensor], objective: Objective, *, turns: Turns | None = None
) -> dict[str, Tensor]:
    """Take a training step: seed its noise, let the networks take turns, count it.

    Args:
        state, batch, objective: as `take_turns` has them; `state.step` moves on by one.
        turns: what does as `take_turns` does (`cuda_graph.CudaGraphStep`); itself if None.

    Returns:
        Named scalars, as `take_turns` returns them.
    """
    # Each step's noise (dropout, codes, augmentation, instance noise) depends on seed, step and
    # rank alone, so that it is the same after a resume and whatever else drew random numbers.
    torch.manual_seed(_mixed(state.config.seed, state.step, state.fabric.global_rank))
    scalars = (turns or take_turns)(state, batch, objective)
    hear(state.balance, scalars, config=state.config)
    update_ema(state)
    state.step += 1
    return scalars


def take_turns(state: State, batch: dict[str, Tensor], objective: Objective) -> dict[str, Tensor]:
    """Update every discriminator, and the generator with its encoder, on one batch.

    First each discriminator learns to tell `target` from the generator's picture, then the
    generator learns against the discriminators just updated (Isola et al. 2017, section 3.3, in
    the order of pytorch-CycleGAN-and-pix2pix). With `training.update_order` "together" it learns
    against the discriminators of before: all gradients are taken at the same point, and only then
    is anything updated (the study's order); the first step's `g/gan` is that of the untrained
    discriminators. Either half is done `training.discriminator_updates` and
    `training.generator_updates` times, with noise drawn anew.

    The batch is worked through in `training.accumulate` parts whose gradients add up to those of
    the whole batch. With one part the last picture made for the discriminators serves the generator
    too, unless `training.fresh_fake` asks for another with other dropout, at the cost of one more
    forward pass (and one more update of batch norm's running statistics); with several it is always
    made again, since keeping every part's graph would cost the memory that accumulation saves.

    Args:
        state: networks and optimisers; changed in place.
        batch: `source` and `target`, N x C x H x W in [-1, 1], N = batch_size x accumulate; or a
            label map as `source`, N x H x W, with its `instance` map where the settings want one.
        objective: the losses and their weights.

    Returns:
        Named scalars, detached and on the device, means over the updates: `g/gan`, `g/l1`,
        `g/total`, `d/real`, `d/fake`, `d/accuracy`, `d/total` and so on; `d0/...`, `d1/...` with
        several discriminators.
    """
    fabric, training, judges = state.fabric, state.config.training, state.discriminators
    parts = parts_of(batch, training.accumulate, state.config.expansion)
    scalars: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=fabric.device))

    def made(part):
        encoder = state.encoder
        network = None if encoder is None else encoder.network
        return make_pictures(state.generator.network, network, part, style=state.style)

    kept = None
    together = training.update_order == "together"
    names = judge_names(len(judges))
    share = 1 / (len(parts) * training.discriminator_updates)
    for update in range(training.discriminator_updates if judges else 0):
        for judge in judges:
            judge.optimizer.zero_grad()
        last_update = update == training.discriminator_updates - 1
        serves = len(parts) == 1 and last_update and not training.fresh_fake
        for number, part in enumerate(parts):
            with torch.set_grad_enabled(serves):
                fake, style = made(part)
            kept = (fake, style) if serves else None
            for index, judge in enumerate(judges):
                with _gradients_shared(state, judge, last=number == len(parts) - 1):
                    loss, terms = objective.discriminator(
                        judge.network,
                        part.source,
                        part.target,
                        fake.detach(),
                        conditional=judge.conditional,
                        step=state.step,
                    )
                    fabric.backward(loss * (1 / len(parts)))
                _add(scalars, names[index], terms, share)
        for judge in () if together else judges:
            judge.optimizer.step()

    for judge in judges:
        judge.network.requires_grad_(False)
    begin_whole(state)
    share = 1 / (len(parts) * training.generator_updates)
    for _ in range(training.generator_updates):
        for learner in state.learners:
            learner.optimizer.zero_grad()
        for number, part in enumerate(parts):
            with contextlib.ExitStack() as stack:
                for learner in state.learners:
                    last = number == len(parts) - 1
                    stack.enter_context(_gradients_shared(state, learner, last=last))
                for judge in judges:  # theirs get no gradients here, so there are none to share
                    stack.enter_context(_gradients_shared(state, judge, last=False))
                fake, style = kept or made(part)
                kept = None
                loss, terms = objective.generator(
                    [(judge.network, judge.conditional) for judge in judges],
                    part.source,
                    part.target,
                    fake,
                    weights=state.balance.weights,
                    style=style,
                )
                fabric.backward(loss * (1 / len(parts)))
            _add(scalars, "g", terms, share)
        for parameter in held_parameters(state):
            parameter.grad = None
        for learner in state.learners:
            learner.optimizer.step()
    for judge in judges:
        judge.network.requires_grad_(True)
        if together:
            judge.optimizer.step()
    return dict(scalars)


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
