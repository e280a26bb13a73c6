"""A training step of full-size pix2pix, 256 x 256, batch 1, fp32: the frame against plain PyTorch.

Baselines, in the same run, interleaved:
    plain           the reference's own order of operations, eager, default Adam
    plain, fused    the same with fused Adam, which is what the frame uses

Usage: python benchmarks/step.py [--rounds 15]
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from quiet import interleaved, machine, paired_ratio, refuse_if_busy, table

from limner.objective import Objective
from limner.presets import preset
from limner.training.resolving import resolved
from limner.training.state import build_discriminators, build_generator, build_state
from limner.training.step import gan_step


def plain_step(*, fused: bool):
    """Return a step written without any frame: forward, two backward passes, two Adams."""
    config = resolved(preset("pix2pix"))
    generator, (judge,) = build_generator(config), build_discriminators(config)
    settings = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": fused or None}
    optimizer_g = torch.optim.Adam(generator.parameters(), **settings)
    optimizer_d = torch.optim.Adam(judge.parameters(), **settings)
    bce = F.binary_cross_entropy_with_logits

    def step(source: torch.Tensor, target: torch.Tensor) -> None:
        fake = generator(source)
        judge.requires_grad_(True)
        optimizer_d.zero_grad()
        on_fake = judge(torch.cat([source, fake.detach()], 1))[0][-1]
        on_real = judge(torch.cat([source, target], 1))[0][-1]
        loss_fake = bce(on_fake, torch.zeros_like(on_fake))
        loss_real = bce(on_real, torch.ones_like(on_real))
        (0.5 * (loss_fake + loss_real)).backward()
        optimizer_d.step()
        judge.requires_grad_(False)
        optimizer_g.zero_grad()
        verdict = judge(torch.cat([source, fake], 1))[0][-1]
        (bce(verdict, torch.ones_like(verdict)) + 100 * F.l1_loss(fake, target)).backward()
        optimizer_g.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    refuse_if_busy()
    rng = torch.Generator().manual_seed(0)
    source, target = (torch.rand(1, 3, 256, 256, generator=rng) * 2 - 1 for _ in range(2))
    config = resolved(preset("pix2pix"))
    state = build_state(config, Fabric(accelerator="cpu", devices=1))
    objective = Objective(config.objective)
    plain, fused = plain_step(fused=False), plain_step(fused=True)
    seconds = interleaved(
        {
            "plain": lambda: plain(source, target),
            "plain, fused": lambda: fused(source, target),
            "limner": lambda: gan_step(state, {"source": source, "target": target}, objective),
        },
        rounds=rounds,
        warm=2,
        calls=2,
    )
    print(machine())
    print(table(seconds, baseline="plain"))
    cost = paired_ratio(seconds["limner"], seconds["plain, fused"]) - 1
    print(f"\nthe frame costs {cost:+.1%} over the same step with the same optimiser")


if __name__ == "__main__":
    main()
