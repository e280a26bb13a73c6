"""Logs of other projects: loss_log.txt, in which pix2pix, pix2pixHD and SPADE write their losses.

    (epoch: 1, iters: 100, time: 0.123, data: 0.456) G_GAN: 1.2 G_L1: 30.1 D_real: 0.5 D_fake: 0.6
    (epoch: 1, iters: 2900, time: 0.431) G_GAN: 0.859 G_GAN_Feat: 2.5 G_VGG: 2.8 D_real: 0.5 ...
    (epoch: 1, iters: 52, time: 0.259) KLD: 0.3 GAN: -0.1 GAN_Feat: 0.4 VGG: 0.3 D_Fake: 1.1 ...

(pytorch-CycleGAN-and-pix2pix, pix2pixHD, SPADE.) Each line is one step's, and the terms of the
generator are times their weights.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from limner.errors import DataError
from limner.health.history import Series

NAMES = {
    "G_GAN": "g/gan",
    "GAN": "g/gan",
    "G_L1": "g/l1",
    "G_L2": "g/l2",
    "G_GAN_Feat": "g/feature_matching",
    "GAN_Feat": "g/feature_matching",
    "G_VGG": "g/vgg",
    "VGG": "g/vgg",
    "KLD": "g/kl",
    "D_real": "d/real",
    "D_Real": "d/real",
    "D_fake": "d/fake",
    "D_Fake": "d/fake",
}
"""Their names of losses, and Limner's."""

_LINE = re.compile(r"\(epoch:\s*(\d+),\s*iters:\s*(\d+)[^)]*\)(.*)")
_TERM = re.compile(r"([A-Za-z_]\w*)\s*:\s*([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))\b")


def is_loss_log(text: str) -> bool:
    """Whether a text looks like a loss_log.txt."""
    return _LINE.search(text) is not None


def read_loss_log(text: str, name: str) -> dict[str, Series]:
    """Return the scalars of a loss_log.txt by Limner's names.

    `iters` counts the pictures of an epoch, from the beginning in each; the length of an epoch is
    the largest that is written. A log that was begun anew goes on behind what stood there.

    Raises:
        DataError: none of its terms is one of a pix2pix, pix2pixHD or SPADE.
    """
    found = [
        (int(match[1]), int(match[2]), match[3])
        for line in text.splitlines()
        if (match := _LINE.search(line))
    ]
    length = max((iters for _, iters, _ in found), default=0)
    points: dict[str, dict[int, float]] = defaultdict(dict)
    unknown: set[str] = set()
    for epoch, iters, terms in found:
        step = max(0, epoch - 1) * length + iters
        for term, value in _TERM.findall(terms):
            if term in NAMES:
                points[NAMES[term]][step] = float(value)
            else:
                unknown.add(term)
    if not any(key.startswith("g/") for key in points):
        held = ", ".join(sorted(unknown)[:8]) or "none"
        raise DataError(
            f"{name} has no losses of pix2pix, pix2pixHD or SPADE (its terms: {held}): "
            "name the log of such a training"
        )
    return {key: series_of(values) for key, values in points.items()}


def series_of(points: dict[int, float]) -> Series:
    """Return values by step as a series, its steps rising."""
    steps = np.array(sorted(points), dtype=float)
    values = np.array([points[int(step)] for step in steps], dtype=float)
    values[~np.isfinite(values)] = np.nan
    return Series(steps, values)
