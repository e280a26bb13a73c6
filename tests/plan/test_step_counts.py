"""A counted step is the real one: the same parameters, products and states, without the numbers."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric
from tiny import batch, label_batch, objective_of, small, tiny
from torch.utils.flop_counter import FlopCounterMode

from limner.config import Config
from limner.networks import count_parameters
from limner.plan.step_counts import count_step
from limner.training.state import State, build_state
from limner.training.step import training_step


def stepped(config: Config) -> tuple[State, int]:
    """Take two real steps; return the state and the multiply-adds of the second."""
    state = build_state(config, Fabric(accelerator="cpu", devices=1))
    count = config.training.batch_size * config.training.accumulate
    pictures = label_batch(count) if config.data.labels else batch(count)
    training_step(state, pictures, objective_of(state))
    counter = FlopCounterMode(display=False)
    with counter:
        training_step(state, pictures, objective_of(state))
    return state, counter.get_total_flops() // 2


PICTURES = {
    "plain": (),
    "parts, with a penalty": ("training.accumulate=2", "objective.r1=1"),
    "repeated": ("training.discriminator_updates=2", "training.generator_updates=2"),
    "no discriminator": ("discriminators=[]", "training.optimizer=radam"),
}


@pytest.mark.parametrize("name", [*PICTURES, "pix2pixhd-features", "spade-vae"])
def test_what_is_counted_is_what_a_step_does(name: str) -> None:
    config = small(*PICTURES[name]) if name in PICTURES else tiny(name)
    counts = count_step(config)
    state, macs = stepped(config)
    assert counts.macs == macs
    assert counts.generator == count_parameters(state.generator.plain)
    encoder = None if state.encoder is None else count_parameters(state.encoder.plain)
    assert counts.encoder == encoder
    assert counts.discriminators == tuple(count_parameters(d.plain) for d in state.discriminators)
    kept = [
        value
        for network in state.networks.values()
        for values in network.optimizer.state_dict()["state"].values()
        for value in values.values()
    ]
    assert counts.optimizers == sum(value.numel() * value.element_size() for value in kept)


def test_nothing_is_drawn_and_nothing_stays() -> None:
    before = torch.get_rng_state()
    first, second = count_step(small()), count_step(small())
    assert torch.equal(torch.get_rng_state(), before)
    assert first == second


def test_a_batch_costs_activations_and_accumulating_it_saves_them() -> None:
    one, four = (count_step(small(f"training.batch_size={n}")) for n in (1, 4))
    parts = count_step(small("training.batch_size=1", "training.accumulate=4"))
    assert one.weights == four.weights == parts.weights
    assert one.activations < parts.activations < four.activations
    assert four.macs == 4 * one.macs
    # The picture for the generator's own loss is made again, since no part's graph is kept.
    assert parts.macs > four.macs


def test_activation_checkpointing_takes_time_for_memory() -> None:
    wide = ("generator.width=16", "generator.blocks=4")
    kept = count_step(tiny("pix2pixhd-small", *wide))
    remade = count_step(tiny("pix2pixhd-small", *wide, "generator.activation_checkpointing=true"))
    assert remade.activations < kept.activations
    assert remade.macs > kept.macs


def test_a_perceptual_loss_counts_though_its_weights_are_not_here() -> None:
    without = count_step(small("data.size=64", "data.load_size=64"))
    looked = count_step(
        small("data.size=64", "data.load_size=64", "objective.vgg=1", "objective.vgg_network=vgg16")
    )
    assert looked.macs > without.macs
    assert looked.weights - without.weights > 4 * 9_000_000
    assert looked.gradients == without.gradients


def test_bfloat16_halves_what_passes_and_not_what_is_kept() -> None:
    plain = count_step(tiny("pix2pixhd-small", "generator.width=32"))
    mixed = count_step(
        tiny("pix2pixhd-small", "generator.width=32", "training.precision=bf16-mixed")
    )
    assert mixed.macs == plain.macs
    assert (mixed.weights, mixed.optimizers) == (plain.weights, plain.optimizers)
    assert mixed.activations < plain.activations
