"""Whole training steps of the reference, followed: losses and final weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from overriding import with_overrides
from safetensors.torch import load_file
from tiny import objective_of
from torch import Tensor

from limner.config import resolved
from limner.presets import preset
from limner.training.state import State, TrainedNetwork, build_state
from limner.training.step import training_step
from limner.transfer import from_project, network_settings

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
STEPS = sorted(path.stem for path in GOLDEN.glob("step_*.json"))
# What that project calls its losses.
NAMES = {"G_GAN": "g/gan", "G_L1": "g/l1", "D_real": "d/real", "D_fake": "d/fake"}


def weights(tensors: dict[str, Tensor], prefix: str, role: str, **architecture: object):
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return from_project(state, project="junyanz", role=role, **architecture)


def players(state: State) -> dict[str, TrainedNetwork]:
    return {"generator": state.generator, "discriminator": state.discriminators[0]}


def state_before(facts: dict, tensors: dict[str, Tensor], fabric, architecture) -> State:
    networks = {}
    for role, options in architecture.items():
        name, keywords = network_settings("junyanz", role, **options)
        inside = {key: value for key, value in keywords.items() if not key.endswith("_channels")}
        networks[role] = json.dumps({"name": name, **inside})
    height, width = tensors["batch.0.source"].shape[-2:]
    config = resolved(
        with_overrides(
            preset("pix2pix"),
            [
                f"data.size=[{height}, {width}]",
                f"generator={networks['generator']}",
                f"discriminators=[{networks['discriminator']}]",
                f"objective.gan={facts['gan_mode']}",
                f"objective.l1={facts['lambda_L1']}",
                f"training.lr={facts['lr']}",
                f"training.betas={facts['betas']}",
            ],
        )
    )
    state = build_state(config, fabric)
    for role, player in players(state).items():
        letter = role[0].upper()
        player.plain.load_state_dict(
            weights(tensors, f"before.{letter}.", role, **architecture[role])
        )
    return state


@pytest.mark.parametrize(
    "name", STEPS or [pytest.param("", marks=pytest.mark.skip("no ../shared"))]
)
def test_the_steps_of_the_reference_are_followed(name: str, fabric) -> None:
    facts = json.loads((GOLDEN / f"{name}.json").read_text())
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    channels = {c: tensors[f"batch.0.{c}"].shape[1] for c in ("source", "target")}
    architecture = {
        "generator": {
            "netG": facts["netG"],
            "norm": facts["norm"],
            "ngf": facts["ngf"],
            "dropout": facts["dropout"],
            "input_nc": channels["source"],
            "output_nc": channels["target"],
        },
        "discriminator": {
            "netD": facts["netD"].split()[0],
            "norm": facts["norm"],
            "ndf": facts["ndf"],
            "input_nc": sum(channels.values()),
        },
    }
    state = state_before(facts, tensors, fabric, architecture)
    objective = objective_of(state)
    worst_loss = worst_weight = 0.0
    for number, losses in enumerate(facts["losses"]):
        batch = {c: tensors[f"batch.{number}.{c}"] for c in ("source", "target")}
        scalars = training_step(state, batch, objective)
        for theirs, value in losses.items():
            weight = facts["lambda_L1"] if theirs == "G_L1" else 1
            ours = float(scalars[NAMES[theirs]]) * weight
            worst_loss = max(worst_loss, abs(ours - value) / abs(value))
    for role, player in players(state).items():
        expected = weights(tensors, f"after.{role[0].upper()}.", role, **architecture[role])
        for key, value in player.plain.state_dict().items():
            difference = float((value - expected[key]).abs().max())
            worst_weight = max(worst_weight, difference)
    # Seen with `pytest -s`: the figures of results/README.md.
    print(f"{name}: losses to {worst_loss:.1e} relative, final weights to {worst_weight:.1e}")
    assert worst_loss < 1e-4
    assert worst_weight < 1e-4
