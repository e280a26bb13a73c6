"""The numbers that a diagnosis turns on, in one table, each with what it was set from.

"Bench" is `python benchmarks/illnesses.py`: ill and healthy trainings of small networks on real
pairs, whose courses docs/health.md shows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A number, and the evidence for it."""

    value: float
    evidence: str


THRESHOLDS: dict[str, Threshold] = {
    "span.share": Threshold(
        0.2, "a state counts when it lasts for a fifth of the record; healthy ones pass faster"
    ),
    "span.steps": Threshold(
        80, "and for so many steps: healthy trainings of the bench guess for their first 80"
    ),
    "span.points": Threshold(3, "and for so many values: one is an accident"),
    "imbalance": Threshold(
        5,
        "discriminator's relative updates over the generator's: healthy 1 to 2; rates 4 apart "
        "are usual (SPADE); twenty times the rate 5 to 10",
    ),
    "divergence.distance": Threshold(
        1.5, "times the best reached; the adversary's part in healthy ones costs up to 1.1"
    ),
    "divergence.loss": Threshold(3, "times chance; healthy discriminators stay below 1.2"),
    "exploding-gradients.factor": Threshold(
        50, "times those of the first fifth; healthy ones grow up to 12-fold"
    ),
    "nothing-learned.gain": Threshold(0.03, "of the first lines; healthy ones gain 10 % and more"),
    "nothing-learned.flat": Threshold(0.95, "of the mean colour's distance"),
    "nothing-learned.following": Threshold(0.3, "generators that were trained before follow more"),
    "nothing-learned.steps": Threshold(100, "steps to judge by, and"),
    "nothing-learned.share": Threshold(0.4, "of the record, its end"),
    "nothing-learned.update": Threshold(2e-5, "healthy updates move 0.004 of the weights"),
    "discriminator-wins.loss": Threshold(
        0.2, "of chance; healthy ones end at 0.28 to 0.6, an overpowering one at 0.09"
    ),
    "discriminator-wins.loss-ahead": Threshold(
        0.3, "the same where imbalance says the discriminator runs ahead (0.13 to 0.3)"
    ),
    "discriminator-wins.loss-blind": Threshold(
        0.15, "the same where no accuracy is logged, as in other projects' logs of single steps"
    ),
    "discriminator-wins.accuracy": Threshold(
        0.93, "as well; alone it is no sign: healthy ones are right 85 to 96 % of the time"
    ),
    "generator-wins.loss": Threshold(0.06, "around chance, which healthy ones leave in 140 steps"),
    "generator-wins.accuracy": Threshold(
        0.55, "healthy ones pass it in 30 to 90 steps, the slowest with lsgan"
    ),
    "generator-wins.share": Threshold(0.4, "of the record: longer than any healthy beginning"),
    "generator-wins.share-blind": Threshold(
        0.6, "the same where no accuracy is logged: hinge may stay near its chance"
    ),
    "generator-wins.steps": Threshold(140, "and for so many steps"),
    "generator-stalled.loss": Threshold(0.5, "of chance: it is being found out"),
    "generator-stalled.gain": Threshold(0.01, "of the reconstruction over the span"),
    "generator-stalled.rise": Threshold(0.15, "of g/gan over the span"),
    "collapse.following": Threshold(0.04, "healthy ones 0.12 in their first steps, then 0.2 to 1"),
    "adversarial-drowned.share": Threshold(
        0.01, "healthy ones 0.02 in their first steps, then 0.1 to 0.4; L1 weighed 10,000 0.002"
    ),
    "discriminator-memorises.share": Threshold(0.5, "healthy ones about 0"),
    "discriminator-memorises.apart": Threshold(1, "logits; below, it has no opinion yet"),
    "discriminator-memorises.gap": Threshold(0.25, "of accuracy; healthy ones about 0"),
    "overfit.worse": Threshold(0.06, "than the best; half of it is a weak case"),
    "overfit.better": Threshold(0.1, "of the training pairs since; healthy ones 0.05 and less"),
    "rate-too-high.update": Threshold(
        0.08, "of the weights where no rate is known; healthy ones 0.004 to 0.012, SPADE's to 0.07"
    ),
    "rate-too-high.rate": Threshold(0.0015, "a rate from which the next number counts"),
    "rate-too-high.update-fast": Threshold(
        0.03, "of the weights at such a rate; a rate of 0.01 reaches 0.03 to 0.12"
    ),
    "rate-too-high.update-alone": Threshold(
        0.3, "the same at usual rates; SPADE's discriminator, small at first, begins at 0.24"
    ),
    "norm-mismatch.ratio": Threshold(1.25, "of the distances to the target"),
    "checkerboard.amplitude": Threshold(
        0.06, "of the targets' contrast; healthy ones scatter by 0.05 about 0"
    ),
    "checkerboard.decibels": Threshold(8, "above the neighbourhood, for smooth pictures alone"),
    "blob.ratio": Threshold(10, "healthy ones 2 to 8"),
    "unfinished.gain": Threshold(0.02, "over the last two fifths"),
}


def threshold(name: str) -> float:
    """Return the number of a name in the table."""
    return THRESHOLDS[name].value
