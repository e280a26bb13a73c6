"""Pictures that are worse than they look: enlarged, over-compressed, out of focus, a sliver of a
range.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from limner.checks.measured import ROLES, Image, Measured, Role, many, of_files
from limner.findings import Evidence, Finding

# Thresholds; docs/checks.md tells what clean data reach.
COPIES = 0.6  # likeness of the spectrum and its copies from which on a picture was enlarged
COPIES_COMPRESSED = 0.8  # the same where blocks of a JPEG, which repeat too, are strong
QUALITY = 40.0  # of JPEG, below which blocks and rings show
SURE = 0.6  # how sure that quality must be
BLUR = 0.5  # decades of fine detail that a picture out of focus lacks against its fellows
BLUR_SPREADS = 4.0  # and so many times their usual spread
FELLOWS = 12  # pictures from which on there are fellows to compare with
NARROW = 0.25  # share of a type's range under which all files of a side use a sliver
NARROW_ONE = 0.125  # the same for a single file among others that use more


def upscaled(measured: Measured) -> Iterator[Finding]:
    """Find pictures that were enlarged: their spectrum ends early and repeats beyond."""
    for split in measured.features:
        items = {
            image.name: {
                "factor": image.features.enlarged,
                "copies": round(image.features.copies, 3),
            }
            for image in measured.pictures(split)
            if is_upscaled(image)
        }
        if items:
            yield of_files(
                "upscaled",
                "warning",
                split,
                list(items.items()),
                message=f"{many(len(items), 'picture')} enlarged from fewer pixels: their detail "
                "is missing and a generator learns to leave it out",
                cure="replace them by originals of that size, or train at the smaller --size",
            )


def is_upscaled(image: Image) -> bool:
    """Say whether a picture was enlarged."""
    found = image.features
    blocks = found.quality < QUALITY and found.sure >= SURE
    return found.copies >= (COPIES_COMPRESSED if blocks else COPIES)


def compressed(measured: Measured) -> Iterator[Finding]:
    """Find pictures that went through JPEG of low quality, in whatever format they are now."""
    for split in measured.features:
        items = {
            image.name: {"quality": round(image.features.quality, 1)}
            for image in measured.pictures(split)
            if is_compressed(image)
        }
        if items:
            worst = min(float(evidence["quality"]) for evidence in items.values())
            yield of_files(
                "compressed",
                "warning",
                split,
                list(items.items()),
                message=f"{many(len(items), 'picture')} with the blocks of a JPEG of quality "
                f"{worst:.0f} or more, below {QUALITY:.0f}",
                cure="replace them by originals: blocks and rings are learnt as if they were there",
            )


def is_compressed(image: Image) -> bool:
    """Say whether a picture shows the quantisation of a JPEG of low quality."""
    return image.features.quality < QUALITY and image.features.sure >= SURE


def blurred(measured: Measured) -> Iterator[Finding]:
    """Find pictures out of focus against the others of their side, enlarged ones left out."""
    limits = {role: _focus(measured, role) for role in ROLES}
    for split in measured.features:
        items: dict[str, Evidence] = {}
        for image in measured.pictures(split):
            usual, limit = limits[image.role]
            if image.features.sharpness < limit and not is_upscaled(image):
                lacking = usual - image.features.sharpness
                items[image.name] = {"decades_below_the_median": round(lacking, 2)}
        if items:
            yield of_files(
                "blurred",
                "warning",
                split,
                list(items.items()),
                message=f"{many(len(items), 'picture')} out of focus against the others",
                cure="replace or remove them: a generator learns to blur as often as it sees blur",
            )


def _focus(measured: Measured, role: Role) -> tuple[float, float]:
    """Return the median sharpness of a side, and that below which a picture is out of focus."""
    values = np.array([image.features.sharpness for image in measured.pictures(role=role)])
    values = values[np.isfinite(values)]
    if len(values) < FELLOWS:
        return 0.0, -np.inf
    usual = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - usual)))
    return usual, usual - max(BLUR, BLUR_SPREADS * spread)


def narrow_range(measured: Measured) -> Iterator[Finding]:
    """Find pictures of 8 or 16 bits that use a sliver of the range of their type."""
    for split in measured.features:
        items: dict[str, Evidence] = {}
        advice = ""
        for role in ROLES:
            images = [image for image in measured.pictures(split, role=role) if _ranged(image)]
            if not images:
                continue
            low = min(image.features.low for image in images)
            high = max(image.features.high for image in images)
            limit = max(image.features.limit for image in images)
            every = high - low < NARROW * limit
            if every:
                advice = f"--set data.range.{role}=[{low:.0f},{high:.0f}]"
            for image in images:
                found = image.features
                alone = found.bright - found.dark < NARROW_ONE * found.limit
                if every or (alone and found.high - found.low < NARROW * found.limit):
                    items[image.name] = {"low": found.low, "high": found.high, "of": found.limit}
        if items:
            yield of_files(
                "narrow-range",
                "warning",
                split,
                list(items.items()),
                message=f"{many(len(items), 'picture')} with a sliver of the range of their type, "
                "so that most of the networks' range stays empty",
                cure=f"state the range: {advice}"
                if advice
                else "save them in the range of the others, or remove them with their pairs",
            )


def _ranged(image: Image) -> bool:
    return image.features.limit > 0 and image.features.high > image.features.low
