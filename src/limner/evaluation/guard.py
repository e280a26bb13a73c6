"""The guard against a good segmentation score of bad pictures.

A segmenter forgives what an eye does not: roads and trees are recognised in pictures that are
blurred and grey, and they are most of the pixels. So sharpness, spectrum, colour and, where they
were measured, the distances stand beside the score, and a warning says when they contradict it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limner.evaluation.spectrum import Look

TAKEN = 1 / 3
"""A score is taken for a success from this share of the way on to the real photos' score.

The way begins at what one class everywhere would score, the largest class's share of the labelled
pixels. In table 1 of pix2pix (arXiv:1611.07004), with roads on 0.37 of Cityscapes, L1 alone has
gone 0.12 of the way, a GAN without L1 0.47, both together 0.67. Blurred, grey photos have been
reported at 0.6 of the way, and here were measured at 0.45 (Cityscapes, blur of 4 pixels) and more.
Below a third the score itself says that the pictures are bad.
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
    *,
    real_accuracy: float,
    fake_accuracy: float,
    one_class: float,
    real: Look,
    fake: Look,
    values: Mapping[str, Any],
) -> str:
    """Return the warning that a set of pictures deserves, or nothing.

    It is deserved where the pixel accuracy has gone a good part of the way (`TAKEN`) from that of
    `one_class` everywhere to that of the real photos, while the pictures' look is far from theirs
    (`findings`). `values` are other figures of the same comparison; distances among them are named
    in the sentence.
    """
    far = findings(real, fake)
    if not far or fake_accuracy < one_class + TAKEN * max(0.0, real_accuracy - one_class):
        return ""
    named = [f"{name} {value:.4g}" for name, value in distances(values).items()]
    beside = f" ({', '.join(named)})" if named else ""
    return (
        f"the segmenter recognises much in these pictures (pixel accuracy {fake_accuracy:.4f}, the "
        f"real photos {real_accuracy:.4f}, one class everywhere {one_class:.4f}), but they do not "
        f"look like photos: {'; '.join(far)}{beside}; look at them before trusting the score"
    )


def distances(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those of `values` that say how far pictures are from photos: FID, KID, fd, LPIPS."""
    kinds = ("fid", "kid", "fd", "lpips", "dists")
    return {
        name: float(value)
        for name, value in values.items()
        if name.split("-")[0] in kinds and isinstance(value, int | float)
    }
