"""Looking at the two networks' health changes nothing of the training, and tells the truth."""

from __future__ import annotations

import copy

import pytest
import torch
from lightning_fabric import Fabric
from tiny import batch, label_batch, objective_of, small, tiny

from limner.training.observed import observed
from limner.training.state import State, build_state
from limner.training.step import training_step

VARIANTS = {
    "instance": (),
    "batch": ("generator.norm=batch", "discriminators.0.norm=batch"),
    "two": ("discriminators=[{name: patch, layers: 1, width: 4}, {name: pixel, width: 4, "
            "conditional: false}]",),
    "accumulate": ("training.accumulate=2",),
    "alone": ("discriminators=[]", "objective.gan_weight=0"),
    "critic": ("objective.gan=wgan-gp",),
    "augmented": ("objective.augment=[colour, translation]", "objective.instance_noise=0.1"),
}  # fmt: skip


def everything(state: State) -> dict[str, torch.Tensor]:
    found = {}
    for name, network in state.networks.items():
        found |= {f"{name}.{key}": value for key, value in network.plain.state_dict().items()}
        moments = copy.deepcopy(network.optimizer.state_dict()["state"])
        found |= {
            f"{name}.{k}.{m}": torch.as_tensor(v) for k, s in moments.items() for m, v in s.items()
        }
    return {key: value.clone() for key, value in found.items()}


def trained(state: State, given: dict[str, torch.Tensor], *, look: bool) -> dict[str, torch.Tensor]:
    objective = objective_of(state)
    for _ in range(4):
        training_step(state, given, objective)
        if look:
            before = torch.get_rng_state()
            observed(state, given, objective)
            assert torch.equal(before, torch.get_rng_state())
    return everything(state)


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_are_the_same_to_the_last_bit(fabric: Fabric, name: str) -> None:
    config = small(*VARIANTS[name], "training.health=1", "training.batch_size=2")
    count = 2 * config.training.accumulate
    one, other = (
        trained(build_state(config, fabric), batch(count), look=look) for look in (False, True)
    )
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@pytest.mark.parametrize("name", ["spade-vae", "pix2pixhd-features", "spade"])
def test_networks_of_label_maps_too(fabric: Fabric, name: str) -> None:
    config = tiny(name, "training.health=1")
    one, other = (
        trained(build_state(config, fabric), label_batch(2), look=look) for look in (False, True)
    )
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@pytest.mark.parametrize("name", VARIANTS)
def test_every_scalar_is_finite_and_shares_add_up(fabric: Fabric, name: str) -> None:
    config = small(*VARIANTS[name], "training.health=1", "training.batch_size=2")
    state = build_state(config, fabric)
    objective, given = objective_of(state), batch(2 * config.training.accumulate)
    found: dict[str, torch.Tensor] = {}
    for _ in range(2):
        training_step(state, given, objective)
        found |= observed(state, given, objective)
    assert all(name.startswith("health/") for name in found)
    assert all(bool(torch.isfinite(value)) and value.ndim == 0 for value in found.values())
    shares = [value for key, value in found.items() if key.startswith("health/share/")]
    assert float(sum(shares)) == pytest.approx(1, abs=1e-5)
    assert 0 < float(found["health/update/generator"]) < 1
    assert float(found["health/gradient/generator"]) > 0
    assert "health/following" in found
    assert ("health/l1_running" in found) == (name == "batch")


def test_a_heavier_reconstruction_is_louder(fabric: Fabric) -> None:
    shares = []
    for weight in (1, 1000):
        state = build_state(small(f"objective.l1={weight}", "training.health=1"), fabric)
        training_step(state, batch(1), objective_of(state))
        shares.append(float(observed(state, batch(1), objective_of(state))["health/share/gan"]))
    assert shares[0] > 100 * shares[1] > 0
