"""Pipes where files are expected: refused in one sentence, since reading one would never end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipes")
    tiny_runs.draw_data(folder / "data", test=2)
    tiny_runs.make_run(folder / "run")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("pipe", COMMANDS)
def test_a_pipe_in_the_place_of_a_file(pipe: str, start: Path, tmp_path: Path) -> None:
    home = shutil.copytree(start, tmp_path / "home")
    (home / pipe).unlink(missing_ok=True)
    os.mkfifo(home / pipe)
    done = subprocess.run(  # a process of its own, since one that waits hears no signal
        [sys.executable, "-m", "limner", *COMMANDS[pipe].split()],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert [line[:8] for line in done.stderr.splitlines()] == ["limner: "]
    assert not (home / "new").exists()
