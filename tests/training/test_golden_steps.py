"""Whole training steps of the reference, followed: losses and final weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from limner.config import with_overrides
from limner.objective import Objective
from limner.presets import preset
from limner.training.state import State, build_state, resolved
from limner.training.step import gan_step
from limner.transfer import from_project

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
STEPS = sorted(path.stem for path in GOLDEN.glob("step_*.json"))
# What that project calls its losses.
NAMES = {"G_GAN": "g/gan", "G_L1": "g/l1", "D_real": "d/real", "D_fake": "d/fake"}


def weights(tensors: dict[str, Tensor], prefix: str, role: str, **architecture: object):
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return from_project(state, project="junyanz", role=role, **architecture)


def state_before(facts: dict, tensors: dict[str, Tensor], fabric, architecture) -> State:
    config = resolved(
        with_overrides(
            preset("pix2pix"),
            [
                f"data.size={tensors['batch.0.source'].shape[-1]}",
                f"generator.width={facts['ngf']}",
                f"generator.norm={facts['norm']}",
                f"generator.dropout={0.5 if facts['dropout'] else 0.0}",
                f"discriminators.0.width={facts['ndf']}",
                f"discriminators.0.norm={facts['norm']}",
                f"objective.gan={facts['gan_mode']}",
                f"objective.l1={facts['lambda_L1']}",
                f"training.lr={facts['lr']}",
                f"training.betas={facts['betas']}",
            ],
        )
    )
    state = build_state(config, fabric)
    for role, player in (
        ("generator", state.generator),
        ("discriminator", state.discriminators[0]),
    ):
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
    objective = Objective(state.config.objective)
    for number, losses in enumerate(facts["losses"]):
        batch = {c: tensors[f"batch.{number}.{c}"] for c in ("source", "target")}
        scalars = gan_step(state, batch, objective)
        for theirs, value in losses.items():
            weight = facts["lambda_L1"] if theirs == "G_L1" else 1
            assert float(scalars[NAMES[theirs]]) * weight == pytest.approx(value, rel=1e-4), theirs
    for role, player in (
        ("generator", state.generator),
        ("discriminator", state.discriminators[0]),
    ):
        expected = weights(tensors, f"after.{role[0].upper()}.", role, **architecture[role])
        for key, value in player.plain.state_dict().items():
            torch.testing.assert_close(value, expected[key], atol=1e-4, rtol=0, msg=f"{role} {key}")
