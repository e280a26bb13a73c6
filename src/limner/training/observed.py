"""What a training tells of the two networks' health every few steps; it changes no weight.

After a step its gradients and its optimisers' moments are still there; beside them the step's own
pictures are made again, and the discriminators asked about them, without a draw from the
training's random generators.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limner.data import PairedDataset
from limner.health import measurements
from limner.losses import l1
from limner.objective import Objective
from limner.training.held_out import fitting
from limner.training.parts import FIELDS, Part, parts_of, pictures_of
from limner.training.state import State

Health = Callable[[State, Mapping[str, Tensor], Objective], dict[str, Tensor]]


def observed(
    state: State,
    batch: Mapping[str, Tensor],
    objective: Objective,
    *,
    held_out: PairedDataset | None = None,
) -> dict[str, Tensor]:
    """Return the scalars `health/...` of the step that was just taken.

    Gradients and the loudness of each term every time; by turns updates and how pictures follow
    their sources, and what changes when training's noise and batch statistics are taken away.

    Args:
        state: of the training; left as it is to the last bit.
        batch: what the step was taken on; its first part is looked at.
        objective: of the training.
        held_out: pairs that are not trained on, of which one is looked at each second time.
    """
    values = {**_of_weights(state), **_of_pictures(state, batch, objective, held_out)}
    return {f"health/{name}": value for name, value in values.items()}


def _turn(state: State) -> int:
    """0 or 1 by turns: what is dear is measured at each second look."""
    return state.step // (state.config.training.health or 1) % 2


def _of_weights(state: State) -> dict[str, Tensor]:
    training, values = state.config.training, {}
    for name, network in state.networks.items():
        learner = name in ("generator", "encoder")
        each = training.generator_updates if learner else training.discriminator_updates
        parameters = network.plain.parameters()
        values[f"gradient/{name}"] = measurements.gradient_norm(parameters)
        if _turn(state):
            continue  # the moments of all weights take as long to read as a picture to make
        optimizer = getattr(network.optimizer, "optimizer", network.optimizer)  # without Fabric
        values[f"update/{name}"] = measurements.update_ratio(optimizer, updates=state.step * each)
    return values


def _of_pictures(
    state: State,
    batch: Mapping[str, Tensor],
    objective: Objective,
    held_out: PairedDataset | None,
) -> dict[str, Tensor]:
    part = parts_of(batch, state.config.training.accumulate, state.config.expansion)[0]
    with _left_alone(state):
        with torch.no_grad():
            made = _pictures(state, part)
        values, fake, target = {}, made.float(), part.target.float()
        values["l1"] = l1(fake, target, part.weight)
        values["l1_flat"] = measurements.flat_error(target)
        values["saturated"] = measurements.saturation(fake)
        values["saturated_target"] = measurements.saturation(target)
        values["blob"] = measurements.blob(fake, target)
        values |= measurements.spectra(fake, target)
        values |= _shares(state, part, made, objective)
        with torch.no_grad():
            if _turn(state):
                values |= _without_noise(state, part, made)
                values |= _held_out(state, part, made, held_out)
            else:
                again = _pictures(state, _moved(part))
                values["following"] = measurements.following(fake, again, target)
    return values


def _pictures(state: State, part: Part) -> Tensor:
    encoder = None if state.encoder is None else state.encoder.plain
    return pictures_of(state.generator.plain, encoder, part, style=state.style).fake


def _shares(state: State, part: Part, made: Tensor, objective: Objective) -> dict[str, Tensor]:
    """Which terms the generator hears, and how far its pictures are what tanh can still move."""
    picture = made.detach().clone().requires_grad_()
    _, terms = objective.generator(
        [(d.plain, d.conditional) for d in state.discriminators],
        part.source,
        part.target,
        picture,
        weights=state.discriminator_weights.weights,
        weight=part.weight,
    )
    weighted = {
        name: weight * terms[name] for name, weight in objective.weights.items() if name in terms
    }
    shares = measurements.gradient_shares(weighted, picture)
    return {f"share/{name}": value for name, value in shares.items()}


def _without_noise(state: State, part: Part, made: Tensor) -> dict[str, Tensor]:
    """What dropout does to a picture, and whether stored statistics make it as those of a batch."""
    values, generator = {}, state.generator.plain
    drops = [m for m in generator.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p]
    stored = [
        m
        for m in generator.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    for module in drops:
        module.eval()
    calm = _pictures(state, part) if drops else made
    if drops:
        spread = measurements.distance(calm, made) / measurements.contrast(part.target)
        values["dropout_spread"] = spread
    if stored and state.config.inference.statistics == "running":
        generator.eval()
        values["l1_batch"] = l1(calm, part.target, part.weight)
        values["l1_running"] = l1(_pictures(state, part), part.target, part.weight)
    generator.train()
    return values


def _held_out(
    state: State, part: Part, made: Tensor, dataset: PairedDataset | None
) -> dict[str, Tensor]:
    """What each discriminator thinks of training pictures, of one held out and of a made one."""
    if not dataset or not state.discriminators:
        return {}
    index = state.step // (state.config.training.health or 1) // 2 % len(dataset)
    pair: dict[str, Any] = dict(dataset[index])
    batch = {k: pair[k][None].to(part.target.device) for k in FIELDS if k in pair}
    (other,) = parts_of(batch, 1, state.config.expansion)
    other = fitting(other, int(state.generator.plain.multiple), dtype=part.target.dtype)  # pyright: ignore[reportArgumentType]
    values = {}
    for number, network in enumerate(state.discriminators):
        shown = {
            "real": (part, part.target),
            "fake": (part, made),
            "held_out": (other, other.target),
        }
        for name, (of, picture) in shown.items():
            seen = torch.cat([of.source, picture], 1) if network.conditional else picture
            values[f"logit/{name}/{number}"] = measurements.mean_logit(network.plain(seen))
    return values


def _moved(part: Part) -> Part:
    planes = (part.source, part.target, part.instance, part.weight)
    source, target, instance, weight = (
        None if plane is None else measurements.moved(plane) for plane in planes
    )
    assert source is not None
    assert target is not None
    return Part(source, target, instance, weight)


@contextlib.contextmanager
def _left_alone(state: State) -> Iterator[None]:
    """Let networks be used in training's mode, and leave them, and every draw, as they were."""
    device = state.fabric.device
    networks = [network.plain for network in state.networks.values()]
    buffers = [(b, b.clone()) for network in networks for b in network.buffers()]
    learning = [p for network in networks for p in network.parameters() if p.requires_grad]
    modes = [(m, m.training) for network in networks for m in network.modules()]
    devices = [device] if device.type == "cuda" else []
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        with torch.random.fork_rng(devices=devices), state.fabric.autocast():
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
