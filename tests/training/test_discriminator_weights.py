"""The discriminators' weights in a training: looked up or adapted, logged once, resumed exactly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from test_checkpoint import equal
from test_resume import outcome
from test_stopping import HERE, command, environment
from tiny import batch, objective_of, small

import limner.training.loop
from limner.api import train
from limner.config import ObjectiveSettings
from limner.errors import ConfigError, TrainingError
from limner.files import read_events
from limner.objective import Objective
from limner.run import CHECKSUMS
from limner.schedules import WEIGHTINGS, adapted, weights_at
from limner.training.checkpoint import load_checkpoint, read_state, save_checkpoint
from limner.training.discriminator_weights import (
    DiscriminatorWeights,
    begin_epoch,
    restored,
    to_be_saved,
)
from limner.training.state import State, build_state
from limner.training.step import training_step

TWO = "discriminators=[{name: patch, layers: 1, width: 4}, {name: pixel, width: 4}]"
ADAPTIVE = (
    TWO,
    "objective.weighting=adaptive",
    "objective.weights=[0.7, 0.3]",
    "objective.adaptive_sharpness=20",
)


def weights_in(run: Path) -> list[tuple[int, int, list[float]]]:
    return [
        (event["epoch"], event["step"], event["weights"])
        for event in read_events(run)
        if event["event"] == "weights"
    ]


def test_the_settings_name_every_rule() -> None:
    assert set(get_args(ObjectiveSettings.model_fields["weighting"].annotation)) == set(WEIGHTINGS)


def test_the_generators_term_is_the_weighted_sum_and_without_weights_the_mean(fabric) -> None:
    objective = Objective(**small("objective.l1=0").objective.terms)
    network = torch.nn.Conv2d(3, 1, 1)
    judges = [
        (lambda seen: [[network(seen)]], False),
        (lambda seen: [[3 * network(seen) + 1]], False),
    ]
    data = batch(2)
    pictures = (data["source"], data["target"], data["target"])
    one, other = (objective.generator([judge], *pictures)[1]["gan"] for judge in judges)
    mean = objective.generator(judges, *pictures)[1]["gan"]
    assert torch.equal(mean, torch.stack([one, other]).mean(0))
    total, terms = objective.generator(judges, *pictures, weights=(0.7, 0.1))
    torch.testing.assert_close(terms["gan"], 0.7 * one + 0.1 * other)
    assert torch.equal(total, terms["gan"])


def test_a_step_weighs_what_the_state_says(fabric) -> None:
    def gan(*overrides: str) -> float:
        state = build_state(small("generator.dropout=0", *overrides), fabric)
        return float(training_step(state, batch(1), objective_of(state))["g/gan"])

    first, second = gan(TWO, "objective.weights=[1, 0]"), gan(TWO, "objective.weights=[0, 1]")
    assert first != pytest.approx(second, rel=1e-3)
    assert gan(TWO, "objective.weights=[0.7, 0.3]") == pytest.approx(0.7 * first + 0.3 * second)
    assert gan(TWO) == pytest.approx((first + second) / 2)


def crash(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let the training die before step number `at`, without a checkpoint or a last word."""

    def dying(state: State, *arguments, **keywords):
        if state.step == at - 1:
            raise RuntimeError("killed")
        return training_step(state, *arguments, **keywords)

    monkeypatch.setattr(limner.training.loop, "training_step", dying)


def test_adaptive_weights_are_the_same_after_a_crash_in_the_middle_of_an_epoch(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Six steps an epoch; a checkpoint after every third.
    config = small(
        *ADAPTIVE,
        f"data.root={str(pairs)!r}",
        "training.batch_size=2",
        "training.epochs=3",
        "training.checkpoint_every=0.5",
        "training.samples_every=null",
    )
    keywords = {"cache_folder": tmp_path / "cache"}
    train(config, out=tmp_path / "whole", **keywords)
    # In an epoch; just after the next one began and its weights were logged; in an epoch again.
    for at in (5, 8, 17):
        crash(monkeypatch, at)
        with pytest.raises(RuntimeError, match="killed"):
            train(config, out=tmp_path / "parts", resume=True, **keywords)
    monkeypatch.setattr(limner.training.loop, "training_step", training_step)
    train(config, out=tmp_path / "parts", resume=True, **keywords)
    whole, scalars = outcome(tmp_path / "whole")
    parts, others = outcome(tmp_path / "parts")
    assert equal(whole, parts)
    assert scalars == others
    logged = weights_in(tmp_path / "whole")
    assert weights_in(tmp_path / "parts") == logged
    assert [(epoch, step) for epoch, step, _ in logged] == [(1, 1), (2, 7), (3, 13)]
    assert logged[0][2] == [0.7, 0.3]
    # Each epoch's are those that the losses of the one before call for.
    steps = [event for event in read_events(tmp_path / "whole") if event["event"] == "train"]
    for number, (_, _, weights) in enumerate(logged[1:]):
        seen = steps[6 * number : 6 * number + 6]
        means = [sum(event[f"d{judge}/total"] for event in seen) / 6 for judge in (0, 1)]
        expected = adapted((0.7, 0.3), means, sharpness=20, floor=0.1)
        assert weights == pytest.approx(expected, abs=1e-3)
        assert weights != pytest.approx([0.7, 0.3], abs=1e-2)


def test_weights_that_are_looked_up_follow_their_rule_in_the_log(
    pairs: Path, tmp_path: Path
) -> None:
    config = small(
        TWO,
        "objective.weighting=linear",
        "objective.weights=[0.9, 0.1]",
        "objective.weights_end=[0.1, 0.9]",
        f"data.root={str(pairs)!r}",
        "training.batch_size=6",
        "training.epochs=3",
        "training.samples_every=null",
    )
    train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    assert weights_in(tmp_path / "run") == [
        (epoch, 2 * epoch - 1, list(weights_at(
            "linear", epoch, epochs=3, weights=(0.9, 0.1), end=(0.1, 0.9)
        )))
        for epoch in (1, 2, 3)
    ]  # fmt: skip
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "run")).Reload()
    shown = [(entry.step, entry.value) for entry in board.Scalars("weights/0")]
    assert [step for step, _ in shown] == [1, 3, 5]
    assert [value for _, value in shown] == pytest.approx([0.9, 0.5, 0.1])


def test_a_checkpoint_from_before_there_were_weights_loads(fabric, tmp_path: Path) -> None:
    state = build_state(small(*ADAPTIVE), fabric)
    training_step(state, batch(1), objective_of(state))
    folder = save_checkpoint(state, tmp_path)
    assert folder is not None
    content = read_state(folder)
    assert content.pop("balance")["steps"] == 1
    torch.save(content, folder / "state.pt")
    (folder / CHECKSUMS).unlink()  # nor were there checksums
    other = build_state(small(*ADAPTIVE), fabric)
    load_checkpoint(other, folder)
    assert (
        other.step,
        other.discriminator_weights.steps,
        other.discriminator_weights.weights,
    ) == (1, 0, (0.7, 0.3))


def test_each_process_gets_its_own_losses_back_and_all_agree_on_the_weights() -> None:
    config = small(*ADAPTIVE)
    seen = torch.tensor([[1.0, 2.0], [2.0, 5.0]])
    fabrics = [
        SimpleNamespace(
            world_size=2,
            global_rank=rank,
            all_gather=lambda _: seen,
            all_reduce=lambda _, reduce_op: {"mean": seen.mean(0)}[reduce_op],
        )
        for rank in (0, 1)
    ]
    began = DiscriminatorWeights(None, torch.zeros(2))
    saved = to_be_saved(DiscriminatorWeights((0.7, 0.3), seen[0], 4), fabrics[0])  # type: ignore[arg-type]
    alone = SimpleNamespace(world_size=1, global_rank=0)
    assert torch.equal(restored(began, saved, alone).losses, seen.mean(0))  # type: ignore[arg-type]
    agreed = []
    for rank, fabric in enumerate(fabrics):
        balance = restored(began, saved, fabric)  # type: ignore[arg-type]
        assert (balance.weights, balance.steps) == ((0.7, 0.3), 4)
        assert torch.equal(balance.losses, seen[rank])
        begin_epoch(balance, 2, config=config, fabric=fabric)  # type: ignore[arg-type]
        agreed.append(balance.weights)
    means = [1.5 / 4, 3.5 / 4]
    assert agreed[0] == agreed[1] == adapted((0.7, 0.3), means, sharpness=20, floor=0.1)


def test_losses_that_are_not_finite_stop_the_training(fabric) -> None:
    balance = DiscriminatorWeights((0.7, 0.3), torch.tensor([float("nan"), 1.0]), 2)
    with pytest.raises(TrainingError, match=r"epoch 1 are \[nan.*--resume"):
        begin_epoch(balance, 2, config=small(*ADAPTIVE), fabric=fabric)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((TWO, "objective.weights=[1, 2, 3]"), "lists 3 weights for 2 discriminators"),
        ((TWO, "objective.weights=[0, 0]"), "one of them is more"),
        ((TWO, "objective.weighting=cosine"), "needs objective.weights_end"),
        (("objective.weighting=dynamic-1",), "takes two or more discriminators"),
        ((*ADAPTIVE, "objective.adaptive_floor=0.6"), "objective.adaptive_floor=0.6"),
        (("discriminators=[]", "objective.weights=[1]"), "there are none"),
        (("training.update_order=together", "training.generator_updates=2"),
         "training.generator_updates=2 repeats"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_training(
    overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        small(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_two_processes_adapt_as_one_does_and_resume_exactly(pairs: Path, tmp_path: Path) -> None:
    settings = (
        *ADAPTIVE,
        "training.precision=64-true",
        "training.epochs=2",
        "training.samples_every=null",
        "generator.dropout=0",
        "generator.bias=false",
        "discriminators.0.bias=false",
        "discriminators.1.bias=false",
        # A checkpoint averages running statistics over the processes; these nets have none.
        "discriminators.0.norm=instance",
        "discriminators.1.norm=instance",
    )
    program = [sys.executable, str(HERE / "forked_ranks.py")]
    for name, sets, flags in (
        ("whole", [], []),
        ("parts", ["training.steps=4"], []),
        ("parts", [], ["--resume", "--allow", "training.steps"]),
    ):
        words = command(pairs, tmp_path / name, "training.batch_size=1", *settings, *sets)
        program += ["--", str(tmp_path / f"ranks-{name}"), *words, *flags]
    done = subprocess.run(
        program, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    # Twelve pairs: six steps an epoch with two processes of one, or one of two.
    one = tmp_path / "one"
    config = small(f"data.root={str(pairs)!r}", "training.batch_size=2", *settings)
    train(config, out=one, cache_folder=tmp_path / "cache")
    assert weights_in(parts) == weights_in(whole)
    assert equal(outcome(parts)[0], outcome(whole)[0])
    from safetensors.torch import load_file

    ranks = [load_file(tmp_path / "ranks-parts" / f"{rank}.safetensors") for rank in (0, 1)]
    assert equal(ranks[0], ranks[1])
    for mine, theirs in zip(weights_in(whole), weights_in(one), strict=True):
        assert mine[:2] == theirs[:2]
        assert mine[2] == pytest.approx(theirs[2], abs=1e-6)
    assert weights_in(whole)[1][2] != pytest.approx([0.7, 0.3], abs=1e-3)
