"""The step: who is updated by what, and what accumulation, seeds and averages guarantee."""

from __future__ import annotations

import pytest
import torch
from tiny import batch, objective_of, small
from torch import Tensor

from limner.training.state import State, build_state
from limner.training.step import training_step


def take(state: State, batches: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [training_step(state, one, objective_of(state)) for one in batches]


def weights(state: State) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, player in state.networks.items()
        for key, value in player.plain.state_dict().items()
    }


def check_parts_equal_the_whole(exact, *settings: str) -> None:
    """Four pairs at once and two and two teach the same."""
    # A bias before a norm has no gradient but rounding, which Adam would blow up.
    overrides = (*settings, "generator.dropout=0", "generator.bias=false")
    whole = build_state(small("training.batch_size=4", *overrides), exact)
    parts = build_state(small("training.batch_size=2", "training.accumulate=2", *overrides), exact)
    data = [batch(4, seed=seed, dtype=torch.float64) for seed in range(3)]
    for one, other in zip(take(whole, data), take(parts, data), strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            torch.testing.assert_close(value, other[key], rtol=1e-9, atol=1e-9)
    for key, value in weights(whole).items():
        torch.testing.assert_close(value, weights(parts)[key], rtol=1e-7, atol=1e-9)


def test_accumulated_parts_equal_the_whole_batch(exact) -> None:
    check_parts_equal_the_whole(exact, "discriminators.0.bias=false")


def test_each_network_learns_from_its_own_loss_alone(fabric) -> None:
    for still, moving in (("generator", "discriminator_0"), ("discriminator_0", "generator")):
        rates = {"generator": "training.lr", "discriminator_0": "training.discriminator_lr"}
        state = build_state(small(f"{rates[still]}=1e-9", f"{rates[moving]}=1e-2"), fabric)
        before = weights(state)
        take(state, [batch(1)])
        moved = {
            key: float((value - before[key]).abs().max()) for key, value in weights(state).items()
        }
        assert max(v for k, v in moved.items() if k.startswith(still)) < 1e-6
        assert max(v for k, v in moved.items() if k.startswith(moving)) > 1e-3


def test_the_generators_half_leaves_no_gradient_in_the_discriminator(fabric) -> None:
    state = build_state(small("objective.l1=0"), fabric)
    take(state, [batch(1)])
    judge = state.discriminators[0]
    left = [p.grad.clone() for p in judge.plain.parameters() if p.grad is not None]
    fresh = build_state(small("objective.l1=0"), fabric).discriminators[0]
    fake = build_state(small("objective.l1=0"), fabric).generator
    torch.manual_seed(0)
    data = batch(1)
    with torch.no_grad():
        picture = fake.network(data["source"])
    loss, _ = objective_of(state).discriminator(
        fresh.network, data["source"], data["target"], picture
    )
    loss.backward()
    own = [p.grad for p in fresh.plain.parameters() if p.grad is not None]
    for one, other in zip(left, own, strict=True):
        torch.testing.assert_close(one, other)
    assert all(parameter.requires_grad for parameter in judge.plain.parameters())


def test_without_discriminators_only_the_difference_teaches(fabric) -> None:
    state = build_state(small("discriminators=[]", "training.lr=1e-2"), fabric)
    scalars = take(state, [batch(2)] * 30)
    assert set(scalars[0]) == {"g/l1", "g/total"}
    assert float(scalars[-1]["g/l1"]) < 0.9 * float(scalars[0]["g/l1"])


@pytest.mark.parametrize("gan", ["vanilla", "lsgan", "hinge", "wgan-gp"])
def test_a_discriminator_left_alone_learns_to_tell(gan: str, fabric) -> None:
    state = build_state(
        small(f"objective.gan={gan}", "training.lr=1e-8", "training.discriminator_lr=2e-3"), fabric
    )
    scalars = take(state, [batch(2)] * 60)
    # What a critic says of one picture means nothing, so it is right less often.
    assert float(scalars[-1]["d/accuracy"]) > (0.6 if gan == "wgan-gp" else 0.9)
    assert float(scalars[-1]["d/total"]) < float(scalars[0]["d/total"])
    assert ("d/penalty" in scalars[0]) == (gan == "wgan-gp")


@pytest.mark.parametrize("gan", ["vanilla", "lsgan", "hinge", "wgan-gp"])
def test_a_generator_left_alone_learns_to_please(gan: str, fabric) -> None:
    state = build_state(
        small(
            f"objective.gan={gan}",
            "objective.l1=0",
            "training.lr=2e-3",
            "training.discriminator_lr=1e-9",
        ),
        fabric,
    )
    scalars = take(state, [batch(2)] * 30)
    assert float(scalars[-1]["g/gan"]) < float(scalars[0]["g/gan"])


def test_several_discriminators_are_told_apart_in_the_log(fabric) -> None:
    judges = "[{name: patch, layers: 1, width: 4}, {name: pixel, width: 4, conditional: false}]"
    state = build_state(small(f"discriminators={judges}"), fabric)
    (scalars,) = take(state, [batch(1)])
    assert {"d0/real", "d1/real", "g/gan"} <= set(scalars)
    assert [judge.conditional for judge in state.discriminators] == [True, False]


def test_a_step_repeats_whatever_was_drawn_in_between(fabric) -> None:
    config = small(
        "data.size=64", "data.load_size=64", "generator.depth=6", "objective.instance_noise=0.1"
    )
    one, other = build_state(config, fabric), build_state(config, fabric)
    data = [batch(1, size=64, seed=seed) for seed in range(3)]
    take(one, data)
    for single in data:
        torch.rand(7)
        take(other, [single])
    assert all(torch.equal(value, weights(other)[key]) for key, value in weights(one).items())


def test_dropout_differs_from_step_to_step(fabric) -> None:
    state = build_state(
        small("data.size=64", "data.load_size=64", "generator.depth=6", "training.lr=1e-12"), fabric
    )
    first, second = take(state, [batch(1, size=64)] * 2)
    assert float(first["g/l1"]) != float(second["g/l1"])


def test_the_running_average_follows_its_definition(fabric) -> None:
    state = build_state(small("training.ema=0.45", "generator.norm=batch"), fabric)
    assert state.ema is not None
    expected = {k: v.clone() for k, v in state.generator.plain.named_parameters()}
    # t / (t + 3) until the decay that was asked for is less.
    for seed, decay in enumerate([1 / 4, 2 / 5, 0.45, 0.45]):
        take(state, [batch(2, seed=seed)])
        for key, value in state.generator.plain.named_parameters():
            expected[key] = decay * expected[key] + (1 - decay) * value
    for key, value in state.ema.named_parameters():
        torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-7)
    buffers = dict(state.generator.plain.named_buffers())
    assert all(torch.equal(value, buffers[key]) for key, value in state.ema.named_buffers())
    assert state.picture_network is state.ema


def test_the_loss_is_halved_for_the_discriminator(fabric) -> None:
    state = build_state(small(), fabric)
    (scalars,) = take(state, [batch(1)])
    expected = 0.5 * (scalars["d/real"] + scalars["d/fake"])
    torch.testing.assert_close(scalars["d/total"], expected)
    total = scalars["g/gan"] + 100 * scalars["g/l1"]
    torch.testing.assert_close(scalars["g/total"], total)
