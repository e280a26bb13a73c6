"""`limner diagnose` answers in text and in JSON, exits 0 whatever it finds, and 2 on no record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limner.cli import main

RUN = Path(__file__).parents[1] / "data_files" / "format_1" / "pix2pix" / "run"


def certain(path: Path) -> Path:
    """Write a table of a training whose discriminator knows all."""
    rows = [f"{step},4.0,0.3,0.02,0.02,0.99" for step in range(10, 1010, 10)]
    path.write_text("\n".join(["step,g/gan,g/l1,d/real,d/fake,d/accuracy", *rows]))
    return path


def test_json_is_one_object_and_remedies_are_ready_to_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", str(certain(tmp_path / "a.csv")), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 1000
    (won,) = [finding for finding in told["findings"] if finding["name"] == "discriminator-wins"]
    assert won["severity"] == "warning"
    assert won["remedies"][0]["set"]
    assert "checkerboard" in told["unknown"]


def test_text_names_the_finding_its_span_and_what_to_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", str(certain(tmp_path / "a.csv"))]) == 0
    text = capsys.readouterr().out
    assert "discriminator-wins" in text
    assert "--set training.discriminator_lr=" in text
    assert "cannot show" in text


def test_an_old_run_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(RUN), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(RUN)


@pytest.mark.parametrize("text", [None, "", "hello", "step,other\n1,2\n"])
def test_what_is_no_record_exits_2_with_a_sentence(
    tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    if text is not None:
        path.write_text(text)
    assert main(["diagnose", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.strip().splitlines()) == 1
    assert "Traceback" not in shown.err
