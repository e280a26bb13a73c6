"""Whose turn it is: updates in turn or together, a picture shared or fresh, rates of one's own."""

from __future__ import annotations

import pytest
import torch
from test_step import check_parts_equal_the_whole, take, weights
from tiny import batch, small

from limner.training.state import build_state, set_learning_rates

TWO = (
    "discriminators=[{name: patch, layers: 1, width: 4, norm: instance}, "
    "{name: pixel, width: 4, norm: instance}]"
)
STILL = "training.discriminator_lr=1e-30"
TOGETHER = "training.update_order=together"


def after_a_step(fabric, *overrides: str):
    state = build_state(small("generator.dropout=0", "training.lr=1e-2", *overrides), fabric)
    take(state, [batch(1)])
    return {
        key: {k: v for k, v in weights(state).items() if k.startswith(key)}
        for key in ("generator", "discriminator")
    }


@pytest.mark.parametrize("judges", ["discriminators.0.layers=1", TWO])
def test_together_the_generator_learns_from_the_discriminators_of_before(
    judges: str, fabric
) -> None:
    in_turn, together = after_a_step(fabric, judges), after_a_step(fabric, judges, TOGETHER)
    # With discriminators that do not move, those of before are those of after.
    unmoved = after_a_step(fabric, judges, STILL)
    for key, value in together["generator"].items():
        assert torch.equal(value, unmoved["generator"][key]), key
    assert any(
        not torch.equal(value, in_turn["generator"][key])
        for key, value in together["generator"].items()
    )
    # The discriminators learn from the same pictures either way, and from nothing else.
    for key, value in together["discriminator"].items():
        assert torch.equal(value, in_turn["discriminator"][key]), key
    assert any(
        not torch.equal(value, unmoved["discriminator"][key])
        for key, value in together["discriminator"].items()
    )


def test_together_accumulated_parts_equal_the_whole_batch(exact) -> None:
    check_parts_equal_the_whole(
        exact, TWO, TOGETHER, "training.fresh_fake=true", "objective.weights=[0.8, 0.4]",
        "discriminators.0.bias=false", "discriminators.1.bias=false",
    )  # fmt: skip


FIRST = "training.update_order=generator-first"


def test_generator_first_the_discriminators_see_pictures_of_the_updated_generator(fabric) -> None:
    first, in_turn = after_a_step(fabric, FIRST), after_a_step(fabric)
    unmoved = after_a_step(fabric, STILL)
    for key, value in first["generator"].items():  # it met the discriminators of before
        assert torch.equal(value, unmoved["generator"][key]), key
    assert any(
        not torch.equal(value, in_turn["discriminator"][key])
        for key, value in first["discriminator"].items()
    )


def test_generator_first_accumulated_parts_equal_the_whole_batch(exact) -> None:
    check_parts_equal_the_whole(
        exact, TWO, FIRST, "discriminators.0.bias=false", "discriminators.1.bias=false"
    )


@pytest.mark.parametrize("order", ["together", "discriminator-first"])
def test_a_fresh_picture_costs_a_pass_and_has_other_noise(order: str, fabric) -> None:
    passes, figures = {}, {}
    for fresh in ("true", "false"):
        for dropout in (0.0, 0.5):
            config = small(
                "data.size=64", "data.load_size=64", "generator.depth=6",
                f"training.fresh_fake={fresh}", f"generator.dropout={dropout}",
                f"training.update_order={order}", "training.discriminator_lr=1e-30",
            )  # fmt: skip
            state = build_state(config, fabric)
            count = []
            state.generator.plain.register_forward_hook(lambda *_, count=count: count.append(1))
            (scalars,) = take(state, [batch(1, size=64)])
            passes[fresh], figures[fresh, dropout] = len(count), scalars
    assert passes == {"true": 2, "false": 1}
    assert figures["true", 0.0] == figures["false", 0.0]
    assert figures["true", 0.5]["d/fake"] == figures["false", 0.5]["d/fake"]
    assert figures["true", 0.5]["g/l1"] != figures["false", 0.5]["g/l1"]


def test_a_discriminator_may_have_a_rate_and_an_optimiser_of_its_own(fabric) -> None:
    judges = (
        "discriminators=[{name: patch, layers: 1, width: 4, lr: 1e-3, optimizer: radam}, "
        "{name: pixel, width: 4}, {name: multiscale, layers: 1, width: 4, lr: 2e-3}]"
    )
    state = build_state(
        small(
            judges, "training.discriminator_lr=5e-4", "training.optimizer=adamw",
            "training.schedule=linear", "training.epochs=4", "training.decay_start=0.5",
        ),
        fabric,
    )  # fmt: skip
    optimisers = [type(getattr(j.optimizer, "optimizer", None)) for j in state.discriminators]
    assert optimisers == [torch.optim.RAdam, torch.optim.AdamW, torch.optim.AdamW]
    for epoch, factor in ((1, 1.0), (2, 1.0), (3, 2 / 3), (4, 1 / 3)):
        assert set_learning_rates(state, epoch) == pytest.approx(2e-4 * factor)
        rates = [judge.optimizer.param_groups[0]["lr"] for judge in state.discriminators]
        assert rates == pytest.approx([1e-3 * factor, 5e-4 * factor, 2e-3 * factor])
