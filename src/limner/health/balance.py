"""Whether the two networks are in balance: who wins, who has stopped, who is not heard."""

from __future__ import annotations

import numpy as np

from limner.findings import Evidence
from limner.health.history import (
    History,
    NotShown,
    Series,
    Span,
    Verdict,
    discriminator_loss,
)
from limner.health.thresholds import threshold

RECONSTRUCTIONS = ("g/l1", "g/l2", "g/vgg", "g/feature_matching")
"""Terms that say how near pictures come to their targets, the plainest first."""


def discriminator_wins(history: History) -> Verdict | None:
    """A discriminator knows nearly every patch, for long, and the generator does not catch up.

    Being right 85 % of the time is usual in healthy trainings of few pairs; what is not is a loss
    near zero on both sides, while the generator's own stands high and does not come down.
    """
    shown = [_won(history, name) for name in _named(history)]
    return _worst(shown)


def _won(history: History, name: str) -> Verdict | None:
    steps, loss = _level(history, name)
    ahead = imbalance(history, name)
    level = "discriminator-wins.loss"
    if ahead is not None and ahead > threshold("imbalance"):
        level = "discriminator-wins.loss-ahead"
    accuracy = _accuracy(history, name, steps)
    if accuracy is None:
        level = "discriminator-wins.loss-blind"
    certain = loss < threshold(level)
    if accuracy is not None:
        certain &= accuracy > threshold("discriminator-wins.accuracy")
    span = history.span(certain, steps)
    if span is None:
        return None
    within = (steps > span.first) & (steps <= span.last)
    evidence: dict[str, float | int | str | bool] = {
        "discriminator": name,
        "loss_of_chance": round(float(np.median(loss[within])), 4),
    }
    if accuracy is not None:
        evidence["accuracy"] = round(float(np.median(accuracy[within])), 4)
    if ahead is not None:
        evidence["imbalance"] = round(ahead, 2)
    falling = False
    try:
        adversarial = history.series("g/gan").smooth()
        inside = adversarial.between(span.first, span.last)
        evidence["g/gan"] = round(float(np.median(inside)), 4)
        third = max(1, len(inside) // 3)
        change = float(np.median(inside[-third:]) - np.median(inside[:third]))
        evidence["g/gan_change"] = round(change, 4)
        falling = change < -0.25 * abs(float(np.median(inside[:third])))
    except NotShown:
        pass
    return Verdict(
        span,
        evidence,
        f"{name} is right about nearly every patch: its loss is "
        f"{evidence['loss_of_chance']:.0%} of what guessing costs, over {span.last - span.first} "
        "steps, and the generator does not catch up",
        weak=history.is_over(span) or falling,
    )


def imbalance(history: History, name: str) -> float | None:
    """Return how much faster a discriminator changes than the generator, None where it is unknown.

    By the updates' length relative to the weights', times how many a step has; else by rates.
    """
    several = [
        float(history.setting(f"training.{network}_updates", 1))
        for network in ("discriminator", "generator")
    ]
    often = several[0] / max(several[1], 1.0)
    number = name.removeprefix("d") or "0"
    try:
        moved = history.series(f"health/update/discriminator_{number}")
        other = history.series("health/update/generator")
    except NotShown:
        rate = history.setting("training.lr")
        own = history.setting(f"discriminators.{number}.lr")
        own = own or history.setting("training.discriminator_lr") or rate
        return None if not rate else often * float(own) / float(rate)
    return often * float(np.median(moved.values)) / max(float(np.median(other.values)), 1e-12)


def generator_wins(history: History) -> Verdict | None:
    """Every discriminator guesses, from the start on, so that it has nothing to tell."""
    shown = [_guesses(history, name) for name in _named(history)]
    return None if not shown or any(each is None for each in shown) else shown[0]


def _guesses(history: History, name: str) -> Verdict | None:
    accuracy = None
    try:
        steps, loss = _level(history, name)
        guessing = np.abs(loss - 1) < threshold("generator-wins.loss")
        accuracy = _accuracy(history, name, steps)
        fooled = loss > 1 + threshold("generator-wins.loss")
    except NotShown:
        series = history.series(f"{name}/accuracy").smooth()
        steps, loss, accuracy = series.steps, None, series.values
        guessing, fooled = np.ones(len(steps), bool), np.zeros(len(steps), bool)
    share = threshold("generator-wins.share-blind")
    if accuracy is not None:
        share = threshold("generator-wins.share")
        guessing = (guessing | fooled) & (accuracy < threshold("generator-wins.accuracy"))
    span = history.span(guessing, steps)
    patience = max(share * history.steps, threshold("generator-wins.steps"))
    if span is None or span.last - span.first < patience:
        return None
    within = (steps > span.first) & (steps <= span.last)
    evidence: dict[str, float | int | str | bool] = {"discriminator": name}
    if loss is not None:
        evidence["loss_of_chance"] = round(float(np.median(loss[within])), 4)
    if accuracy is not None:
        evidence["accuracy"] = round(float(np.median(accuracy[within])), 4)
    return Verdict(
        span,
        evidence,
        f"{name} does no better than guessing over {span.last - span.first} steps: the generator "
        "learns nothing from it",
        weak=history.is_over(span),
    )


def generator_stalled(history: History) -> Verdict | None:
    """The generator has stopped improving while the discriminator goes on finding it out."""
    judged = [_stalled(history, name) for name in _named(history)]
    return _worst(judged)


def _stalled(history: History, name: str) -> Verdict | None:
    steps, loss = _level(history, name)
    term, distance = history.first_of(RECONSTRUCTIONS, points=6)
    adversarial = history.series("g/gan", points=6).smooth()
    known = loss < threshold("generator-stalled.loss")
    span = history.span(known, steps)
    if span is None or history.is_over(span):
        return None
    try:
        gain = -_change(distance, span)
        rise = _change(adversarial, span)
    except NotShown:
        return None
    if gain > threshold("generator-stalled.gain") or rise < threshold("generator-stalled.rise"):
        return None
    ahead = imbalance(history, name)
    if ahead is None or ahead < threshold("imbalance"):
        # That distances stand still while the game goes on is usual: pictures grow sharp, not near.
        return None
    return Verdict(
        span,
        {
            "discriminator": name,
            "loss_of_chance": round(float(np.median(loss[steps > span.first])), 4),
            "imbalance": round(ahead, 2),
            f"{term}_gain": round(gain, 4),
            "g/gan_rise": round(rise, 4),
        },
        f"{term} has improved by {max(gain, 0):.1%} over {span.last - span.first} steps while "
        f"{name} finds the generator out more and more easily",
    )


def _change(series: Series, span: Span) -> float:
    """The relative change from the first to the last third of a span."""
    inside = series.between(span.first, span.last)
    if len(inside) < 6:
        raise NotShown("enough of a span")
    third = len(inside) // 3
    before, after = float(np.median(inside[:third])), float(np.median(inside[-third:]))
    return (after - before) / max(abs(before), 1e-12)


def adversarial_drowned(history: History) -> Verdict | None:
    """The generator hears the reconstruction alone."""
    if history.setting("objective.gan_weight") == 0:
        return None
    share = history.series("health/share/gan", points=2).smooth()
    span = history.span(share.values < threshold("adversarial-drowned.share"), share.steps)
    if span is None:
        return None
    evidence: Evidence = {
        "gan_share": round(float(np.median(share.between(span.first, span.last))), 5)
    }
    return Verdict(
        span,
        evidence,
        f"the adversarial term is {evidence['gan_share']:.2%} of the gradient at the generator's "
        "pictures: it learns from the reconstruction alone",
        weak=history.is_over(span),
    )


def discriminator_memorises(history: History) -> Verdict | None:
    """A discriminator takes held-out real pictures for made ones: it knows its own by heart."""
    shown, missing = [], None
    for number, name in enumerate(history.discriminators):
        try:
            shown.append(_by_heart(history, name, number))
        except NotShown as error:
            missing = error
    if not shown and missing is not None:
        raise missing
    return _worst(shown)


def _by_heart(history: History, name: str, number: int) -> Verdict | None:
    """Karras et al. 2020 (StyleGAN2-ADA), section 3: how far held-out lies from training logits.

    (E[D_train] - E[D_held_out]) / (E[D_train] - E[D_made]): 0 where held-out pictures are as real
    to it as those of the training, 1 where they are as false as made ones.
    """
    try:
        real, made, held = (
            history.series(f"health/logit/{of}/{number}") for of in ("real", "fake", "held_out")
        )
    except NotShown:
        return _by_held_out_accuracy(history, name)
    if not (len(real.steps) == len(made.steps) == len(held.steps)):
        return None
    size = max(3, len(real.steps) // 6)
    sums = [_sliding(series.values, size) for series in (real, made, held)]
    apart = sums[0] - sums[1]
    share = (sums[0] - sums[2]) / np.maximum(np.abs(apart), 1e-6)
    knows = (share > threshold("discriminator-memorises.share")) & (
        apart > threshold("discriminator-memorises.apart")
    )
    span = history.span(knows, real.steps)
    if span is None:
        return None
    within = (real.steps > span.first) & (real.steps <= span.last)
    value = float(np.median(share[within]))
    return Verdict(
        span,
        {
            "discriminator": name,
            "share": round(value, 4),
            "logit_real": round(float(np.median(sums[0][within])), 4),
            "logit_fake": round(float(np.median(sums[1][within])), 4),
            "logit_held_out": round(float(np.median(sums[2][within])), 4),
        },
        f"{name} finds real pictures that it was not trained on {min(value, 1):.0%} as false as "
        "made ones: it knows its training pictures by heart",
        weak=history.is_over(span),
    )


def _by_held_out_accuracy(history: History, name: str) -> Verdict | None:
    trained = history.series(f"{name}/accuracy_real").smooth()
    held = history.series(f"val/{name}/accuracy_real")
    gap = trained.at(held.steps) - held.values
    span = history.span(gap > threshold("discriminator-memorises.gap"), held.steps)
    if span is None:
        return None
    value = float(np.median(gap[(held.steps > span.first) & (held.steps <= span.last)]))
    return Verdict(
        span,
        {"discriminator": name, "accuracy_gap": round(value, 4)},
        f"{name} knows {value:.0%} fewer of the real patches that it was not trained on",
        weak=history.is_over(span),
    )


def _sliding(values: np.ndarray, size: int) -> np.ndarray:
    """Means over the last `size` values, fewer at the beginning."""
    return np.array([values[max(0, k + 1 - size) : k + 1].mean() for k in range(len(values))])


def _named(history: History) -> list[str]:
    """The discriminators of a record.

    Raises:
        NotShown: it tells of none; a training without any has none that could win.
    """
    names = history.discriminators
    if not names and history.setting("discriminators") != []:
        raise NotShown("d/real")
    return names


def _level(history: History, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and the smoothed loss as a share of chance; by accuracy where chance has no level."""
    try:
        loss = discriminator_loss(history, name).smooth(share=0.2)
    except NotShown:
        if history.gan != "wgan-gp":
            raise
        # A critic's losses have no level: what it errs, twice, is 1 at chance and 0 where it wins.
        accuracy = history.series(f"{name}/accuracy").smooth(share=0.2)
        return accuracy.steps, 2 * (1 - accuracy.values)
    return loss.steps, loss.values


def _accuracy(history: History, name: str, steps: np.ndarray) -> np.ndarray | None:
    try:
        return history.series(f"{name}/accuracy").smooth(share=0.2).at(steps)
    except NotShown:
        return None


def _worst(verdicts: list[Verdict | None]) -> Verdict | None:
    found = [verdict for verdict in verdicts if verdict is not None]
    return min(found, key=lambda v: (v.weak, -(v.span.last - v.span.first)), default=None)
