"""Whether the generator learns: lost, stuck, too fast, too long, not long enough."""

from __future__ import annotations

import re

import numpy as np

from limner.health.balance import RECONSTRUCTIONS
from limner.health.history import (
    History,
    NotShown,
    Series,
    Span,
    Verdict,
    discriminator_loss,
    trend,
)
from limner.health.thresholds import threshold


def divergence(history: History) -> Verdict | None:
    """Losses are not finite, or run away from what they had reached."""
    losses = {
        name: series for name, series in history.scalars.items() if re.match(r"(g|d\d*)/", name)
    }
    if not losses:
        raise NotShown("g/...")
    if re.search(r"\bis (nan|-?inf)\b|\bnot finite\b", history.stopped):
        return Verdict(
            Span(history.steps, history.steps),
            {"stopped": history.stopped},
            f"the training stopped at step {history.steps}: its losses were no longer finite",
        )
    for name, series in losses.items():
        broken = ~np.isfinite(series.values)
        if broken.any():
            steps = series.steps[broken]
            return Verdict(
                Span(int(steps[0]), int(steps[-1])),
                {"scalar": name, "values": int(broken.sum())},
                f"{name} is not finite from step {int(steps[0])} on",
            )
    return _run_away(history)


def _run_away(history: History) -> Verdict | None:
    for name in RECONSTRUCTIONS[:2]:
        try:
            smoothed = history.series(name, points=6).smooth()
        except NotShown:
            continue
        best = np.minimum.accumulate(smoothed.values)
        far = smoothed.values > threshold("divergence.distance") * best
        span = history.span(far, smoothed.steps)
        if span is not None and not history.is_over(span):
            value = float(np.median(smoothed.between(span.first, span.last)))
            return Verdict(
                span,
                {"scalar": name, "best": round(float(best[-1]), 5), "now": round(value, 5)},
                f"{name} had come down to {best[-1]:.3g} and has stood at {value:.3g} since step "
                f"{span.first}",
            )
    for name in history.discriminators:
        try:
            loss = discriminator_loss(history, name).smooth()
        except NotShown:
            continue
        span = history.span(loss.values > threshold("divergence.loss"), loss.steps)
        if span is not None and not history.is_over(span):
            value = float(np.median(loss.between(span.first, span.last)))
            return Verdict(
                span,
                {"discriminator": name, "loss_of_chance": round(value, 3)},
                f"{name} loses {value:.3g} times what guessing would: its logits run away",
            )
    return None


def exploding_gradients(history: History) -> Verdict | None:
    """A network's gradients grow far beyond what they were."""
    names = [name for name in history.scalars if name.startswith("health/gradient/")]
    shown = []
    for name in names:
        try:
            shown.append((name, history.series(name)))
        except NotShown:
            continue
    if not shown:
        raise NotShown("health/gradient/...")
    for name, series in shown:
        early = float(np.median(series.values[: max(1, len(series.values) // 5)]))
        grown = series.smooth()
        factor = grown.values / max(early, 1e-12)
        span = history.span(factor > threshold("exploding-gradients.factor"), grown.steps)
        if span is None:
            continue
        network = name.removeprefix("health/gradient/")
        value = float(np.median(grown.between(span.first, span.last)))
        return Verdict(
            span,
            {"network": network, "early": round(early, 4), "now": round(value, 4)},
            f"the {network}'s gradients are {value / max(early, 1e-12):.0f} times as long as at "
            "first",
            weak=history.is_over(span),
        )
    return None


def nothing_learned(history: History) -> Verdict | None:
    """Pictures are no nearer to their targets than at first, nor than the targets' mean colour.

    Small healthy trainings with an adversary may stay behind the mean colour, too, but their
    pictures come nearer than they were, and follow their sources.
    """
    try:
        if (still := _nothing_moved(history)) is not None:
            return still
    except NotShown:
        pass
    if history.setting("objective.l1") == 0 and history.setting("objective.l2") == 0:
        history.series("health/update/generator")  # all else such a record could show
        return None
    name, distance = history.first_of(RECONSTRUCTIONS, points=5)
    begin, end = float(distance.steps[0]), float(distance.steps[-1])
    smoothed = distance.smooth()
    tail = end - max(threshold("nothing-learned.share") * end, threshold("nothing-learned.steps"))
    late = smoothed.between(tail, end)
    if tail < 0 or len(late) < 3:
        return None
    start = float(np.median(distance.values[: max(1, len(distance.values) // 20)]))
    now = float(np.median(late))
    gain = 1 - now / max(start, 1e-12)
    evidence: dict[str, float | int | str | bool] = {
        "scalar": name,
        "start": round(start, 5),
        "now": round(now, 5),
        "gain": round(gain, 5),
    }
    if gain > threshold("nothing-learned.gain"):
        return None
    if name == "g/l1" and (flat := _median(history, "health/l1_flat")) is not None:
        evidence["mean_colour"] = round(flat, 5)
        if now < threshold("nothing-learned.flat") * flat:
            return None
    if (follows := _median(history, "health/following")) is not None:
        evidence["following"] = round(follows, 4)
        if follows > threshold("nothing-learned.following"):
            return None
    return Verdict(
        Span(int(begin), int(end)),
        evidence,
        f"{name} was {start:.3g} at first and is {now:.3g} after {end:.0f} steps",
    )


def _median(history: History, name: str) -> float | None:
    try:
        return float(np.median(history.series(name, points=2).values))
    except NotShown:
        return None


def _nothing_moved(history: History) -> Verdict | None:
    """Weights that hardly move from the start on; at the end of a decay they may well not."""
    update = history.series("health/update/generator").smooth()
    still = update.values < threshold("nothing-learned.update")
    span = history.span(still, update.steps)
    if span is None or history.is_over(span) or span.first > 0.3 * history.steps:
        return None
    value = float(np.median(update.between(span.first, span.last)))
    return Verdict(
        span,
        {"update": value},
        f"an update moves the generator's weights by {value:.1g} of their length: it stands still",
    )


def rate_too_high(history: History) -> Verdict | None:
    """A network's updates are a large part of its weights.

    What is large depends on how small the weights begin: a usual rate may pass for twice it.
    """
    history.series("health/update/generator", points=2)
    rates = {"generator": history.setting("training.lr")}
    for number in range(len(history.discriminators)):
        own = history.setting(f"discriminators.{number}.lr")
        own = own or history.setting("training.discriminator_lr") or rates["generator"]
        rates[f"discriminator_{number}"] = own
    for network, rate in rates.items():
        try:
            update = history.series(f"health/update/{network}", points=2).smooth()
        except NotShown:
            continue
        level = "rate-too-high.update"
        if rate is not None:
            fast = float(rate) > threshold("rate-too-high.rate")
            level = "rate-too-high.update-fast" if fast else "rate-too-high.update-alone"
        span = history.span(update.values > threshold(level), update.steps)
        if span is None:
            continue
        value = float(np.median(update.between(span.first, span.last)))
        evidence: dict[str, float | int | str | bool] = {
            "network": network,
            "update": round(value, 5),
        }
        if rate is not None:
            evidence["rate"] = float(rate)
        return Verdict(
            span,
            evidence,
            f"each update moves the {network}'s weights by {value:.1%} of their length",
            weak=history.is_over(span),
        )
    return None


def overfit(history: History) -> Verdict | None:
    """Held-out pairs grow worse while the training pairs grow better."""
    for held, trained in (("val/g/l1", "g/l1"), ("l1", "g/l1"), ("val/g/l2", "g/l2")):
        try:
            return _parted(history, history.series(held, points=4), history.series(trained), held)
        except NotShown:
            continue
    raise NotShown("val/g/l1")


def perceptual_overfit(history: History) -> Verdict | None:
    """The perceptual loss grows worse on held-out pairs while it falls in training."""
    if history.setting("objective.vgg") == 0:
        return None
    held = history.series("val/g/vgg", points=4)
    return _parted(history, held, history.series("g/vgg"), "val/g/vgg")


def _parted(history: History, held: Series, trained: Series, name: str) -> Verdict | None:
    smoothed, learnt = held.smooth(), trained.smooth()
    lowest = int(np.argmin(smoothed.values))
    since = float(smoothed.steps[lowest])
    best = float(smoothed.values[lowest])
    after = smoothed.values[lowest + 1 :]
    if len(after) < 2 or history.steps - since < threshold("span.steps"):
        return None
    now = float(np.median(after[-max(1, len(after) // 3) :]))
    worse = now / max(best, 1e-12) - 1
    before = float(learnt.at(np.array([since]))[0])
    tail = learnt.between(since + 0.75 * (history.steps - since), history.steps)
    better = 1 - (float(np.median(tail)) if len(tail) else before) / max(before, 1e-12)
    weak = threshold("overfit.worse") > worse >= threshold("overfit.worse") / 2
    if worse < threshold("overfit.worse") / 2 or better < threshold("overfit.better"):
        return None
    return Verdict(
        Span(int(since), history.steps),
        {
            "scalar": name,
            "best": round(best, 5),
            "now": round(now, 5),
            "train_gain": round(better, 4),
        },
        f"{name} was best at step {since:.0f} ({best:.3g}) and is {worse:.0%} worse since, while "
        f"the training pairs improved by {better:.0%}",
        weak=weak,
    )


def unfinished(history: History) -> Verdict | None:
    """What tells of quality was still improving when the training ended."""
    if not history.ended or history.stopped:
        return None
    names = ("val/g/l1", "l1", "lpips", *RECONSTRUCTIONS)
    name, series = history.first_of(names, points=8)
    smoothed = series.smooth()
    try:
        change = trend(smoothed, share=0.4)
    except NotShown:
        return None
    near_best = smoothed.values[-1] <= 1.01 * smoothed.values.min()
    if -change < threshold("unfinished.gain") or not near_best:
        return None
    begin = int(smoothed.steps[-1] * 0.6)
    return Verdict(
        Span(begin, history.steps),
        {"scalar": name, "gain": round(-change, 4)},
        f"{name} still improved by {-change:.1%} over the last two fifths",
    )
