"""The guard against a good segmentation score of bad pictures.

A segmenter forgives what an eye does not: roads and trees are recognised in pictures that are
blurred and grey, and they are most of the pixels. So sharpness, spectrum, colour and, where they
were measured, the distances stand beside the score, and a warning says when they contradict it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limner.evaluation.spectrum import Look

NEAR = 0.75
"""Near the photos' figure: at least this share of their pixel accuracy.

In table 1 of pix2pix (arXiv:1611.07004) L1 + cGAN reaches 0.66 of the photos' 0.80, a share of
0.83; blurred grey pictures that a bug made have been reported at 0.63, a share of 0.79.
"""

FAR_SLOPE = 0.5
"""Far from the photos' spectrum: mean slopes that differ by more.

Street photos differ among themselves by 0.05 to 0.3 (one standard deviation over a data set's
pictures); a Gaussian blur of one pixel makes the slope 1.1 to 2 lower.
"""

FAR_RATIO = 2.0
"""Far in sharpness or colour: this many times the photos' figure, or its inverse."""

LEVEL = 0.5
"""Figures below it, in levels, count as it: all flat or grey pictures are alike."""


def findings(real: Look, fake: Look) -> list[str]:
    """Return in what the looks of two sets are far from each other, a phrase each."""
    found = []
    difference = fake.spectrum_slope - real.spectrum_slope
    if abs(difference) > FAR_SLOPE:
        way = "steeper, so details are missing" if difference < 0 else "flatter, as of noise"
        found.append(
            f"the spectrum's slope is {fake.spectrum_slope:.2f}, theirs {real.spectrum_slope:.2f} "
            f"({way})"
        )
    for name, ours, theirs in (
        ("sharpness", fake.sharpness, real.sharpness),
        ("colourfulness", fake.colourfulness, real.colourfulness),
    ):
        ratio = max(ours, LEVEL) / max(theirs, LEVEL)
        if not 1 / FAR_RATIO <= ratio <= FAR_RATIO:
            found.append(f"the {name} is {ours:.2f}, theirs {theirs:.2f}")
    return found


def warning(
    *, real_accuracy: float, fake_accuracy: float, real: Look, fake: Look, values: Mapping[str, Any]
) -> str:
    """Return the warning that a set of pictures deserves, or nothing.

    It is deserved where the pixel accuracy is near that of the real photos (`NEAR`) while the
    pictures' look is far from theirs (`findings`). `values` are other figures of the same
    comparison; distances among them are named in the sentence.
    """
    far = findings(real, fake)
    if not far or fake_accuracy < NEAR * real_accuracy:
        return ""
    named = [f"{name} {value:.4g}" for name, value in distances(values).items()]
    beside = f" ({', '.join(named)})" if named else ""
    return (
        f"the segmenter scores these pictures near the real photos (pixel accuracy "
        f"{fake_accuracy:.4f}, theirs {real_accuracy:.4f}), but they do not look like photos: "
        f"{'; '.join(far)}{beside}; look at them before trusting the score"
    )


def distances(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those of `values` that say how far pictures are from photos: FID, KID, fd, LPIPS."""
    kinds = ("fid", "kid", "fd", "lpips", "dists")
    return {
        name: float(value)
        for name, value in values.items()
        if name.split("-")[0] in kinds and isinstance(value, int | float)
    }
