"""Whether the pictures are what they should be: they follow their sources, and bear no patterns."""

from __future__ import annotations

import numpy as np

from limner.health.history import History, Verdict
from limner.health.thresholds import threshold


def collapse(history: History) -> Verdict | None:
    """The generator makes the same picture whatever its source."""
    following = history.series("health/following", points=2).smooth()
    span = history.span(following.values < threshold("collapse.following"), following.steps)
    if span is None:
        return None
    value = float(np.median(following.between(span.first, span.last)))
    return Verdict(
        span,
        {"following": round(value, 4)},
        f"pictures change by {value:.0%} of what their targets change by when the source does: "
        "the generator hardly looks at it",
        weak=history.is_over(span),
    )


def norm_mismatch(history: History) -> Verdict | None:
    """Stored statistics make worse pictures than those of the batch, and the run's use them."""
    if not _stores_statistics(history):
        return None
    stored = history.series("health/l1_running")
    batch = history.series("health/l1_batch")
    if len(stored.steps) != len(batch.steps):
        return None
    ratio = stored.smooth().values / np.maximum(batch.smooth().values, 1e-6)
    span = history.span(ratio > threshold("norm-mismatch.ratio"), stored.steps)
    if span is None:
        return None
    within = (stored.steps > span.first) & (stored.steps <= span.last)
    value = float(np.median(ratio[within]))
    return Verdict(
        span,
        {
            "l1_running": round(float(np.median(stored.values[within])), 4),
            "l1_batch": round(float(np.median(batch.values[within])), 4),
            "ratio": round(value, 3),
        },
        f"with the statistics that training stored, pictures are {value - 1:.0%} further from "
        "their targets than with the batch's own",
        weak=history.is_over(span),
    )


def _stores_statistics(history: History) -> bool:
    """Whether the pictures of this run can depend on stored statistics at all, as far as known."""
    if history.setting("inference.statistics") == "batch":
        return False
    norm = history.setting("generator.norm")
    return norm not in ("instance", "instance-affine", "none", "group") or norm is None


def checkerboard(history: History) -> Verdict | None:
    """Patterns that repeat with the strides of upsampling stand in the pictures."""
    amplitude = history.series("health/checkerboard").smooth()
    decibels = history.series("health/checkerboard_decibels").smooth().at(amplitude.steps)
    seen = (amplitude.values > threshold("checkerboard.amplitude")) & (
        decibels > threshold("checkerboard.decibels")
    )
    span = history.span(seen, amplitude.steps)
    if span is None:
        return None
    within = (amplitude.steps > span.first) & (amplitude.steps <= span.last)
    value = float(np.median(amplitude.values[within]))
    return Verdict(
        span,
        {
            "amplitude": round(value, 4),
            "decibels": round(float(np.median(decibels[within])), 2),
        },
        f"patterns of 2 and 4 pixels have {value:.1%} of the targets' contrast",
        weak=history.is_over(span),
    )


def blob(history: History) -> Verdict | None:
    """One spot of a picture is many times as far off as the rest."""
    worst = history.series("health/blob").smooth()
    span = history.span(worst.values > threshold("blob.ratio"), worst.steps)
    if span is None:
        return None
    value = float(np.median(worst.between(span.first, span.last)))
    return Verdict(
        span,
        {"ratio": round(value, 3)},
        f"the worst spot of a picture is {value:.1f} times as far off as its usual one",
        weak=history.is_over(span),
    )
