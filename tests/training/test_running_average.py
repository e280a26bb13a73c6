"""The running average of the weights, moved in one call."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from overriding import with_overrides

from limner.config import resolved
from limner.presets import preset
from limner.training.state import build_state, update_ema


def test_one_call_moves_every_weight_as_single_ones_would() -> None:
    small = ["data.size=32", "generator.width=4", "generator.depth=3", "generator.norm=batch"]
    overrides = [*small, "discriminators.0.layers=1", "training.ema=0.9"]
    config = resolved(with_overrides(preset("pix2pix-small"), overrides))
    state = build_state(config, Fabric(accelerator="cpu", devices=1))
    assert state.ema is not None
    rng = torch.Generator().manual_seed(0)
    for step in (0, 4, 500):
        state.step = step
        with torch.no_grad():
            for value in state.generator.plain.parameters():
                value.add_(torch.randn(value.shape, generator=rng))
            for buffer in state.generator.plain.buffers():
                buffer.add_(1)
        decay = min(0.9, (step + 1) / (step + 4))
        expected = [
            average.lerp(weight, 1 - decay)
            for average, weight in zip(
                state.ema.parameters(), state.generator.plain.parameters(), strict=True
            )
        ]
        update_ema(state)
        for average, wanted in zip(state.ema.parameters(), expected, strict=True):
            assert torch.equal(average, wanted)
        for average, buffer in zip(
            state.ema.buffers(), state.generator.plain.buffers(), strict=True
        ):
            assert torch.equal(average, buffer)
