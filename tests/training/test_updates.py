"""Several updates a step, and accumulation with every term of the losses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import batch, label_batch, objective_of, small, tiny

from limner.training.loop import Means
from limner.training.state import State, build_state
from limner.training.step import accumulated, training_step


def adam_steps(state: State) -> dict[str, set[int]]:
    return {
        name: {int(entry["step"]) for entry in player.optimizer.state_dict()["state"].values()}
        for name, player in state.networks.items()
    }


def test_each_network_is_updated_as_often_as_asked(fabric) -> None:
    state = build_state(
        small("training.discriminator_updates=3", "training.generator_updates=2"), fabric
    )
    for seed in range(2):
        training_step(state, batch(1, seed=seed), objective_of(state))
    assert adam_steps(state) == {"generator": {4}, "discriminator_0": {6}}
    assert state.step == 2


def test_the_last_of_several_updates_goes_on_where_the_first_ended(fabric) -> None:
    """Three updates of a discriminator in a step are those of three steps on the same pairs."""
    # No norm: a bias before one has no gradient but rounding, which Adam makes into whole steps.
    still = (
        "training.lr=1e-30",
        "generator.dropout=0",
        "training.discriminator_lr=1e-3",
        "discriminators.0.norm=none",
    )
    at_once = build_state(small(*still, "training.discriminator_updates=3"), fabric)
    in_turn = build_state(small(*still), fabric)
    training_step(at_once, batch(1), objective_of(at_once))
    for _ in range(3):
        training_step(in_turn, batch(1), objective_of(in_turn))
    others = in_turn.discriminators[0].plain.state_dict()
    for key, value in at_once.discriminators[0].plain.state_dict().items():
        torch.testing.assert_close(value, others[key], msg=key)


def test_noise_is_drawn_anew_for_each_update(fabric) -> None:
    """With updates that move nothing, means over several differ from the first's by noise alone."""
    still = ("training.lr=1e-30", "training.discriminator_lr=1e-30")
    scalars = {}
    for noise in (0.0, 0.5):
        for updates in (1, 4):
            config = small(
                *still, "generator.dropout=0", "discriminators.0.init_gain=0.5",
                f"objective.instance_noise={noise}",
                f"training.discriminator_updates={updates}",
            )  # fmt: skip
            state = build_state(config, fabric)
            scalars[noise, updates] = float(
                training_step(state, batch(1), objective_of(state))["d/real"]
            )
    assert scalars[0.0, 1] == pytest.approx(scalars[0.0, 4], rel=1e-6)
    assert scalars[0.5, 1] != pytest.approx(scalars[0.5, 4], rel=1e-4)


@pytest.mark.parametrize("name", ["pix2pixhd-small", "pix2pixhd-features", "pix2pixhd"])
def test_accumulated_parts_equal_the_whole_batch_with_every_term(name: str, exact) -> None:
    """And so they do where the generator's features are computed again to save memory."""
    terms = (
        "objective.l1=1", "objective.r1=1", "objective.r1_every=2", "generator.bias=false",
        "discriminators.0.bias=false", "training.generator_updates=2",
        "training.update_order=discriminator-first",
    )  # fmt: skip
    biasless = ("encoder.bias=false",) if "features" in name else ()
    whole = build_state(tiny(name, *terms, *biasless, "training.batch_size=4"), exact)
    saving = (
        "training.batch_size=2", "training.accumulate=2", "generator.activation_checkpointing=true"
    )  # fmt: skip
    parts = build_state(tiny(name, *terms, *biasless, *saving), exact)
    for seed in range(3):
        data = label_batch(4, seed=seed, dtype=torch.float64)
        one, other = (training_step(s, data, objective_of(s)) for s in (whole, parts))
        assert one.keys() == other.keys()
        assert ("d/r1" in one) == (seed % 2 == 0)
        for key, value in one.items():
            torch.testing.assert_close(value, other[key], rtol=1e-8, atol=1e-8)
    for key, player in whole.networks.items():
        others = parts.networks[key].plain.state_dict()
        for weight, value in player.plain.state_dict().items():
            torch.testing.assert_close(value, others[weight], rtol=1e-6, atol=1e-8)


def test_a_scalar_that_comes_now_and_then_keeps_its_mean() -> None:
    means = Means(torch.device("cpu"))
    for step in range(4):
        scalars = {"d/real": torch.tensor(float(step))}
        means.add(scalars if step % 2 else {**scalars, "d/r1": torch.tensor(10.0 + step)})
    assert means.values() == {"d/real": 1.5, "d/r1": 11.0}


class CountedProcesses:
    """Stands in for Fabric: knows at any moment which networks' gradients are not exchanged."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size
        self.unsynchronised: list[str] = []

    @contextlib.contextmanager
    def no_backward_sync(self, network: str) -> Iterator[None]:
        self.unsynchronised.append(network)
        yield
        self.unsynchronised.remove(network)


def zeroed_when_asked(name: str) -> Any:
    """Return a network whose optimizer counts how often it zeroed its gradients."""
    network = SimpleNamespace(network=name, zeroed=0)

    def zero_grad() -> None:
        network.zeroed += 1

    network.optimizer = SimpleNamespace(zero_grad=zero_grad)
    return network


@pytest.mark.parametrize("parts", [1, 3])
def test_processes_exchange_gradients_in_the_last_part_alone(parts: int) -> None:
    fabric: Any = CountedProcesses(world_size=2)
    generator, encoder, discriminator = map(zeroed_when_asked, "ged")
    state: Any = SimpleNamespace(fabric=fabric)
    each = [
        "".join(sorted(fabric.unsynchronised))
        for _ in accumulated(state, [generator, encoder], [None] * parts, silent=[discriminator])
    ]
    assert each == ["deg"] * (parts - 1) + ["d"]
    assert fabric.unsynchronised == []
    assert (generator.zeroed, encoder.zeroed, discriminator.zeroed) == (1, 1, 0)


def test_one_process_exchanges_nothing_and_is_never_silenced() -> None:
    fabric: Any = CountedProcesses(world_size=1)
    networks = [zeroed_when_asked("g")]
    state: Any = SimpleNamespace(fabric=fabric)
    for _ in accumulated(state, networks, [None] * 2, silent=[zeroed_when_asked("d")]):
        assert fabric.unsynchronised == []
    assert networks[0].zeroed == 1
