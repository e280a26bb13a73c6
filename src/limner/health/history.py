"""The record of a training as a diagnosis reads it: scalars over steps, and facts beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from limner.health.thresholds import threshold

Array = np.ndarray
MOST_POINTS = 500
"""Of a scalar, as many as a diagnosis looks at."""


class NotShown(Exception):  # noqa: N818 (no error: a record need not hold everything)
    """A record does not hold what a question needs."""


@dataclass(frozen=True)
class Series:
    """One scalar: its steps, rising, and a value for each; what was not finite is NaN."""

    steps: Array
    values: Array

    def finite(self) -> Series:
        """Without its gaps."""
        known = np.isfinite(self.values)
        return Series(self.steps[known], self.values[known])

    def thinned(self) -> Series:
        """At most `MOST_POINTS` of it, each the mean of its neighbours."""
        if len(self.steps) <= MOST_POINTS:
            return self
        parts = np.array_split(np.arange(len(self.steps)), MOST_POINTS)
        steps = np.array([self.steps[part[-1]] for part in parts])
        return Series(steps, np.array([self.values[part].mean() for part in parts]))

    def smooth(self, *, share: float = 0.1) -> Series:
        """Each value the median of its neighbourhood, a share of the record: outliers are gone."""
        whole = self.finite()
        reach = max(1, int(len(whole.values) * share / 2))
        padded = [whole.values[max(0, k - reach) : k + reach + 1] for k in range(len(whole.values))]
        return Series(whole.steps, np.array([np.median(part) for part in padded]))

    def between(self, first: float, last: float) -> Array:
        """The values at steps above `first` and up to `last`."""
        return self.values[(self.steps > first) & (self.steps <= last)]

    def at(self, steps: Array) -> Array:
        """Values at other steps, between its own along straight lines."""
        return np.interp(steps, self.steps, self.values)


@dataclass(frozen=True)
class Span:
    """From which step to which something was so."""

    first: int
    last: int

    @property
    def evidence(self) -> dict[str, int]:
        """As findings have it."""
        return {"first_step": self.first, "last_step": self.last}


@dataclass(frozen=True)
class Verdict:
    """What a rule found, before it has its severity and its remedies; `weak` is a step milder."""

    span: Span
    evidence: Mapping[str, float | int | str | bool]
    message: str
    weak: bool = False


@dataclass(frozen=True)
class History:
    """Scalars by Limner's names, and what is known of the training.

    Args:
        scalars: `g/l1`, `d/real`, `health/...`, `val/...` and the metrics of validation.
        steps: how many were taken.
        settings: as config.yaml has them; empty where the record is another project's.
        gan: the adversarial loss, a key of `losses.GAN_LOSSES`; None where it cannot be told.
        scales: how many discriminators' losses are added up in `d/real`.
        ended: whether the training is over.
        stopped: why it stopped before its end, in words.
    """

    scalars: Mapping[str, Series]
    steps: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    gan: str | None = None
    scales: int = 1
    ended: bool = True
    stopped: str = ""

    def series(self, name: str, *, points: int = 3) -> Series:
        """Return a scalar without its gaps.

        Raises:
            NotShown: the record has none of that name, or fewer points.
        """
        found = self.scalars.get(name)
        whole = None if found is None else found.finite()
        if whole is None or len(whole.steps) < points:
            raise NotShown(name)
        return whole.thinned()

    def first_of(self, names: Sequence[str], *, points: int = 3) -> tuple[str, Series]:
        """Return the first of several scalars that the record has, and its name.

        Raises:
            NotShown: it has none of them.
        """
        for name in names:
            try:
                return name, self.series(name, points=points)
            except NotShown:
                continue
        raise NotShown(", ".join(names))

    @property
    def discriminators(self) -> list[str]:
        """What the scalars of each begin with: d, or d0, d1 and so on."""
        heads = {name.partition("/")[0] for name in self.scalars}
        return sorted(head for head in heads if re.fullmatch(r"d\d*", head))

    def setting(self, key: str, default: Any = None) -> Any:
        """Return a setting by its dotted key, `default` where it is not known."""
        value: Any = self.settings
        for part in key.split("."):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                return default
        return value

    def until(self, step: int) -> History:
        """The record as it stood at a step: of a training that goes on."""
        cut = {}
        for name, series in self.scalars.items():
            known = series.steps <= step
            if known.any():
                cut[name] = Series(series.steps[known], series.values[known])
        return History(cut, min(step, self.steps), self.settings, self.gan, self.scales, False)

    def span(self, mask: Array, steps: Array) -> Span | None:
        """Return where a condition held longest, None where that is too short to count."""
        best: Span | None = None
        start = None
        count = 0
        for k, holds in enumerate([*_closed(mask), False]):
            if holds and start is None:
                start = k
            if not holds and start is not None:
                count = k - start
                span = Span(int(steps[start - 1]) if start else 0, int(steps[k - 1]))
                long = span.last - span.first
                enough = long >= max(
                    threshold("span.share") * self.steps, threshold("span.steps")
                ) and count >= threshold("span.points")
                if enough and (best is None or long >= best.last - best.first):
                    best = span
                start = None
        return best

    def is_over(self, span: Span) -> bool:
        """Whether what a span tells of had passed well before the record's end."""
        return span.last < 0.85 * self.steps


def _closed(mask: Array) -> Array:
    """What holds most of the time: in three fifths of a window of a seventh of the points."""
    held = np.array(mask, float)
    reach = max(1, len(held) // 14)
    windows = [held[max(0, k - reach) : k + reach + 1] for k in range(len(held))]
    return np.array([window.mean() >= 0.6 for window in windows], bool)


def chance(gan: str) -> float | None:
    """Return the discriminator's loss on real and fake where it cannot tell them apart."""
    return {"vanilla": 2 * math.log(2), "lsgan": 0.5, "hinge": 2.0}.get(gan)


def floor(gan: str, label: float) -> float:
    """Return the least loss on real pictures that a soft label leaves."""
    if gan == "vanilla" and 0 < label < 1:
        return -(label * math.log(label) + (1 - label) * math.log(1 - label))
    return 0.0


def discriminator_loss(history: History, name: str) -> Series:
    """Return a discriminator's loss on real and fake as a share of chance: 1 knows nothing, 0 all.

    Raises:
        NotShown: the record lacks them, or the loss has no level of chance (wgan-gp).
    """
    real, fake = history.series(f"{name}/real"), history.series(f"{name}/fake")
    level = None if history.gan is None else chance(history.gan)
    if level is None or history.gan is None:
        raise NotShown(f"the chance of {name}")
    least = floor(history.gan, float(history.setting("objective.real_label", 1.0)))
    steps = np.intersect1d(real.steps, fake.steps)
    if len(steps) < 3:
        raise NotShown(f"{name}/real and {name}/fake together")
    both = (real.at(steps) + fake.at(steps)) / history.scales
    return Series(steps, (both - least) / (level - least))


def trend(series: Series, *, share: float = 0.5) -> float:
    """Return the relative change over the last `share` of a record, by medians of its halves' ends.

    The median of its last third against that of its first third: -0.1 is a tenth lower.
    """
    last = series.steps[-1]
    begin = last * (1 - share)
    third = (last - begin) / 3
    early = series.between(begin - 1e-9, begin + third)
    late = series.between(last - third, last)
    if not len(early) or not len(late):
        raise NotShown("enough of a record")
    before = float(np.median(early))
    return (float(np.median(late)) - before) / max(abs(before), 1e-12)
