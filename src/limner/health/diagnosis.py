"""From the record of a training to findings: the table of rules, and what follows from each."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.findings import Finding, Severity, milder, worst_first
from limner.health import artefacts, balance, learning
from limner.health.history import History, NotShown, Verdict
from limner.health.records import read_history
from limner.health.remedies import remedies

Rule = Callable[[History], Verdict | None]

RULES: dict[str, tuple[Severity, Rule]] = {
    "divergence": ("error", learning.divergence),
    "exploding-gradients": ("error", learning.exploding_gradients),
    "nothing-learned": ("error", learning.nothing_learned),
    "discriminator-wins": ("warning", balance.discriminator_wins),
    "generator-wins": ("warning", balance.generator_wins),
    "generator-stalled": ("warning", balance.generator_stalled),
    "collapse": ("warning", artefacts.collapse),
    "adversarial-drowned": ("warning", balance.adversarial_drowned),
    "discriminator-memorises": ("warning", balance.discriminator_memorises),
    "overfit": ("warning", learning.overfit),
    "perceptual-overfit": ("warning", learning.perceptual_overfit),
    "rate-too-high": ("warning", learning.rate_too_high),
    "norm-mismatch": ("warning", artefacts.norm_mismatch),
    "checkerboard": ("warning", artefacts.checkerboard),
    "blob": ("warning", artefacts.blob),
    "unfinished": ("note", learning.unfinished),
}
"""Every name but `healthy`, with its usual severity and the rule that finds it."""

FOLLOWS: dict[str, tuple[str, ...]] = {
    # What a finding explains is not said beside it: a generator that has learnt nothing makes the
    # same picture for every source, and is never finished.
    "divergence": ("unfinished", "generator-wins", "generator-stalled"),
    "nothing-learned": (
        *("collapse", "unfinished", "generator-stalled", "generator-wins", "checkerboard"),
    ),
    "discriminator-wins": ("generator-stalled",),
    "generator-wins": ("adversarial-drowned",),
    "adversarial-drowned": ("discriminator-wins", "generator-stalled"),
}


@dataclass(frozen=True)
class Diagnosis:
    """What the record of a training says, worst first, and what it cannot show."""

    run: str
    steps: int
    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As `--json` has it."""
        return {
            "run": self.run,
            "steps": self.steps,
            "findings": [finding.to_json() for finding in self.findings],
            "unknown": list(self.unknown),
        }


def diagnose(record: Path | str) -> Diagnosis:
    """Return what the record of a training says, as `limner diagnose` does.

    Args:
        record: as `read_history` takes it: a run's folder, a log of another project, a CSV.

    Raises:
        LimnerError: it is no record, or cannot be read.
    """
    return diagnose_history(read_history(Path(record)), run=str(record))


def diagnose_history(history: History, *, run: str = "") -> Diagnosis:
    """Return the findings of a record; `healthy` alone where there is none and enough was seen.

    Args:
        history: of a training, over or not.
        run: what the diagnosis says it is of.
    """
    verdicts: dict[str, Verdict] = {}
    unknown = []
    for name, (_, rule) in RULES.items():
        try:
            verdict = rule(history)
        except NotShown:
            unknown.append(name)
        else:
            if verdict is not None:
                verdicts[name] = verdict
    explained = {
        other
        for name, verdict in verdicts.items()
        if not verdict.weak
        for other in FOLLOWS.get(name, ())
    }
    verdicts = {name: verdict for name, verdict in verdicts.items() if name not in explained}
    findings = [_finding(name, verdict, history) for name, verdict in verdicts.items()]
    if not findings:
        seen = len(RULES) - len(unknown)
        if seen >= 2 and _long_enough(history):
            findings.append(_healthy(history, seen))
        else:
            unknown.append("healthy")
    return Diagnosis(run, history.steps, tuple(worst_first(findings)), tuple(unknown))


def _long_enough(history: History) -> bool:
    return max((len(series.steps) for series in history.scalars.values()), default=0) >= 5


def _finding(name: str, verdict: Verdict, history: History) -> Finding:
    usual = RULES[name][0]
    made = remedies(name, history)
    evidence: Mapping[str, Any] = {**verdict.span.evidence, **verdict.evidence}
    return Finding(
        name=name,
        severity=milder(usual) if verdict.weak else usual,
        message=verdict.message,
        cure=_cure(made[0].set, made[0].why) if made else "look at the pictures and the curves",
        evidence=evidence,
        remedies=made,
    )


def _cure(settings: tuple[str, ...], why: str) -> str:
    words = " ".join(f"--set {shlex.quote(text)}" for text in settings)
    return f"try {words}: {why}"


def _healthy(history: History, seen: int) -> Finding:
    return Finding(
        name="healthy",
        severity="note",
        message=f"none of the {seen} illnesses that this record can show",
        cure="go on",
        evidence={"first_step": 0, "last_step": history.steps},
        remedies=(),
    )
