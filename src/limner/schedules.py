"""What changes from epoch to epoch: learning rates, and the weights of several discriminators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from limner.errors import ConfigError, unknown_name

Shape = Callable[[float, float, int], float]

SCHEDULES: dict[str, Shape] = {
    # Each takes the progress u of the decay, 0 at its start and below 1 at its last epoch; the
    # factor; and the number of stages.
    "constant": lambda u, factor, stages: 1.0,
    # 1 - u: pix2pix.
    "linear": lambda u, factor, stages: 1.0 - u,
    # The same an epoch later: pix2pixHD and SPADE.
    "linear-late": lambda u, factor, stages: 1.0 - u,
    # (1 + cos(pi u)) / 2: Loshchilov and Hutter 2017, equation 5, one period down to zero.
    "cosine": lambda u, factor, stages: 0.5 * (1.0 + math.cos(math.pi * u)),
    # factor ^ floor(u stages): as many levels as stages, each `factor` times the one before.
    "steps": lambda u, factor, stages: factor ** min(math.floor(u * stages), stages - 1),
    # factor ^ (u stages): the same descent without the steps.
    "geometric": lambda u, factor, stages: factor ** (u * stages),
}


def value(
    name: str,
    epoch: float,
    *,
    epochs: int,
    decay_start: float = 0.5,
    factor: float = 0.1,
    stages: int = 2,
) -> float:
    """Return the multiplier, in [0, 1], of the learning rate during `epoch`, counted from 1.

    The first `decay_start` of the epochs, n = max(1, ceil(decay_start * epochs)), have 1. Then
    the progress of the decay is

        u = (epoch - n) / (epochs - n + 1)

    so that "linear" is pix2pix's 1 - max(0, k - n) / (n_decay + 1): at 200 epochs, 1 up to epoch
    100, 100/101 in epoch 101 and 1/101 in epoch 200; the last epoch still learns. With
    "linear-late" n is one more: 1 up to epoch 101, 99/100 in epoch 102 and 1/100 in epoch 200. With
    steps in place of epochs it is a schedule by the step; an epoch may be a fraction; beyond
    `epochs` the value stays at its end. `factor` and `stages` belong to "steps" and "geometric".

    Raises:
        ConfigError: no schedule has that name, or a number is out of range.
    """
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, SCHEDULES)
    if epoch < 1 or epochs < 1:
        raise ConfigError(f"epoch {epoch} of {epochs}: epochs count from 1")
    if not (0 <= decay_start <= 1 and 0 < factor <= 1 and stages >= 1):
        raise ConfigError(
            f"schedule {name} with decay_start {decay_start}, factor {factor}, stages {stages}: "
            "they must lie in [0, 1], in (0, 1] and at 1 or above"
        )
    held = max(1, math.ceil(decay_start * epochs - 1e-9)) + (name == "linear-late")
    progress = min(1.0, max(0.0, epoch - held) / max(1, epochs - held + 1))
    return SCHEDULES[name](progress, factor, stages)


Weights = tuple[float, ...]


def _dynamic(weights: Weights, exponent: int) -> Weights:
    """Return the first weight raised to `exponent`, the others sharing what is left of 1.

    Asher, Bechhofer and Berman, equation 2, where two discriminators share: alpha ^ d and
    1 - alpha ^ d. More than two share 1 - alpha ^ d in proportion to their own weights, equally
    where those are all zero.
    """
    first, others = weights[0] ** exponent, weights[1:]
    whole = sum(others)
    parts = [other / whole for other in others] if whole else [1 / len(others)] * len(others)
    return (first, *((1 - first) * part for part in parts))


def _between(start: Weights, end: Weights, share: float) -> Weights:
    return tuple(a + (b - a) * share for a, b in zip(start, end, strict=True))


WEIGHTINGS: dict[str, Callable[[Weights, Weights, int, int], Weights]] = {
    # Each takes the weights to start with, those to end with, the epoch from 0, and all epochs.
    "constant": lambda start, end, epoch, epochs: start,
    # The study's version 1: d is 0 at first and grows by 1 every fifth of the epochs, to 4.
    "dynamic-1": lambda start, end, epoch, epochs: _dynamic(start, min(4, 5 * epoch // epochs)),
    # Its version 2: d is 1 in the first half of the epochs and 2 in the second.
    "dynamic-2": lambda start, end, epoch, epochs: _dynamic(start, 1 + min(1, 2 * epoch // epochs)),
    # From start in the first epoch to end in the last, evenly or along half a cosine.
    "linear": lambda start, end, epoch, epochs: _between(start, end, epoch / max(1, epochs - 1)),
    "cosine": lambda start, end, epoch, epochs: _between(
        start, end, 0.5 - 0.5 * math.cos(math.pi * epoch / max(1, epochs - 1))
    ),
    # What `adapted` makes of start once an epoch's losses are known.
    "adaptive": lambda start, end, epoch, epochs: start,
}


def check_weights(rule: str, *, weights: Weights, end: Weights | None, count: int) -> None:
    """Raise `ConfigError` where these settings do not weigh `count` discriminators by `rule`."""
    if rule not in WEIGHTINGS:
        raise unknown_name("weighting", rule, WEIGHTINGS)
    for key, values in (("weights", weights), ("weights_end", end)):
        if values is None:
            continue
        if len(values) != count:
            raise ConfigError(
                f"objective.{key} lists {len(values)} weights for {count} discriminators: "
                "give one for each, in their order"
            )
        if min(values) < 0 or not sum(values) or not all(map(math.isfinite, values)):
            raise ConfigError(
                f"objective.{key} is {list(values)}: weights are 0 or more, and one of them is more"
            )
    if rule in ("linear", "cosine") and end is None:
        raise ConfigError(
            f"objective.weighting {rule} needs objective.weights_end, the weights of the last epoch"
        )
    if rule.startswith("dynamic") and (count < 2 or weights[0] > 1):
        raise ConfigError(
            f"objective.weighting {rule} takes two or more discriminators and a first weight in "
            f"[0, 1], not {count} and {weights[0]}"
        )


def weights_at(
    rule: str, epoch: int, *, epochs: int, weights: Weights, end: Weights | None = None
) -> Weights:
    """Return each discriminator's weight in the generator's loss during `epoch`, from 1.

    `weights` are those to start with, `end` those of the last epoch for "linear" and "cosine";
    see `WEIGHTINGS`. Beyond `epochs` the weights stay as in the last.

    Raises:
        ConfigError: no rule has that name, or the settings do not fit it.
    """
    check_weights(rule, weights=weights, end=end, count=len(weights))
    if epoch < 1 or epochs < 1:
        raise ConfigError(f"epoch {epoch} of {epochs}: epochs count from 1")
    return WEIGHTINGS[rule](weights, end or weights, min(epoch, epochs) - 1, epochs)


def adapted(
    weights: Weights, losses: Sequence[float], *, sharpness: float, floor: float
) -> Weights:
    """Return the weights that the discriminators' mean losses over an epoch call for.

    The study's last proposal. A discriminator's value V_i = -L_i, L_i the loss it minimises, is
    high where it still tells the generator's pictures apart: there the generator has most to
    learn. Let the generator face the mixture p of discriminators that is hardest for it, but no
    further from the weights a that the user gave than the relative entropy allows:

        p = argmax_p  sum_i p_i V_i - (1 / sharpness) sum_i p_i log(p_i / a_i)

    over the simplex. The stationary point of the Lagrangian is the Gibbs distribution (the
    "softmax" over critics of Durugkar et al., Generative Multi-Adversarial Networks, 2017)

        p_i = a_i exp(-sharpness L_i) / sum_j a_j exp(-sharpness L_j)

    0 keeps the user's proportions; infinity would leave the strongest alone. A discriminator
    that has won outright has no gradient worth having, nor has one that nobody hears any reason
    to be met; so the result is bounded, (1 - n floor) p_i + floor, which lies in [floor,
    1 - (n - 1) floor]. It sums to the same as `weights`, so the balance with L1 is not moved.

    Args:
        weights: the user's, of n discriminators; their proportions are a.
        losses: the mean loss of each over the epoch, on one scale.
        sharpness: 0 or more, per unit of the loss.
        floor: the least share of one discriminator, in [0, 1 / n].

    Raises:
        ConfigError: sharpness or floor are out of range, or a loss is not finite.
    """
    count = len(weights)
    if sharpness < 0 or not 0 <= floor <= 1 / count:
        raise ConfigError(
            f"adaptive weights with sharpness {sharpness} and floor {floor}: they must be 0 or "
            f"more, and in [0, {1 / count:g}] for {count} discriminators"
        )
    if not all(map(math.isfinite, losses)):
        raise ConfigError(f"the discriminators' losses are {list(losses)}: they must be finite")
    whole, least = sum(weights), min(losses)
    raw = [
        share * math.exp(-sharpness * (loss - least))
        for share, loss in zip(weights, losses, strict=True)
    ]
    scale = sum(raw)
    if not scale:  # the only ones with a weight are so far behind that theirs underflows
        raw, scale = list(weights), whole
    return tuple(whole * ((1 - count * floor) * part / scale + floor) for part in raw)
