"""Whatever moment a command is killed at, the next call ends as an uninterrupted one.

A few moments of each command by themselves; LIMNER_LONG=1 (`scripts/test --long`) takes a hundred.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import killing_calls
import pytest
import tiny_runs
from random_pairs import write_pairs

LONG = bool(os.environ.get("LIMNER_LONG"))
QUICK = ["translate", "evaluate", "export"]
GRID = (
    f"preset: pix2pix-small\nset: {killing_calls.TINY}\ncells: {{add: {{generator.skips: add}}}}\n"
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_pairs(folder / "data", tiles=8, tile=6, train=2, test=2)
    tiny_runs.make_run(folder / "run")
    (folder / "grid.yaml").write_text(GRID)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", killing_calls.COMMANDS if LONG else ["train", *QUICK])
def test_a_command_that_was_killed_ends_as_any_when_it_is_called_again(
    command: str, start: Path, tmp_path: Path
) -> None:
    kills = "20" if LONG else "4" if command in QUICK else "1"
    words = [sys.executable, killing_calls.__file__, str(start), str(tmp_path), command, kills]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, *results = [json.loads(line) for line in done.stdout.splitlines()]
    assert whole["calls"] > 3
    assert len(results) == min(int(kills), whole["calls"])
    for result in results:
        assert result["killed"] == -9, result
        assert result["status"] == 0, result
        assert "Traceback" not in result["said"], result
        assert result["left"] == [], result
        assert result["different"] == [], result
