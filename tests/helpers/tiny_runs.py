"""Runs of a few weights at step 0, and pairs for them: side by side, the target on the left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lightning_fabric import Fabric
from overriding import with_overrides
from random_pairs import write_pairs
from safetensors.torch import save_file
from torch import Tensor

from limner.config import resolved, to_yaml
from limner.files import write_text
from limner.presets import preset
from limner.run import CHECKSUMS
from limner.training.checkpoint import save_checkpoint
from limner.training.state import build_state


def draw_data(root: Path, *, test: int) -> Path:
    """Write a data set of two training and so many test pairs, 48 pixels a picture."""
    return write_pairs(root, tiles=8, tile=6, train=2, test=test)


def make_run(folder: Path, *settings: str) -> Path:
    """Write a run at step 0 whose pictures are 32 pixels wide and high."""
    small = ["data.size=32", "generator.width=4", "generator.depth=3"]
    small += ["discriminators.0.layers=1", "data.direction=BtoA", "training.ema=null"]
    config = resolved(with_overrides(preset("pix2pix-small"), [*small, *settings]))
    write_text(folder / "config.yaml", to_yaml(config))
    save_checkpoint(build_state(config, Fabric(accelerator="cpu", devices=1)), folder)
    return folder


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Put other weights into a checkpoint, as if they had been written there in the first place."""
    save_file(dict(weights), path)
    (path.parent / CHECKSUMS).unlink(missing_ok=True)
