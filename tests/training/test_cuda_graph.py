"""A recorded step: the same training, recorded anew whenever a constant of it changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from test_step import weights
from tiny import batch, objective_of, small

from limner.objective import Objective
from limner.training.cuda import WARM, CudaGraph, CudaGraphStep, why_not
from limner.training.state import State, build_state, set_learning_rates
from limner.training.step import Update, training_step

CUDA = torch.device("cuda")


class Recorder(CudaGraph):
    """Does what a CUDA graph does, on the CPU: nothing when recorded, the same again and again."""

    def __init__(self) -> None:
        self.recordings = self.replays = self.warmed = 0

    def warm(self, call: Callable[[], dict]) -> dict:
        self.warmed += 1
        return call()

    def record(self, call: Callable[[], dict]) -> tuple[Callable[[], None], dict]:
        self.recordings += 1
        made: dict[str, torch.Tensor] = {}

        def replay() -> None:
            self.replays += 1
            made.update(call())

        return replay, made


def trained(fabric, turns: Update | None, *, steps: int = 8) -> tuple[State, list[dict]]:
    """Train with dropout and a running average; the rate changes before the last two steps."""
    config = small("generator.dropout=0.5", "training.ema=0.9", "training.schedule=linear")
    state = build_state(config, fabric)
    objective = Objective(**config.objective.terms)
    scalars = []
    for number in range(steps):
        if number == steps - 2:
            set_learning_rates(state, 90)
        scalars.append(training_step(state, batch(1, seed=number), objective, update=turns))
    return state, scalars


def test_a_recorded_training_is_the_same_training(fabric) -> None:
    recorder = Recorder()
    plain, expected = trained(fabric, None)
    recorded, made = trained(fabric, CudaGraphStep(recorder))
    assert recorder.recordings == 1
    assert recorder.replays == 6 - WARM
    assert recorder.warmed == WARM + 2  # the last two follow a change, and warm up again
    for key, value in weights(plain).items():
        assert torch.equal(value, weights(recorded)[key]), key
    assert plain.ema is not None
    assert recorded.ema is not None
    for one, other in zip(plain.ema.parameters(), recorded.ema.parameters(), strict=True):
        assert torch.equal(one, other)
    assert made == expected
    for player in recorded.networks.values():
        assert not any(group["capturable"] for group in player.optimizer.param_groups)


def test_what_changes_is_recorded_anew_and_what_never_stays_is_not(fabric) -> None:
    recorder = Recorder()
    trained(fabric, CudaGraphStep(recorder), steps=2 * WARM + 4)
    assert recorder.recordings == 1
    state = build_state(small("training.batch_size=2"), fabric)
    turns = CudaGraphStep(recorder)
    for number in range(3 * WARM):
        training_step(
            state,
            batch(1 + number % 2, seed=number),
            objective_of(state),
            update=turns,
        )
    assert recorder.recordings == 1
    for number in range(WARM + 1):
        training_step(state, batch(2, seed=number), objective_of(state), update=turns)
    assert recorder.recordings == 2


def test_other_weights_of_the_discriminators_are_recorded_anew(fabric) -> None:
    state = build_state(small("objective.weights=[0.7]"), fabric)
    recorder = Recorder()
    turns = CudaGraphStep(recorder)
    for number in range(2 * (WARM + 1)):
        if number == WARM + 1:
            state.discriminator_weights.weights = (0.49,)
        training_step(state, batch(1, seed=number), objective_of(state), update=turns)
    assert (recorder.recordings, recorder.replays, recorder.warmed) == (2, 2, 2 * WARM)


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("objective.r1=1", "penalties"),
        ("objective.gan=wgan-gp", "penalties"),
        ("objective.augment=[colour]", "augmentation"),
    ],
)
def test_steps_that_differ_are_not_recorded(override: str, word: str) -> None:
    assert word in (why_not(small(override), CUDA, processes=1) or "")


def test_recording_is_for_one_process_on_cuda() -> None:
    assert why_not(small(), CUDA, processes=1) is None
    assert "several processes" in (why_not(small(), CUDA, processes=2) or "")
    assert "cpu" in (why_not(small(), torch.device("cpu"), processes=1) or "")
