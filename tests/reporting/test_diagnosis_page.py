"""The page of a diagnosis shows each finding with its curves, its span marked on them."""

from __future__ import annotations

from pathlib import Path

from histories import history

from limner.health.diagnosis import diagnose_history
from limner.reporting.diagnosis_page import ABOUT, write_diagnosis


def test_findings_stand_with_their_remedies_and_marked_curves(tmp_path: Path) -> None:
    record = history({"health/share/gan": (0.001, 0.001)})
    page = write_diagnosis(diagnose_history(record, run="a<b"), record, tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "out" / "index.html"
    assert "adversarial-drowned" in text
    assert "--set objective.l1=100" in text
    assert "a&lt;b" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    well = history()
    other = write_diagnosis(diagnose_history(well), well, tmp_path / "well").read_text()
    assert text.count("<svg") == other.count("<svg") + 1
    assert "opacity: 0.14" in text
    assert "opacity: 0.14" not in other


def test_every_finding_has_its_curves() -> None:
    from limner.health.diagnosis import RULES

    assert ABOUT.keys() == RULES.keys()
