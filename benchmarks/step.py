"""A training step of pix2pix on this machine's CPU: Limner's against plain PyTorch's.

    python benchmarks/step.py [--size 256] [--batch 1] [--width 64] [--rounds 15] [--memory]

Baselines, in the same run, by turns:
    plain           the reference's own order of operations, fp32, eager, PyTorch's own
                    convolutions and default Adam
    plain, fused    the same with fused Adam
Each works in a process of its own, as trainings do, Limner's with the memory that it keeps
(limner.networks.cpu_speed). With `--memory` each takes five steps, and its process's peak is
printed.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from quiet import machine, paired_ratio, refuse_if_busy, table
from torch import nn

from limner.config import Config, replace, resolved
from limner.networks import cpu_speed
from limner.networks.cpu_speed import keep_memory
from limner.objective import Objective
from limner.presets import preset
from limner.timing import Calls, TimedProcess, processes_by_turns
from limner.training.state import build_discriminators, build_generator, build_state
from limner.training.step import training_step

SUBJECTS = ("plain", "plain, fused", "limner, fp32", "limner, bf16")
PLAIN = {cpu_speed.Conv2d: nn.Conv2d, cpu_speed.ConvTranspose2d: nn.ConvTranspose2d}


def settings(arguments: argparse.Namespace, precision: str = "32-true") -> Config:
    """Return pix2pix's configuration at the size, batch and width asked for."""
    return resolved(
        replace(
            preset("pix2pix"),
            {
                "data.size": arguments.size,
                "generator.width": arguments.width,
                "discriminators.0.width": arguments.width,
                "training.batch_size": arguments.batch,
                "training.precision": precision,
            },
        )
    )


def plain_step(config: Config, *, fused: bool) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a step written without any frame: forward, two backward passes, two Adams."""
    generator, (judge,) = build_generator(config), build_discriminators(config)
    for module in generator.modules():
        module.__class__ = PLAIN.get(type(module), type(module))  # pyright: ignore
    adam = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": fused or None}
    optimizer_g = torch.optim.Adam(generator.parameters(), **adam)
    optimizer_d = torch.optim.Adam(judge.parameters(), **adam)
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


def subject(name: str, arguments: argparse.Namespace) -> Callable[[], object]:
    """Return one step of that name, on pictures from a seed."""
    rng = torch.Generator().manual_seed(0)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    source, target = (torch.rand(shape, generator=rng) * 2 - 1 for _ in range(2))
    if name.startswith("plain"):
        plain = plain_step(settings(arguments), fused=name.endswith("fused"))
        return lambda: plain(source, target)
    keep_memory()
    precision = "bf16-mixed" if name.endswith("bf16") else "32-true"
    config = settings(arguments, precision)
    state = build_state(config, Fabric(accelerator="cpu", devices=1, precision=precision))
    objective = Objective(**config.objective.terms)
    return lambda: training_step(state, {"source": source, "target": target}, objective)


def calls_of(name: str, arguments: argparse.Namespace) -> Calls:
    """Return the step, taken twice, by the name under which it is timed."""
    step = subject(name, arguments)
    for _ in range(2):
        step()
    return {"step": step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--anyway", action="store_true", help="run on a busy machine too")
    parser.add_argument("--subject", choices=SUBJECTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    what = f"{arguments.size} x {arguments.size}, batch {arguments.batch}, width {arguments.width}"
    if arguments.subject:
        step = subject(arguments.subject, arguments)
        for _ in range(5):
            step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    if arguments.memory:
        print(f"{what}; {machine()}\n\n| what | peak MiB |\n|---|---|")
        for name in SUBJECTS:
            command = [sys.executable, *sys.argv, "--subject", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"| {name} | {int(done.stdout.split()[-1]) / 1024:.0f} |")
        return
    if not arguments.anyway:
        refuse_if_busy()
    with contextlib.ExitStack() as stack:
        steps = {}
        for name in SUBJECTS:
            steps[name] = stack.enter_context(TimedProcess(partial(calls_of, name, arguments)))
            steps[name].build()
        seconds = processes_by_turns(steps, "step", rounds=arguments.rounds)
    print(f"{what}; {machine()}\n")
    print(table(seconds, baseline="plain"))
    for name in SUBJECTS[1:]:
        ratio = paired_ratio(seconds["plain"], seconds[name])
        print(f"\n{name}: {ratio:.2f} times plain's speed (median of the rounds' ratios)", end="")
    print()


if __name__ == "__main__":
    main()
