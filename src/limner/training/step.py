"""The training step: the one place where the networks are updated in turn."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from limner.objective import Objective
from limner.training.coarse_to_fine import begin_whole, held_parameters
from limner.training.discriminator_weights import add_losses, discriminator_names
from limner.training.parts import Part, Pictures, parts_of
from limner.training.state import State, TrainedNetwork, update_ema

Update = Callable[[State, dict[str, Tensor], Objective], dict[str, Tensor]]


def training_step(
    state: State,
    batch: dict[str, Tensor],
    objective: Objective,
    *,
    update: Update | None = None,
) -> dict[str, Tensor]:
    """Take a training step: seed its noise, update the networks in turn, count it.

    Args:
        state, batch, objective: as `update_in_turn` has them; `state.step` moves on by one.
        update: what does as `update_in_turn` does (`cuda.CudaGraphStep`); itself if None.

    Returns:
        Named scalars, as `update_in_turn` returns them.
    """
    # Each step's noise (dropout, codes, augmentation, instance noise) depends on seed, step and
    # rank alone, so that it is the same after a resume and whatever else drew random numbers.
    torch.manual_seed(_mixed(state.config.seed, state.step, state.fabric.global_rank))
    scalars = (update or update_in_turn)(state, batch, objective)
    add_losses(state.discriminator_weights, scalars, config=state.config)
    update_ema(state)
    state.step += 1
    return scalars


def update_in_turn(
    state: State, batch: dict[str, Tensor], objective: Objective
) -> dict[str, Tensor]:
    """Update every discriminator D, and the generator G with its encoder, on one batch.

        max_D  E[log D(x, y)] + E[log(1 - D(x, G(x, z)))]
        min_G  E[log(1 - D(x, G(x, z)))] + lambda E[|y - G(x, z)|]

    (Isola et al. 2017, equations 1 to 4; the objective has other losses, too.) First the
    discriminators learn to tell target y from the generator's picture of source x, then the
    generator learns against the discriminators just updated, in the order of
    pytorch-CycleGAN-and-pix2pix. With `training.update_order` "together" both gradients are taken
    before either update (the study's order, and pix2pixHD's); with "generator-first" the generator
    begins, and the discriminators see pictures that it makes anew (SPADE's order). Either
    update is repeated as `training.discriminator_updates` and `training.generator_updates` say,
    with noise drawn anew.

    The batch is worked through in `training.accumulate` parts whose gradients add up to those of
    the whole batch. With one part the last picture made for the discriminators serves the
    generator too, unless `training.fresh_fake` asks for another; with several it is made again,
    since keeping every part's graph would cost the memory that accumulation saves.

    Args:
        state: networks and optimizers; changed in place.
        batch: `source` and `target`, N x C x H x W in [-1, 1], N = batch_size x accumulate; or a
            label map as `source`, N x H x W, with its `instance` map where the settings want one.
        objective: the losses and their weights.

    Returns:
        Named scalars, detached and on the device, means over the updates: `g/gan`, `g/l1`,
        `g/total`, `d/real`, `d/fake`, `d/accuracy`, `d/total` and so on; `d0/...`, `d1/...` with
        several discriminators.
    """
    training = state.config.training
    parts = parts_of(batch, training.accumulate, state.config.expansion)
    scalars = defaultdict(lambda: torch.zeros((), device=state.fabric.device))
    if training.update_order == "generator-first":
        update_generator(state, parts, objective, scalars, None)
        update_discriminators(state, parts, objective, scalars, keep=False)
    elif training.update_order == "together":
        keep = len(parts) == 1 and not training.fresh_fake
        pictures = update_discriminators(state, parts, objective, scalars, keep=keep, apply=False)
        update_generator(state, parts, objective, scalars, pictures)
        state.update(state.discriminators)
    else:
        keep = len(parts) == 1 and not training.fresh_fake
        pictures = update_discriminators(state, parts, objective, scalars, keep=keep)
        update_generator(state, parts, objective, scalars, pictures)
    return dict(scalars)


def update_discriminators(
    state: State,
    parts: Sequence[Part],
    objective: Objective,
    scalars: dict[str, Tensor],
    *,
    keep: bool,
    apply: bool = True,
) -> Pictures | None:
    """Take the discriminators' updates of a step, adding their terms to `scalars`.

    Args:
        state, parts, objective, scalars: as in a step.
        keep: return the last pictures with their graph, for the generator.
        apply: update; False leaves the gradients for later.
    """
    pictures, updates = None, state.config.training.discriminator_updates
    for left in reversed(range(updates if state.discriminators else 0)):
        terms, pictures = discriminator_gradients(state, parts, objective, keep=keep and not left)
        _add(scalars, terms, 1 / (len(parts) * updates))
        if apply:
            state.update(state.discriminators)
    return pictures


def update_generator(
    state: State,
    parts: Sequence[Part],
    objective: Objective,
    scalars: dict[str, Tensor],
    pictures: Pictures | None,
) -> None:
    """Take the updates of the generator and its encoder, adding their terms to `scalars`.

    `pictures` are the only part's, with their graph, where they are made already; they serve the
    first update alone.
    """
    begin_whole(state)
    updates = state.config.training.generator_updates
    with frozen(state.discriminators):
        for _ in range(updates):
            terms = generator_gradients(state, parts, objective, pictures)
            _add(scalars, terms, 1 / (len(parts) * updates))
            state.update(state.learners)
            pictures = None


def discriminator_gradients(
    state: State, parts: Sequence[Part], objective: Objective, *, keep: bool
) -> tuple[dict[str, Tensor], Pictures | None]:
    """Take the discriminators' gradients over all parts; the generator gets none.

    Returns:
        The terms of their losses, summed over the parts; and the last part's pictures with their
        graph if they are to be kept for the generator, else None.
    """
    sums: dict[str, Tensor] = {}
    names = discriminator_names(len(state.discriminators))
    pictures = None
    for part in accumulated(state, state.discriminators, parts):
        with torch.set_grad_enabled(keep):
            pictures = state.make_pictures(part)
        for name, discriminator in zip(names, state.discriminators, strict=True):
            loss, terms = objective.discriminator(
                discriminator.network,
                part.source,
                part.target,
                pictures.fake.detach(),
                conditional=discriminator.conditional,
                step=state.step,
            )
            state.fabric.backward(loss * (1 / len(parts)))
            _sum(sums, name, terms)
    return sums, pictures if keep else None


def generator_gradients(
    state: State, parts: Sequence[Part], objective: Objective, pictures: Pictures | None
) -> dict[str, Tensor]:
    """Take the gradients of the generator, and of its encoder, over all parts.

    Args:
        state, parts, objective: as in a step; the discriminators' parameters are frozen.
        pictures: the only part's, with their graph, where they are made already.

    Returns:
        The terms of its loss, summed over the parts.
    """
    sums: dict[str, Tensor] = {}
    discriminators = [(d.network, d.conditional) for d in state.discriminators]
    for part in accumulated(state, state.learners, parts, silent=state.discriminators):
        part_pictures = pictures or state.make_pictures(part)
        loss, terms = objective.generator(
            discriminators,
            part.source,
            part.target,
            part_pictures.fake,
            weights=state.discriminator_weights.weights,
            style=part_pictures.style,
            weight=part.weight,
        )
        state.fabric.backward(loss * (1 / len(parts)))
        _sum(sums, "g", terms)
    for parameter in held_parameters(state):
        parameter.grad = None
    return sums


def accumulated(
    state: State,
    learning: Sequence[TrainedNetwork],
    parts: Sequence[Part],
    *,
    silent: Sequence[TrainedNetwork] = (),
) -> Iterator[Part]:
    """Yield the parts of a batch, over which the gradients of the networks `learning` add up.

    They are zeroed first. Several processes average them once, in the last part's backward pass;
    those of networks that are `silent` get no gradients, so nothing of theirs is exchanged.
    """
    for network in learning:
        network.optimizer.zero_grad()
    for number, part in enumerate(parts, start=1):
        waiting = learning if number < len(parts) else ()
        with contextlib.ExitStack() as stack:
            for network in (*silent, *waiting) if state.fabric.world_size > 1 else ():
                stack.enter_context(state.fabric.no_backward_sync(network.network))  # pyright: ignore[reportArgumentType]
            yield part


@contextlib.contextmanager
def frozen(networks: Sequence[TrainedNetwork]) -> Iterator[None]:
    """Let gradients pass through the networks without being taken for their parameters."""
    learning = [p for n in networks for p in n.network.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _mixed(seed: int, step: int, rank: int) -> int:
    """Return a 63-bit seed in which neighbouring steps and ranks have nothing in common."""
    value = (
        seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB
    ) % 2**64
    value ^= value >> 31
    return value * 0x9E3779B97F4A7C15 % 2**63


def _sum(sums: dict[str, Tensor], name: str, terms: Mapping[str, Tensor]) -> None:
    for term, value in terms.items():
        key = f"{name}/{term}"
        sums[key] = sums[key] + value.detach() if key in sums else value.detach()


def _add(scalars: dict[str, Tensor], terms: Mapping[str, Tensor], share: float) -> None:
    for key, value in terms.items():
        scalars[key] = scalars[key] + value * share
