"""A small run with batch norm, its data, and the same pairs with darker sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flawed import pictures
from PIL import Image
from tiny import SMALL

from limner.api import train
from limner.config import parse_overrides, replace
from limner.presets import preset

OWN = (
    "generator.norm=batch", "generator.width=8", "training.batch_size=4", "training.steps=60",
    "training.samples_every=null", "training.lr=0.003", "objective.gan_weight=0.01",
    "training.health=null", "training.epochs=1000", "training.ema=null", "data.load_size=32",
)  # fmt: skip


def dimmed(data: Path, out: Path, *, by: float) -> Path:
    """Write the same pairs with sources of so many times the light."""
    for path in sorted(data.rglob("*.png")):
        pixels = np.array(Image.open(path)).astype(float)
        new = out / path.relative_to(data)
        new.parent.mkdir(parents=True, exist_ok=True)
        share = by if path.parent.name == "source" else 1.0
        Image.fromarray((pixels * share).astype(np.uint8)).save(new)
    return out


def make_run(folder: Path) -> Path:
    """Train FOLDER/run on FOLDER/data; FOLDER/dark is the data with dark sources."""
    data = pictures(folder / "data", side=32, train=12, val=4)
    dimmed(data, folder / "dark", by=0.3)
    config = replace(preset("pix2pix-small"), parse_overrides([*SMALL, *OWN]))
    config = replace(config, {"data.root": str(data)})
    train(config, out=folder / "run", cache_folder=folder / "cache")
    return folder / "run"
