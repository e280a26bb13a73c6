"""The baseline that looks at nothing: every output is the mean of the training targets.

Usage: python benchmarks/mean_photo.py RUN DATA OUT [--split test]

Writes OUT/NAME.png for every pair of the split, prepared as the run prepares its pairs, to be
measured with `limner compare RUN/evaluation/test/target OUT`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from limner.config import read_config
from limner.inference import open_pairs, write_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", default="test")
    words = parser.parse_args()
    config = read_config(words.run / "config.yaml")
    train = open_pairs(config, words.data, "train")
    mean = torch.stack([train[index]["target"] for index in range(len(train))]).mean(0)
    pairs = open_pairs(config, words.data, words.split)
    for pair in pairs.pairs:
        write_picture(mean, words.out / f"{pair.name}.png")
    print(f"{len(pairs)} copies of the mean of {len(train)} targets in {words.out}")


if __name__ == "__main__":
    main()
