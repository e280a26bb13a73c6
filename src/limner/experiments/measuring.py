"""Which metrics an experiment takes: the ones asked for, or what the weights at hand allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.errors import ConfigError, WeightsError
from limner.evaluation.measure import find_weights
from limner.evaluation.metrics import METRICS, chosen
from limner.networks.weights import find, read

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
        ConfigError: an unknown metric, or seg. WeightsError: one that was asked for lacks its
            weights, or they are damaged: better told now than after the trainings.
    """
    if asked:
        metrics = checked(asked)
        find_weights(metrics, weights=weights)
        for need in dict.fromkeys(need for metric in metrics for need in METRICS[metric].weights):
            read(find(need, weights=weights))
        return tuple(dict.fromkeys(metrics)), ""
    found = [name for name in PRETRAINED if _at_hand(name, weights)]
    if found:
        return (*found, *ALWAYS), ""
    if weights is not None:
        raise WeightsError(
            f"--weights {weights} holds nothing that {', '.join(PRETRAINED)} could use: name the "
            "folder of the weights, or leave --weights out"
        )
    return WITHOUT, NOTE


def checked(metrics: Sequence[str]) -> list[str]:
    """Return the metrics if an experiment can take them all.

    Raises:
        ConfigError: one is unknown, or seg, or there is none.
    """
    if "seg" in metrics:
        raise ConfigError(
            "experiments do not measure seg: leave it out, and give the trained runs to "
            "`limner evaluate --metrics seg`"
        )
    return chosen(metrics)


def _at_hand(metric: str, weights: Path | None) -> bool:
    try:
        paths = [find(need, weights=weights, download=False) for need in METRICS[metric].weights]
    except WeightsError:
        if weights is not None and not weights.exists():
            raise
        return False
    for path in paths:
        read(path)
    return True
