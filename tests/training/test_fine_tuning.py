"""What learns in a training that goes on from another run, how fast, and what draws it back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from random_pairs import write_pairs
from test_checkpoint import equal
from test_resume import outcome
from tiny import SMALL, batch, label_batch, objective_of, small, tiny

from limner.api import train
from limner.config import Config, parse_overrides, read_config, replace
from limner.errors import ConfigError
from limner.files import read_events
from limner.presets import preset
from limner.run import checkpoint_folder
from limner.training.carry_over import begin_from, settings_from
from limner.training.checkpoint import read_state
from limner.training.fine_tuning import stages_of
from limner.training.state import State, build_state, set_learning_rates
from limner.training.step import training_step

FEW = ("training.samples_every=null", "validation.every=null", "generator.norm=batch")


def settings(data: Path, *changes: str) -> Config:
    plain = parse_overrides([*SMALL, *FEW, *changes])
    return replace(preset("pix2pix-small"), {**plain, "data.root": str(data)})


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps with batch norm."""
    folder = tmp_path_factory.mktemp("lent")
    data = write_pairs(folder / "data", train=3)
    train(settings(data, "training.steps=3"), out=folder / "run", cache_folder=folder / "cache")
    return folder / "run"


def going_on(run: Path, *changes: str) -> Config:
    return replace(settings_from(run), parse_overrides([*FEW, *changes]))


def snapshot(state: State) -> dict[str, dict[str, torch.Tensor]]:
    return {
        name: {key: value.clone() for key, value in network.plain.state_dict().items()}
        for name, network in state.networks.items()
    }


def moved(state: State, before: dict[str, dict[str, torch.Tensor]], name: str) -> set[str]:
    """Return the names of a network's tensors that are not what they were, bit by bit."""
    now = state.networks[name].plain.state_dict()
    return {key for key, value in before[name].items() if not torch.equal(value, now[key])}


def stepped(state: State, *, count: int = 2, labels: bool = False) -> State:
    for step in range(count):
        set_learning_rates(state, 1)
        sample = label_batch(2, seed=step) if labels else batch(1, seed=step)
        training_step(state, sample, objective_of(state))
    return state


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_frozen_part_keeps_every_number_statistics_too(part: str, fabric) -> None:
    config = small("generator.norm=batch", f"training.freeze=[{part}]", "training.ema=0.9")
    state = build_state(config, fabric)
    before = snapshot(state)
    changed = moved(stepped(state), before, "generator")
    inside = tuple(
        f"{name}."
        for stage in stages_of(state.generator.plain)
        if stage.part == part
        for name in stage.modules
    )
    assert not {name for name in changed if name.startswith(inside)}
    others = {name for name in before["generator"] if not name.startswith(inside)}
    assert any("running_mean" in name for name in others)
    assert changed == others
    kept = dict(state.ema.named_parameters())  # type: ignore[union-attr]
    assert all(torch.equal(kept[n], before["generator"][n]) for n in kept if n.startswith(inside))


def test_frozen_first_layers_keep_their_spectral_vectors(fabric) -> None:
    config = tiny("spade", "training.freeze_discriminator=2", "discriminators.0.layers=2")
    state = build_state(config, fabric)
    before = snapshot(state)
    changed = moved(stepped(state, labels=True), before, "discriminator_0")
    inside = tuple(f"scales.{scale}.{block}." for scale in range(2) for block in range(2))
    assert any(
        name.startswith(inside) and name.endswith(".u") for name in before["discriminator_0"]
    )
    assert not {name for name in changed if name.startswith(inside)}
    assert any(name.endswith(".u") for name in changed)


def test_a_step_leaves_frozen_what_is_frozen(fabric) -> None:
    """Discriminators are held while the generator learns, and not let loose afterwards."""
    state = build_state(small("training.freeze_discriminator=1"), fabric)
    learns = [p.requires_grad for p in state.discriminators[0].plain.parameters()]
    stepped(state)
    assert [p.requires_grad for p in state.discriminators[0].plain.parameters()] == learns
    assert True in learns
    assert False in learns


def test_rates_fall_from_the_picture_inwards(fabric) -> None:
    """Adam's first update is the rate itself, whatever the gradient."""
    config = small("generator.norm=none", "training.layer_decay=0.5", "training.ema=null")
    state = build_state(config, fabric)
    before = snapshot(state)["generator"]
    stepped(state, count=1)
    now = state.generator.plain.state_dict()
    stages = stages_of(state.generator.plain)
    for depth, stage in enumerate(reversed(stages)):
        (name,) = stage.modules
        weight = f"{name}.conv.weight"
        step = (now[weight] - before[weight]).abs().max()
        torch.testing.assert_close(
            float(step), config.training.lr * 0.5**depth, rtol=0.02, atol=0.0
        )


def test_weights_are_drawn_back_to_those_that_were_lent(lent: Path, fabric) -> None:
    """With lr * l2_sp = 1 each update goes the whole way back; what began anew is left alone."""
    config = going_on(lent, "training.l2_sp=5000", "discriminators.0.width=6", "training.ema=null")
    assert config.training.lr * config.training.l2_sp == 1
    state = build_state(config, fabric)
    transfer = begin_from(state, lent)
    assert transfer is not None
    before = snapshot(state)
    stepped(state)
    weights = {name for name, _ in state.generator.plain.named_parameters()}
    assert not moved(state, before, "generator") & weights
    fresh = {n.removeprefix("discriminator_0.") for n in transfer.initialised}
    assert fresh
    assert moved(state, before, "discriminator_0") >= fresh


def test_a_weaker_pull_keeps_weights_nearer(lent: Path, fabric) -> None:
    distances = []
    for strength in (0, 50, 500):
        config = going_on(lent, f"training.l2_sp={strength}", "training.ema=null")
        state = build_state(config, fabric)
        begin_from(state, lent)
        before = snapshot(state)["generator"]
        stepped(state, count=4)
        names = dict(state.generator.plain.named_parameters())
        now = {name: state.generator.plain.state_dict()[name] for name in names}
        distances.append(sum(float((now[n] - before[n]).square().sum()) for n in now))
    assert distances == sorted(distances, reverse=True)
    assert distances[2] < 0.9 * distances[0]


def test_kept_optimizers_go_on_with_their_averages(lent: Path, fabric) -> None:
    config = going_on(lent, "training.keep_optimizer=true")
    state = build_state(config, fabric)
    transfer = begin_from(state, lent)
    assert transfer is not None
    assert transfer.remapped == {}
    saved = read_state(checkpoint_folder(lent))["optimizers"]
    for name, network in state.networks.items():
        assert equal(network.optimizer.state_dict()["state"], saved[name]["state"])
    assert transfer.optimizers == sum(len(own["state"]) for own in saved.values())


def test_what_began_anew_has_no_averages_to_keep(lent: Path, fabric) -> None:
    config = going_on(lent, "training.keep_optimizer=true", "discriminators.0.width=6")
    state = build_state(config, fabric)
    transfer = begin_from(state, lent)
    assert transfer is not None
    names = [name for name, _ in state.discriminators[0].plain.named_parameters()]
    kept = state.discriminators[0].optimizer.state_dict()["state"]
    fitting = {n for n in names if f"discriminator_0.{n}" not in transfer.initialised}
    assert {names[number] for number in kept} == fitting
    stepped(state, count=1)


EVERYTHING = (
    "training.keep_optimizer=true",
    "training.freeze=[encoder]",
    "training.freeze_discriminator=1",
    "training.layer_decay=0.7",
    "training.l2_sp=100",
    "training.checkpoint_every=0.3",
    "training.ema=0.9",
)


def test_stopped_and_resumed_equals_uninterrupted(lent: Path, tmp_path: Path) -> None:
    data, cache = write_pairs(tmp_path / "data", seed=1, train=3), tmp_path / "cache"
    own = f"data.root={str(data)!r}"
    whole = going_on(lent, *EVERYTHING, own, "training.steps=5")
    train(whole, out=tmp_path / "whole", cache_folder=cache)
    for steps in (2, 5):
        train(
            going_on(lent, *EVERYTHING, own, f"training.steps={steps}"),
            out=tmp_path / "parts",
            resume=True,
            allow=("training.steps",),
            cache_folder=cache,
        )
    assert equal(outcome(tmp_path / "whole")[0], outcome(tmp_path / "parts")[0])
    (event,) = [e for e in read_events(tmp_path / "parts") if e["event"] == "transfer"]
    assert event["optimizers"] > 0


def test_a_frozen_part_may_learn_from_a_resume_on(lent: Path, tmp_path: Path) -> None:
    data, cache = write_pairs(tmp_path / "data", seed=1, train=3), tmp_path / "cache"
    own = (f"data.root={str(data)!r}", "training.steps=2", "training.freeze=[encoder]")
    run = tmp_path / "run"
    train(going_on(lent, *own), out=run, cache_folder=cache)
    more = replace(read_config(run / "config.yaml"), {"training.freeze": [], "training.steps": 3})
    state = train(
        more, out=run, resume=True, allow=("training.freeze", "training.steps"), cache_folder=cache
    )
    first = next(iter(state.generator.plain.parameters()))
    assert state.generator.optimizer.state[first]["step"] == 1


@pytest.mark.parametrize(
    "change",
    [
        "training.freeze=[blocks]",  # a U-Net has none
        "training.freeze=[encoder, decoder]",
        "training.freeze_discriminator=9",
    ],
)
def test_what_cannot_be_frozen_is_refused(change: str, fabric) -> None:
    with pytest.raises(ConfigError, match=change.partition("=")[0]):
        build_state(small(change), fabric)


@pytest.mark.parametrize("change", ["training.l2_sp=1", "training.keep_optimizer=true"])
def test_what_needs_a_start_is_refused_without(change: str) -> None:
    with pytest.raises(ConfigError, match="--from"):
        small(change)


def test_a_frozen_part_that_would_begin_anew_is_refused(lent: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", train=3)
    config = going_on(
        lent,
        f"data.root={str(data)!r}",
        "training.freeze_discriminator=1",
        "discriminators.0.width=6",
        "training.steps=1",
    )
    with pytest.raises(ConfigError, match="freeze_discriminator"):
        train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    assert not (tmp_path / "run").exists()


def test_a_pull_cannot_begin_in_the_midst(lent: Path, tmp_path: Path) -> None:
    data, cache = write_pairs(tmp_path / "data", seed=1, train=3), tmp_path / "cache"
    config = going_on(lent, f"data.root={str(data)!r}", "training.steps=1", "training.l2_sp=0")
    train(config, out=tmp_path / "run", cache_folder=cache)
    with pytest.raises(ConfigError, match=r"l2_sp"):
        train(
            replace(config, {"training.l2_sp": 1.0, "training.steps": 2}),
            out=tmp_path / "run",
            resume=True,
            allow=("training",),
            cache_folder=cache,
        )
