"""`limner check` and `limner split`: one JSON object on standard output, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import flawed
import pytest

from limner.cli import main


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return flawed.pictures(tmp_path / "set", side=48, train=4, test=2)


def test_check_prints_one_object_and_exits_with_1_on_errors(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(root), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"data", "splits", "findings", "seconds"} <= result.keys()
    assert result["splits"]["train"] == {"pairs": 4, "independent": 4.0}
    (root / "train" / "source" / "2.png").write_bytes(b"")
    assert main(["check", str(root), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert findings[0]["name"] == "empty"
    assert findings[0]["files"] == ["train/source/2.png"]
    assert main(["check", str(root / "nowhere")]) == 2


def test_split_writes_what_train_reads(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "splits.csv"
    assert main(["split", str(root), "--shares", "2:1", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == {"train": 4, "test": 2}
    assert out.read_text().splitlines()[0] == "source,target,split"
    assert main(["split", str(root), "--shares", "a:b", "--out", str(out)]) == 2
