"""Pixels that a pair's mask leaves out have no part in what is learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tiny import small

from limner.api import train
from limner.files import read_events


def masked_pairs(root: Path, *, hidden: int) -> Path:
    """Draw pairs whose targets' masked-out halves have the value `hidden`."""
    for number in range(2):
        rng = np.random.default_rng(number)
        source = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        target = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        mask = np.zeros((32, 32), np.uint8)
        mask[:, :16] = 255
        target[:, 16:] = hidden
        for kind, pixels in (("source", source), ("target", target), ("mask", mask)):
            (root / "train" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / "train" / kind / f"{number}.png")
    return root


def test_pixels_that_do_not_count_have_no_part_in_the_losses(tmp_path: Path) -> None:
    means = {}
    for hidden in (0, 255):
        data = masked_pairs(tmp_path / f"data{hidden}", hidden=hidden)
        run = tmp_path / f"run{hidden}"
        config = small(
            f"data.root={str(data)!r}", "data.mode=resize", "training.steps=1",
            "data.interpolation=[nearest, nearest]", "generator.norm=instance",
        )  # fmt: skip
        train(config, out=run, cache_folder=tmp_path / "cache")
        (event,) = [e for e in read_events(run) if e["event"] == "train"]
        means[hidden] = event["g/l1"]
    # The halves that count are alike; what lies beyond them is the target's own in both pictures.
    assert means[0] == means[255]
