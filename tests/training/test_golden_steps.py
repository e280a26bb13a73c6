"""Whole training steps of the published code, followed by the presets' own settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from tiny import objective_of
from torch import Tensor

from limner.config import replace, resolved
from limner.presets import preset
from limner.schedules import value
from limner.training.state import State, TrainedNetwork, build_state
from limner.training.step import training_step
from limner.transfer import from_project, network_settings, to_project

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
STEPS = sorted(
    str(path.relative_to(GOLDEN).with_suffix("")) for path in GOLDEN.rglob("step_*.json")
)
RATES = GOLDEN / "steps" / "learning_rates.json"
# What the projects call their losses.
NAMES = {
    **{"G_GAN": "g/gan", "G_L1": "g/l1", "D_real": "d/real", "D_fake": "d/fake"},
    **{"G_GAN_Feat": "g/feature_matching", "GAN": "g/gan", "GAN_Feat": "g/feature_matching"},
    **{"D_Fake": "d/fake", "KLD": "g/kl"},
}
LETTERS = {"generator": "G", "discriminator": "D", "encoder": "E"}


def project_of(facts: dict[str, Any]) -> str:
    name = facts.get("project", "junyanz").split()[0]
    return name if name in ("pix2pixHD", "SPADE") else "junyanz"


def options_of(facts: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Return each role's options, in the words of its project."""
    if project_of(facts) == "junyanz":
        channels = {c: tensors[f"batch.0.{c}"].shape[1] for c in ("source", "target")}
        return {
            "generator": {
                **{key: facts[key] for key in ("netG", "norm", "ngf", "dropout")},
                "input_nc": channels["source"],
                "output_nc": channels["target"],
            },
            "discriminator": {
                "netD": facts["netD"].split()[0],
                **{key: facts[key] for key in ("norm", "ndf")},
                "input_nc": sum(channels.values()),
            },
        }
    labels = ("label_nc", "no_instance")
    keys: dict[str, tuple[str, ...]] = {
        "generator": (
            *labels,
            *("netG", "norm", "ngf", "n_downsample_global", "n_blocks_global", "output_nc"),
            *("n_local_enhancers", "n_blocks_local", "instance_feat", "feat_num"),
        ),
        "discriminator": (*labels, "norm", "ndf", "n_layers_D", "num_D", "output_nc"),
        "encoder": ("norm", "nef", "n_downsample_E", "feat_num", "output_nc"),
    }
    if project_of(facts) == "SPADE":
        keys = {
            "generator": (
                *labels,
                *("ngf", "norm_G", "num_upsampling_layers", "crop_size", "aspect_ratio"),
                *("use_vae", "z_dim"),
            ),
            "discriminator": (*labels, "ndf", "norm_D", "num_D", "n_layers_D", "output_nc"),
            "encoder": ("norm_E", "ngf", "crop_size"),
        }
    if not any(key.startswith("before.E.") for key in tensors):
        del keys["encoder"]
    return {role: {key: facts[key] for key in names} for role, names in keys.items()}


def settings_of(facts: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return what a file says that a preset cannot know: sizes, widths, weights of the losses."""
    options = options_of(facts, tensors)
    project = project_of(facts)
    networks = {}
    for role, architecture in options.items():
        name, keywords = network_settings(project, role, **architecture)
        inside = {key: value for key, value in keywords.items() if not key.endswith("_channels")}
        networks[role] = {"name": name, **inside}
    target = tensors["batch.0.target"]
    keys: dict[str, Any] = {
        "data.size": list(target.shape[-2:]),
        "generator": networks["generator"],
        "discriminators": [networks["discriminator"]],
        "training.lr": facts["lr"],
        "training.betas": facts["betas"],
        "training.precision": "64-true" if target.dtype == torch.float64 else "32-true",
    }
    if "encoder" in networks:
        keys["encoder"] = networks["encoder"]
    if project == "junyanz":
        keys |= {"objective.gan": facts["gan_mode"], "objective.l1": facts["lambda_L1"]}
        if facts["gan_mode"] == "wgangp":  # its pix2pix adds no penalty
            keys |= {"objective.gan": "wgan-gp", "objective.gradient_penalty": 0.0}
        return keys
    keys |= {
        "data.load_size": keys["data.size"],
        "data.labels.classes": facts["label_nc"],
        "data.labels.edges": not facts["no_instance"],
        "objective.vgg": 0.0,
        "training.batch_size": len(target),
        "objective.feature_matching": 0.0 if facts["no_ganFeat_loss"] else facts["lambda_feat"],
    }
    if project == "pix2pixHD" and facts["no_lsgan"]:
        keys["objective.gan"] = "vanilla"
    if project == "SPADE":
        keys |= {"training.lr": facts["lr_G"], "training.discriminator_lr": facts["lr_D"]}
        keys["objective.gan"] = facts["gan_mode"]
        if facts["use_vae"]:  # summed over the samples there
            keys["objective.kl"] = facts["lambda_kld"] * len(target)
        if facts["order"].startswith("each step: D update"):
            keys |= {"training.update_order": "discriminator-first", "training.fresh_fake": True}
    return keys


def preset_of(facts: dict[str, Any]) -> str:
    match project_of(facts):
        case "pix2pixHD":
            return "pix2pixhd" if facts["netG"] == "local" else "pix2pixhd-global"
        case "SPADE":
            return "spade-vae" if facts["use_vae"] else "spade"
        case _:
            return "pix2pix"


def trained(state: State) -> dict[str, TrainedNetwork]:
    encoder = {} if state.encoder is None else {"encoder": state.encoder}
    return {"generator": state.generator, "discriminator": state.discriminators[0], **encoder}


def prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def weight_of(theirs: str, facts: dict[str, Any], state: State) -> float:
    """Return the factor between our term and their figure."""
    objective = state.config.objective
    if theirs == "G_L1":
        return facts["lambda_L1"]
    if NAMES[theirs] == "g/feature_matching":
        return objective.feature_matching
    return objective.kl if theirs == "KLD" else 1.0


def left_out(key: str, idle: list[str], *, project: str) -> bool:
    """Whether a weight's change is rounding noise, or a count that SPADE's norms do not keep."""
    noise = ("running_mean", "running_var", "num_batches_tracked", "weight_u", "weight_v")
    return key in idle or (bool(idle) and project != "junyanz" and key.endswith(noise))


@pytest.mark.parametrize(
    "name", STEPS or [pytest.param("", marks=pytest.mark.skip("no ../shared"))]
)
def test_the_steps_of_the_reference_are_followed(name: str, request) -> None:
    facts = json.loads((GOLDEN / f"{name}.json").read_text())
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    double = tensors["batch.0.target"].dtype == torch.float64
    fabric: Fabric = request.getfixturevalue("exact" if double else "fabric")
    project, options = project_of(facts), options_of(facts, tensors)
    changes = settings_of(facts, tensors)
    state = build_state(resolved(replace(preset(preset_of(facts)), changes)), fabric)
    for role, network in trained(state).items():
        before = prefixed(tensors, f"before.{LETTERS[role]}.")
        ours = from_project(before, project=project, role=role, **options[role])
        network.plain.load_state_dict(ours)
    objective = objective_of(state)
    worst_loss = worst_weight = 0.0
    for number, losses in enumerate(facts["losses"]):
        batch = prefixed(tensors, f"batch.{number}.")
        if "label" in batch:
            batch["source"] = batch.pop("label").long()
        scalars = training_step(state, batch, objective)
        for theirs, figure in losses.items():
            ours = float(scalars[NAMES[theirs]]) * weight_of(theirs, facts, state)
            worst_loss = max(worst_loss, abs(ours - figure) / abs(figure))
    idle = facts.get("idle", [])
    for role, network in trained(state).items():
        letter = LETTERS[role]
        expected = prefixed(tensors, f"after.{letter}.")
        state_dict = network.plain.state_dict()
        ours = to_project(state_dict, project=project, role=role, **options[role])
        for key, figure in expected.items():
            if key in ours and not left_out(f"{letter}.{key}", idle, project=project):
                difference = float((ours[key] - figure).abs().max())
                worst_weight = max(worst_weight, difference)
    # Seen with `pytest -s`: the figures of results/README.md.
    print(f"{name}: losses to {worst_loss:.1e} relative, final weights to {worst_weight:.1e}")
    loose = project == "SPADE" or "encoder" in options
    assert worst_loss < ((1e-7 if loose else 1e-10) if double else 1e-5)
    assert worst_weight < ((1e-7 if loose else 1e-10) if double else 1e-4)


@pytest.mark.skipif(not RATES.exists(), reason="no ../shared")
def test_the_learning_rates_of_the_reference_are_followed() -> None:
    for key, expected in json.loads(RATES.read_text()).items():
        constant, decay = map(int, key.split("+"))
        epochs = constant + decay
        rates = [
            2e-4 * value("linear", epoch, epochs=epochs, decay_start=constant / epochs)
            for epoch in range(1, epochs + 1)
        ]
        assert rates == pytest.approx(expected, rel=1e-12)


def test_pix2pixhd_and_spade_decay_an_epoch_later() -> None:
    """Their code lowers the rate at the end of the first epoch beyond the constant ones."""
    rate, expected = 1.0, []
    for epoch in range(1, 13):  # 4 + 8
        expected.append(rate)
        if epoch > 4:
            rate -= 1 / 8
    rates = [value("linear-late", epoch, epochs=12, decay_start=4 / 12) for epoch in range(1, 13)]
    assert rates == pytest.approx(expected)
    assert value("linear-late", 1, epochs=1) == 1.0
