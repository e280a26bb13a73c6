"""`limner diagnose`: what the record of a training says, with remedies in order."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from limner.cli.options import Json, page_folder, print_json, say

if TYPE_CHECKING:
    from limner.findings import Finding


def diagnose(record: Path, *, out: Path | None = None, json: Json = False) -> None:
    """Tell from the record of a training whether its two networks are in balance, and what helps.

    Any run will do, alive or over, and logs of other projects: what a record cannot show is said.
    Exits 0 whatever it finds.

    **Examples**

    - `limner diagnose runs/facades`
    - `limner diagnose checkpoints/facades_pix2pix/loss_log.txt`
    - `limner diagnose scalars.csv --out diagnosis --json`

    Parameters
    ----------
    record
        A run's folder; a loss_log.txt of pytorch-CycleGAN-and-pix2pix, pix2pixHD or SPADE; a
        folder of TensorBoard; a CSV with a column `step` and Limner's names of scalars.
    out
        Folder for index.html, which shows the curves with what was found marked on them.
    """
    from limner.health.diagnosis import diagnose_history
    from limner.health.records import read_history

    page_folder(out)
    history = read_history(record)
    result = diagnose_history(history, run=str(record))
    if out is not None:
        from limner.reporting.diagnosis_page import write_diagnosis

        page = write_diagnosis(result, history, out)
        say(f"see {page}", aside=True)
    if json:
        print_json(result.to_json())
        return
    say(f"{result.run}: {result.steps:,} steps")
    for finding in result.findings:
        for line in _lines(finding):
            say(line)
    if result.unknown:
        say(f"this record cannot show: {', '.join(result.unknown)}")


def _lines(finding: Finding) -> list[str]:
    """A finding, where it stands, and what to try, each remedy on a line of its own."""
    first, last = finding.evidence["first_step"], finding.evidence["last_step"]
    lines = [finding.line(), f"    steps {first:,} to {last:,}"]
    for remedy in finding.remedies or ():
        words = " ".join(f"--set {shlex.quote(text)}" for text in remedy.set)
        when = "" if remedy.applies == "running" else " (a new training)"
        lines.append(f"    try {words}{when}: {remedy.why}")
    return lines
