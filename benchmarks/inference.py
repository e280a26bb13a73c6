"""Pictures of pix2pix's full U-Net at 256 x 256 by every back end, against eager float32.

The weights are random, with the statistics of a few pictures and an output that fills [-1, 1];
`limner bench RUN` does the same for a trained run.

Usage: python benchmarks/inference.py [--rounds 15] [--batch 8] [--backends A,B] [--published]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from quiet import refuse_if_busy
from safetensors.torch import save_file

from limner.config import Config, replace, resolved, to_yaml
from limner.files import write_text
from limner.inference.bench import bench, table
from limner.presets import preset
from limner.training.state import build_generator


def random_run(folder: Path, *, published: bool) -> Path:
    """Write a run of the preset pix2pix whose generator has learnt nothing but its statistics."""
    own = {} if published else {"inference.statistics": "running", "inference.dropout": False}
    config: Config = resolved(replace(preset("pix2pix"), own))
    network = build_generator(config).train()
    rng = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of all, not mostly the first values
    with torch.no_grad():
        for _ in range(10):
            picture = network(torch.rand(1, 3, 256, 256, generator=rng) * 2 - 1)
        last = network.ups[-1].conv
        last.weight.mul_(0.5 / picture.std())
    checkpoint = folder / "checkpoints" / "00000000"
    checkpoint.mkdir(parents=True)
    save_file(network.state_dict(), checkpoint / "generator.safetensors")
    write_text(folder / "config.yaml", to_yaml(config))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--backends", default=None)
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine, too")
    parser.add_argument(
        "--published",
        action="store_true",
        help="dropout live and statistics of each picture, as the preset has them",
    )
    given = parser.parse_args()
    if not given.anyway:
        refuse_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        results = bench(
            random_run(Path(folder), published=given.published),
            backends=given.backends.split(",") if given.backends else None,
            batch=given.batch,
            rounds=given.rounds,
        )
    print(results["machine"])
    print(table(results))
    for note in results["notes"]:
        print(f"\n{note}")


if __name__ == "__main__":
    main()
