"""Pipes where files are expected: refused in one sentence, since reading one would never end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked_commands
import pytest
import tiny_runs

COMMANDS = {
    "run/checkpoints/00000000/generator.safetensors": "translate run data/test --out new",
    "run/log.jsonl": "report run",
    "data/dataset.yaml": "train data --out new",
    "net.pth": "import net.pth --from junyanz --out new",
    "pairs.csv": "train pairs.csv --out new",
    "map.yaml": "compare data/test data/test --metrics seg --segmenter x --labels y "
    "--class-map map.yaml",
    "run/config.yaml": "translate run data/test --out new",
    "settings.yaml": "train data --out new --config settings.yaml",
    "grid.yaml": "experiment grid.yaml data --out new",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The folder of each command, and what it answered; in processes that nobody waits in."""
    start = tmp_path_factory.mktemp("pipes")
    tiny_runs.draw_data(start / "data", test=2)
    tiny_runs.make_run(start / "run")
    homes = {}
    for number, pipe in enumerate(COMMANDS):
        homes[pipe] = shutil.copytree(start, start.parent / f"{start.name}-{number}")
        (homes[pipe] / pipe).unlink(missing_ok=True)
        os.mkfifo(homes[pipe] / pipe)
    jobs = [[str(homes[pipe]), words.split()] for pipe, words in COMMANDS.items()]
    done = subprocess.run(
        [sys.executable, forked_commands.__file__, json.dumps(jobs)],
        capture_output=True,
        text=True,
        check=True,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return {pipe: (homes[pipe], one) for pipe, one in zip(COMMANDS, said, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("pipe", COMMANDS)
def test_a_pipe_in_the_place_of_a_file(
    pipe: str, answers: dict[str, tuple[Path, dict[str, Any]]]
) -> None:
    home, answer = answers[pipe]
    assert answer["status"] == 2, answer
    assert [line[:8] for line in answer["said"].splitlines()] == ["limner: "]
    assert not (home / "new").exists()
