"""Which metrics an experiment takes: the ones asked for, or what the weights at hand allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.errors import WeightsError
from limner.evaluation.evaluate import locate_weights
from limner.evaluation.metrics import METRICS
from limner.evaluation.weights import find

PRETRAINED = ("fid", "fd-vgg16", "lpips")
"""Taken where their weights are found; the first is what papers print."""
ALWAYS = ("l1", "ssim")
WITHOUT = ("l1", "psnr", "ssim", "edge-f")
"""Taken where no weights are found at all."""

NOTE = (
    "Without pretrained weights the pictures are compared pixel by pixel only, which favours blur: "
    "give --weights for fid, fd-vgg16 and lpips."
)


def choose_metrics(asked: Sequence[str], *, weights: Path | None) -> tuple[tuple[str, ...], str]:
    """Return the metrics to take, and a sentence where they are fewer than one would wish.

    Nothing is downloaded for metrics that nobody asked for by name.

    Raises:
        ConfigError: an unknown metric. WeightsError: one that was asked for lacks its weights.
    """
    if asked:
        locate_weights(asked, weights=weights)
        return tuple(dict.fromkeys(asked)), ""
    found = [name for name in PRETRAINED if _at_hand(name, weights)]
    if found:
        return (*found, *ALWAYS), ""
    return WITHOUT, NOTE


def _at_hand(metric: str, weights: Path | None) -> bool:
    try:
        for need in METRICS[metric].weights:
            find(need, weights=weights, download=False)
    except WeightsError:
        if weights is not None and not weights.exists():
            raise
        return False
    return True
