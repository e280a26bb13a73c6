"""The losses of a training on held-out pairs, so that its curves can be laid beside each other.

The perceptual loss, for one, goes on falling in training while it rises on held-out pairs: the
picture of a network that learns a small set by heart.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from limner.data import PairedDataset
from limner.inference import as_for_pictures
from limner.objective import Objective
from limner.training.discriminator_weights import discriminator_names
from limner.training.parts import FIELDS, Part, parts_of, pictures_of
from limner.training.state import State


def held_out_losses(
    state: State, objective: Objective, dataset: PairedDataset, *, images: int
) -> dict[str, float]:
    """Return `val/g/...` and `val/d/...`: what a step would log of the first pairs of a set.

    The same objective, weights and draws (seeded) apply, without gradient penalties; the generator
    is the one that makes pictures, as it makes them (`inference`), and the discriminators use the
    statistics of what they are shown, as in training. Nothing of the state changes.

    Args:
        state: of the training.
        objective: of the training.
        dataset: held-out pairs, not augmented.
        images: at most so many pairs.
    """
    config = state.config
    sums: dict[str, float] = {}
    count = min(images, len(dataset))
    discriminators = [d.plain for d in state.discriminators]
    conditional = [d.conditional for d in state.discriminators]
    encoder = None if state.encoder is None else state.encoder.plain
    parameter = next(state.picture_network.parameters())
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        generator = stack.enter_context(
            as_for_pictures(
                state.picture_network,
                statistics=config.inference.statistics,
                dropout=config.inference.dropout,
            )
        )
        for network in [*discriminators, *([] if encoder is None else [encoder])]:
            stack.enter_context(as_for_pictures(network, statistics="batch", dropout=False))
        torch.manual_seed(config.seed)
        for index in range(count):
            pair: dict[str, Any] = dict(dataset[index])
            batch = {name: pair[name][None].to(parameter.device) for name in FIELDS if name in pair}
            (part,) = parts_of(batch, 1, config.expansion)
            part = fitting(part, int(generator.multiple), dtype=parameter.dtype)  # pyright: ignore[reportArgumentType]
            pictures = pictures_of(generator, encoder, part, style=state.style)
            groups: dict[str, dict[str, Tensor]] = {}
            for name, discriminator, sees in zip(
                discriminator_names(len(discriminators)), discriminators, conditional, strict=True
            ):
                _, groups[name] = objective.discriminator(
                    discriminator,
                    part.source,
                    part.target,
                    pictures.fake,
                    conditional=sees,
                    step=None,
                )
            _, groups["g"] = objective.generator(
                list(zip(discriminators, conditional, strict=True)),
                part.source,
                part.target,
                pictures.fake,
                weights=state.discriminator_weights.weights,
                style=pictures.style,
                weight=part.weight,
            )
            for name, terms in groups.items():
                for term, value in terms.items():
                    key = f"val/{name}/{term}"
                    sums[key] = sums.get(key, 0.0) + float(value) / count
    return sums


def fitting(part: Part, multiple: int, *, dtype: torch.dtype) -> Part:
    """Cut a part to sides that the generator takes, with its type of numbers."""
    height, width = (side - side % multiple or side for side in part.target.shape[-2:])
    source, target, instance, weight = (
        None if plane is None else plane[..., :height, :width]
        for plane in (part.source, part.target, part.instance, part.weight)
    )
    assert source is not None
    assert target is not None
    return Part(source.to(dtype), target.to(dtype), instance, weight)
