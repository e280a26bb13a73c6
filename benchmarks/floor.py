"""What a training step must cost at least: operations and bytes by part, against the ceilings.

    python benchmarks/floor.py [--size 256] [--batch 1] [--width 64] [--anyway]

The ceilings are measured here with the same library: a 2048 x 2048 matrix product and a copy of
256 MiB. Operations are those of convolutions and products (2 a multiply-add), counted by PyTorch.
Bytes are what must pass between memory and the cores even if nothing were done twice: weights
read once a pass, gradients written and read, Adam's two moments and the weights read and written,
and each layer's output written and read once forwards and its gradient likewise backwards. A
part's floor is the larger of operations / ceiling and bytes / ceiling; a step's is the sum, as the
parts follow each other.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from quiet import machine, refuse_if_busy
from step import settings
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from limner.networks import count_parameters
from limner.training.state import build_discriminators, build_generator

BYTES = {"float32": 4, "bfloat16": 2}


@dataclass
class Part:
    """One part of a step: operations, weights and values that pass, by how often."""

    name: str
    operations: float
    weights: float  # passes over weights in the numbers of the arithmetic
    values: float  # activations, each pass
    masters: float = 0.0  # float32 whatever the arithmetic: gradients and Adam's state

    def floor(self, dtype: str, *, peak: float, bandwidth: float) -> float:
        """Return seconds."""
        moved = (self.weights + self.values) * BYTES[dtype] + self.masters * 4
        return max(self.operations / peak, moved / bandwidth)


def seconds(call: Callable[[], object], times: int = 9) -> float:
    """Return the median of several calls, after two that warm up."""
    found = []
    for number in range(times + 2):
        begun = time.perf_counter()
        call()
        if number >= 2:
            found.append(time.perf_counter() - begun)
    return statistics.median(found)


def values_of(network: nn.Module, image: Tensor) -> int:
    """Return how many values the layers of one forward pass put out."""
    found = []
    hooks = [
        module.register_forward_hook(lambda module, given, made: found.append(made.numel()))
        for module in network.modules()
        if not list(module.children())
    ]
    network(image)
    for hook in hooks:
        hook.remove()
    return sum(found)


def operations_of(call: Callable[[], object]) -> float:
    """Return the operations of convolutions and matrix products."""
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return float(counter.get_total_flops())


def parts_of(arguments: argparse.Namespace) -> list[Part]:
    """Return the parts of a step of pix2pix, in their order."""
    config = settings(arguments)
    generator, (judge,) = build_generator(config), build_discriminators(config)
    side, count = arguments.size, arguments.batch
    source, pair = torch.randn(count, 3, side, side), torch.randn(count, 6, side, side)
    forward_g = operations_of(lambda: generator(source))
    both_g = operations_of(lambda: generator(source).sum().backward())
    forward_d = operations_of(lambda: judge(pair)[0][-1])
    both_d = operations_of(lambda: judge(pair)[0][-1].sum().backward())
    judge.requires_grad_(False)
    seen = pair.clone().requires_grad_()
    through_d = operations_of(lambda: judge(seen)[0][-1].sum().backward())
    weights_g, weights_d = count_parameters(generator), count_parameters(judge)
    values_g, values_d = values_of(generator, source), values_of(judge, pair)
    return [
        Part("generator, forwards", forward_g, weights_g, 2 * values_g),
        Part("discriminator, real and fake, forwards", 2 * forward_d, 2 * weights_d, 4 * values_d),
        Part(
            "discriminator, backwards",
            2 * (both_d - forward_d),
            2 * weights_d,
            4 * values_d,
            masters=2 * weights_d,
        ),
        Part("discriminator's Adam", 0, 0, 0, masters=7 * weights_d),
        Part("generator's loss through it", through_d, 2 * weights_d, 4 * values_d),
        Part(
            "generator, backwards", both_g - forward_g, weights_g, 2 * values_g, masters=weights_g
        ),
        Part("generator's Adam", 0, 0, 0, masters=7 * weights_g),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--anyway", action="store_true", help="run on a busy machine too")
    arguments = parser.parse_args()
    if not arguments.anyway:
        refuse_if_busy()
    one = torch.randn(2048, 2048)
    other, block = one.bfloat16(), torch.randn(1 << 26)
    into = torch.empty_like(block)
    peaks = {
        "float32": 2 * 2048**3 / seconds(lambda: one @ one),
        "bfloat16": 2 * 2048**3 / seconds(lambda: other @ other),
    }
    bandwidth = 2 * block.numel() * 4 / seconds(lambda: into.copy_(block))
    print(
        f"{arguments.size} x {arguments.size}, batch {arguments.batch}, width {arguments.width}; "
    )
    print(
        f"{machine()}: {peaks['float32'] / 1e9:.0f} GFLOP/s in float32, "
        f"{peaks['bfloat16'] / 1e9:.0f} in bfloat16, {bandwidth / 1e9:.1f} GB/s\n"
    )
    print("| part | GFLOP | MB in float32 | floor, float32 ms | floor, bfloat16 ms |")
    print("|---|---|---|---|---|")
    sums = dict.fromkeys(peaks, 0.0)
    for part in parts_of(arguments):
        floors = {
            dtype: part.floor(dtype, peak=peak, bandwidth=bandwidth)
            for dtype, peak in peaks.items()
        }
        for dtype, floor in floors.items():
            sums[dtype] += floor
        moved = (part.weights + part.values + part.masters) * 4 / 1e6
        print(
            f"| {part.name} | {part.operations / 1e9:.1f} | {moved:.0f} "
            f"| {floors['float32'] * 1e3:.1f} | {floors['bfloat16'] * 1e3:.1f} |"
        )
    print(f"| step | | | {sums['float32'] * 1e3:.0f} | {sums['bfloat16'] * 1e3:.0f} |")


if __name__ == "__main__":
    main()
