"""Time a training pair's way from the disk to the network, against pix2pix's way, in the same run.

    python benchmarks/loader.py DATA [--pairs 100] [--size 256] [--anyway]

DATA is a data set of one file a pair (`limner demo` makes one). The baseline does for each pair
what pytorch-CycleGAN-and-pix2pix does, in its order: Pillow decodes the file, both halves are
resized (bicubic) to 286 / 256 of the size, cropped at one place, flipped together, turned into
tensors in [-1, 1]. Limner's loader is timed with an empty cache, from the cache, and from the cache
with one worker process; all in the training's own process otherwise. Below the table: what the
loader takes of a training step of `--step` seconds (0.256: full pix2pix, bf16, benchmarks/step.py).
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from quiet import machine, refuse_if_busy, table
from torch import Tensor

from limner.config import replace
from limner.data import find_pairs
from limner.presets import preset
from limner.training.datasets import TrainingData, open_training_data


def plainly(files: list[Path], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pairs as the reference implementation prepares them."""
    load = round(size * 286 / 256)
    for file in random.sample(files, len(files)):
        with Image.open(file) as opened:
            whole = opened.convert("RGB")
        middle = whole.width // 2
        halves = [
            whole.crop((0, 0, middle, whole.height)),
            whole.crop((middle, 0, whole.width, whole.height)),
        ]
        left, top = (random.randint(0, load - size) for _ in "xy")
        flip = random.random() > 0.5
        made = []
        for half in halves:
            half = half.resize((load, load), Image.Resampling.BICUBIC)
            half = half.crop((left, top, left + size, top + size))
            if flip:
                half = half.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            levels = torch.from_numpy(np.array(half)).permute(2, 0, 1).contiguous()
            made.append(levels.float().div(255).sub(0.5).div(0.5)[None])
        yield made[0], made[1]


def opened(data: Path, size: int, cache: Path, *, workers: int = 0) -> TrainingData:
    """Open the pairs the way a training of the preset pix2pix does."""
    settings = {"data.root": str(data), "data.size": size, "training.workers": workers}
    return open_training_data(replace(preset("pix2pix"), settings), cache_folder=cache)


def timed(batches: Iterator[object], count: int) -> float:
    """Return seconds a pair over `count` pairs, the first of all left out: it starts workers."""
    next(batches)
    begun = time.perf_counter()
    for _ in range(count):
        next(batches)
    return (time.perf_counter() - begun) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--step", type=float, default=0.256, help="seconds")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine, too")
    given = parser.parse_args()
    if not given.anyway:
        refuse_if_busy()
    files = [pair.source for pair in find_pairs(given.data, "train", direction="AtoB")]
    count = min(given.pairs, len(files) - 1)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as kept:
        warm = opened(given.data, given.size, Path(kept))
        for _ in itertools.islice(warm.batches(0), len(files)):  # an epoch fills the cache
            pass
        for number in range(given.rounds):
            with tempfile.TemporaryDirectory() as empty:
                subjects = {
                    "Pillow, the reference's order": plainly(files, given.size),
                    "Limner, nothing cached": opened(given.data, given.size, Path(empty)).batches(
                        0
                    ),
                    "Limner, cached": warm.batches(number * len(files)),
                    "Limner, cached, one worker": opened(
                        given.data, given.size, Path(kept), workers=1
                    ).batches(number * len(files)),
                }
                for name, batches in subjects.items():
                    seconds.setdefault(name, []).append(timed(batches, count))
    print(machine())
    print(table(seconds, baseline="Pillow, the reference's order"))
    print(f"\nof a step of {given.step} s:")
    for name, values in seconds.items():
        print(f"  {name}: {statistics.median(values) / given.step:.1%}")


if __name__ == "__main__":
    main()
