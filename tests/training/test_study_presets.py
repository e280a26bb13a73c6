"""The study's presets, and its variations on pix2pix: their sizes, and that they train."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from overriding import with_overrides
from PIL import Image
from tiny import batch

from limner.cli import main
from limner.config import Config, resolved
from limner.files import read_events
from limner.networks import count_parameters
from limner.networks.unet import PATTERNS
from limner.objective import Objective
from limner.presets import preset
from limner.schedules import WEIGHTINGS
from limner.training.state import build_discriminators, build_generator, build_state
from limner.training.step import training_step

STUDY = {
    "study-base": (54_419_459, [2_767_809]),
    "study": (54_419_459, [2_767_809, 2_761_665]),
    "study-add": (39_080_963, [2_767_809]),
    "study-multiply": (39_080_963, [2_767_809]),
    "study-alternating": (47_996_931, [2_767_809]),
}
JUDGES = [
    "{name: patch, width: 2, layers: 2}",
    "{name: patch, width: 2, layers: 1, scale: 2, lr: 1e-4}",
    "{name: pixel, width: 2, optimizer: radam}",
]


@pytest.mark.parametrize("name", STUDY)
def test_parameters_are_those_of_the_study(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.networks.initialise", lambda *_, **__: None)
    config = resolved(preset(name))
    generator, discriminators = STUDY[name]
    with torch.device("meta"):
        assert count_parameters(build_generator(config)) == generator
        found = [count_parameters(network) for network in build_discriminators(config)]
    assert found == discriminators


def two_steps(config: Config, fabric, size: int) -> None:
    state = build_state(resolved(config), fabric)
    before = {name: next(p.plain.parameters()).clone() for name, p in state.networks.items()}
    for seed in (0, 1):
        scalars = training_step(
            state, batch(1, size=size, seed=seed), Objective(**config.objective.terms)
        )
        assert all(math.isfinite(float(value)) for value in scalars.values())
    for name, player in state.networks.items():
        assert not torch.equal(before[name], next(player.plain.parameters())), name


@pytest.mark.parametrize("name", STUDY)
def test_each_trains_at_small_sizes(name: str, fabric) -> None:
    widths = [f"discriminators.{number}.width=2" for number in range(len(STUDY[name][1]))]
    config = with_overrides(preset(name), ["data.size=64", "generator.width=2", *widths])
    two_steps(config, fabric, 64)


@pytest.mark.parametrize(
    ("weighting", "count", "skips"),
    [
        (rule, count, skips)
        for (rule, count), skips in zip(
            itertools.product(WEIGHTINGS, (2, 3)),
            itertools.cycle([*PATTERNS, "[add, concat, multiply, add]"]),
            strict=False,
        )
    ],
)
def test_pix2pix_takes_every_variation(weighting: str, count: int, skips: str, fabric) -> None:
    config = with_overrides(
        preset("pix2pix"),
        [
            "data.size=32", "generator.width=2", f"generator.skips={skips}",
            f"discriminators=[{', '.join(JUDGES[:count])}]", f"objective.weighting={weighting}",
            f"objective.weights={[0.6, 0.3, 0.1][:count]}",
            f"objective.weights_end={[0.1, 0.1, 0.8][:count]}",
        ],
    )  # fmt: skip
    two_steps(config, fabric, 32)


@pytest.mark.slow
def test_the_command_line_trains_the_study(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data" / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(2):
        pixels = rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / "train" / f"{index}.png")
    run = tmp_path / "run"
    small = [
        "data.size=64", "generator.width=2", "discriminators.0.width=2",
        "discriminators.1.width=2", "training.epochs=1",
    ]  # fmt: skip
    words = ["train", str(tmp_path / "data"), "--out", str(run), "--preset", "study"]
    assert main([*words, *(word for setting in small for word in ("--set", setting))]) == 0
    events = read_events(run)
    assert events[-1]["event"] == "finished"
    assert events[-1]["step"] == 2
    weights = [event for event in events if event["event"] == "weights"]
    assert [(e["epoch"], e["step"], e["weights"]) for e in weights] == [(1, 1, [0.7, 0.3])]
    assert {"d0/total", "d1/total", "g/gan", "g/l1"} <= {key for e in events for key in e}
