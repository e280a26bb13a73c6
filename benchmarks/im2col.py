"""The layers of a U-Net, forward and backward: PyTorch's convolutions against Limner's.

    python benchmarks/im2col.py [--width 64] [--size 256] [--batch 1] [--anyway]

Baseline: `torch.nn.functional.conv2d` and `conv_transpose2d` on the same values, interleaved.
Limner's are matrix products up to `cpu_speed.FEW` positions; beyond, where it has its maps channels
last, they are given so, as its other layers hand them on.
"""

from __future__ import annotations

import argparse
import math
import statistics

import torch
from quiet import interleaved, machine, refuse_if_busy
from torch import Tensor, nn

from limner.networks import cpu_speed


def _step(layer: nn.Module, image: Tensor, dtype: torch.dtype):
    weighing: list[Tensor] = []

    def step() -> None:
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            made = layer(image)
        if not weighing:
            weighing.append(torch.randn_like(made))
        made.backward(weighing[0])

    return step


def _is_last(layer: nn.Module, image: Tensor, dtype: torch.dtype) -> bool:
    """Whether the layer hands its maps on channels last."""
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        return not layer(image).is_contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--anyway", action="store_true", help="run on a busy machine too")
    arguments = parser.parse_args()
    if not arguments.anyway:
        refuse_if_busy()
    depth = int(math.log2(arguments.size))
    widths = [arguments.width * min(2**level, 8) for level in range(depth)]
    print(f"{arguments}; {machine()}\n")
    print("| layer | positions | float32 ms | Limner | ratio | bfloat16 ms | Limner | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("down", "up"):
        for level in range(depth):
            inside, outside = widths[level - 1] if level else 3, widths[level]
            side = arguments.size >> level
            plain, ours = nn.Conv2d, cpu_speed.Conv2d
            if kind == "up":
                inside, outside = outside * (1 if level == depth - 1 else 2), inside
                side //= 2
                plain, ours = nn.ConvTranspose2d, cpu_speed.ConvTranspose2d
            positions = arguments.batch * (side // 2 if kind == "down" else side) ** 2
            cells = []
            for dtype in (torch.float32, torch.bfloat16):
                image = torch.randn(arguments.batch, inside, side, side, requires_grad=True)
                layers = [f(inside, outside, 4, stride=2, padding=1) for f in (plain, ours)]
                given = image
                if positions > cpu_speed.FEW and _is_last(layers[1], image, dtype):
                    last = image.detach().contiguous(memory_format=torch.channels_last)
                    given = last.requires_grad_()
                steps = [
                    _step(layer, maps, dtype)
                    for layer, maps in zip(layers, (image, given), strict=True)
                ]
                times = interleaved(
                    {"plain": steps[0], "limner": steps[1]}, rounds=arguments.rounds, warm=2
                )
                was, now = (statistics.median(times[name]) * 1e3 for name in ("plain", "limner"))
                cells.append(f"{was:.2f} | {now:.2f} | {was / now:.1f}")
            print(f"| {kind} {level}, {inside} to {outside} | {positions} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
