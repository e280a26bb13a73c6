"""What an exported file says of itself: what it takes and gives, and where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from limner import __version__
from limner.config import Config
from limner.data import label_table
from limner.inference import checkpoint_folder, generator_file
from limner.inference.graphs import OUTPUT, Inputs
from limner.networks import weights as store

KEY = "limner"
"""The name of the entry in a file's metadata; its value is JSON."""


def description(
    config: Config,
    run: Path,
    *,
    checkpoint: str,
    inputs: Inputs,
    size: tuple[int, int] | None,
    dropout: bool,
) -> dict[str, Any]:
    """Return what a user of the file has to know, ready for JSON.

    Args:
        config, run, checkpoint: the run and the name of its checkpoint.
        inputs: what the generator is given.
        size: height and width where they are fixed, nothing where any multiple will do.
        dropout: whether the graph draws random numbers.
    """
    weights = generator_file(checkpoint_folder(run, checkpoint))
    height, width = size or ("height", "width")
    shapes: dict[str, Any] = {"source": ["count", inputs.channels, height, width]}
    if inputs.latent:
        shapes["code"] = ["count", inputs.latent]
    labels = config.data.labels
    return {
        "limner": __version__,
        "torch": torch.__version__,
        "run": run.resolve().name,
        "checkpoint": checkpoint,
        "preset": config.preset,
        "generator": config.generator.name,
        "weights": {"file": weights.name, "sha256": store.sha256(weights)},
        "inputs": shapes,
        "outputs": {OUTPUT: ["count", config.data.channels[1], height, width]},
        "range": [-1, 1],
        "multiple": inputs.multiple,
        "smallest": inputs.smallest,
        "source": "picture" if labels is None else "labels",
        "statistics": config.inference.statistics,
        "dropout": dropout,
        "labels": None if labels is None else _labels(config),
    }


def _labels(config: Config) -> dict[str, Any]:
    """Return what each channel of a label map's expansion means, in their order."""
    labels = config.data.labels
    assert labels is not None
    expansion = labels.expansion
    table = label_table(labels.table) if labels.table else None
    names = labels.names or (table.names if table else None)
    colours = labels.colours or (table.colours if table else None)
    channels = [f"class {number}" for number in range(expansion["classes"])]
    channels += ["void"] if expansion["void"] is not None else []
    channels += ["edges of instances"] if expansion["edges"] else []
    features = config.input_channels - config.source_channels
    channels += [f"feature {number}" for number in range(features)]
    return {
        **expansion,
        "first": labels.first,
        "channels": channels,
        "names": None if names is None else list(names),
        "colours": None if colours is None else [list(colour) for colour in colours],
    }
