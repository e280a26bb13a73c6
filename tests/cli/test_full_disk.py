"""Every command that writes, on a disk that takes no more: one sentence, and nothing in part."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import flawed
import pytest
import refusing_disk
import tiny_runs
import torch
from random_pairs import write_pairs

from limner.cli import demo, main
from limner.cli.app import build
from limner.files import TEMPORARY
from limner.networks import make_generator
from limner.transfer import network_settings, to_project

TINY = {
    "data.size": 32,
    "data.load_size": 36,
    "generator.width": 4,
    "generator.depth": 3,
    "discriminators.0.layers": 1,
    "discriminators.0.width": 4,
    "training.workers": 0,
    "training.steps": 1,
}
SETS = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
GRID = f"preset: pix2pix-small\nset: {TINY}\ncells: {{add: {{generator.skips: add}}}}\n"
OPTIONS = ["--option", "netG=resnet_6blocks", "--option", "ngf=4"]
# Each command with what it writes to; words are relative to the folder of the test.
COMMANDS = {
    "demo": ["demo", "--out", "new"],
    "train": ["train", "data", "--out", "new", "--preset", "pix2pix-small", *SETS],
    "translate": ["translate", "run", "data/test", "--side", "left", "--out", "new"],
    "evaluate": ["evaluate", "run", "data", "--metrics", "l1"],
    "report": ["report", "run"],
    "export": ["export", "run", "--format", "torchscript", "--out", "new/run.pt"],
    "import": [*["import", "net_G.pth", "--from", "junyanz", "--out", "new"], *OPTIONS],
    "experiment": ["experiment", "grid.yaml", "data", "--out", "new", "--jobs", "1", "--no-times"],
    "check": ["check", "set", "--out", "new"],
    "split": ["split", "set", "--shares", "1:1", "--out", "new.csv"],
    "diagnose": ["diagnose", "run", "--out", "new"],
    "shift": ["shift", "run", "data", "--out", "new"],
}
# What the others write is a cache or a folder of the system's, and no part of their result.
WRITING_NOTHING = {
    "compare": ["compare", "data/test", "data/test", "--metrics", "l1"],
    "presets": ["presets"],
    "plan": ["plan", "data"],
    "bench": ["bench", "run"],
    "serve": ["serve", "run"],
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_pairs(folder / "data", tiles=8, tile=6, train=2, test=2)
    flawed.pictures(folder / "set", side=32, train=1, test=1)
    tiny_runs.make_run(folder / "run")
    losses = {"g/total": 30.0, "g/gan": 1.0, "g/l1": 0.3, "d/real": 0.5, "d/fake": 0.5}
    events = [{"event": "train", "time": 1.0, "step": step, **losses} for step in range(1, 9)]
    (folder / "run" / "log.jsonl").write_text("".join(f"{json.dumps(e)}\n" for e in events))
    (folder / "grid.yaml").write_text(GRID + "metrics: [l1]\n")
    options = {"netG": "resnet_6blocks", "ngf": 4}
    name, keywords = network_settings("junyanz", "generator", **options)
    state = make_generator(name, **keywords).state_dict()
    torch.save(to_project(state, **options), folder / "net_G.pth")
    return folder


@pytest.fixture
def home(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(start, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("TRAIN", "VAL", "TEST"):
        monkeypatch.setattr(demo, name, 2)
    monkeypatch.setattr(demo, "SETTINGS", TINY)
    return tmp_path / "home"


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, in this process and those that it starts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python does not notice that it is cut off
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = bytecode


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, contextlib.AbstractContextManager[None]], None]:
    """Run a command on a disk that refuses; it says one sentence and publishes nothing in part."""

    def check(command: str, refusing: contextlib.AbstractContextManager[None]) -> None:
        before = contents(home)
        capsys.readouterr()
        with refusing:
            status = main(COMMANDS[command])
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert status == 1, said
        (line,) = [line for line in said.splitlines() if line.startswith("limner: ")]
        assert any(word in line for word in ("new", "run", str(home))), line
        after = contents(home)
        assert not [name for name in after if TEMPORARY in name]
        # What is not a log was there before, or is whole: nothing is cut to the limit.
        for name in before:
            assert name in after
            if not name.endswith("log.jsonl"):
                assert after[name] == before[name]
        if command != "demo":  # what it drew stays, and --resume goes on
            resumed = ["--resume"] if command == "train" and Path("new").exists() else []
            assert main([*COMMANDS[command], *resumed]) == 0, capsys.readouterr().err

    return check


# Training hands tensors over in shared memory, which is a file for this limit, too.
WITHOUT_TRAINING = ["translate", "evaluate", "report", "export", "import"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "size"),
    [
        *((command, size) for command in WITHOUT_TRAINING for size in (0, 1500)),
        *((command, 100) for command in ("check", "split", "diagnose", "shift")),
    ],
)
def test_a_disk_that_takes_a_part_of_a_file(command: str, size: int, refused) -> None:
    refused(command, files_of_at_most(size))


@pytest.mark.parametrize("command", ["compare", "presets"])
def test_a_full_disk_is_none_of_the_affair_of_what_writes_nothing(
    command: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(home)
    with files_of_at_most(0):
        assert main(WRITING_NOTHING[command]) == 0, capsys.readouterr().err
    assert contents(home) == before


def test_no_command_is_forgotten() -> None:
    assert {name for name in build() if not name.startswith("-")} == {*COMMANDS, *WRITING_NOTHING}


# Each of a few moments by themselves; LIMNER_LONG=1 (`scripts/test --long`) takes many.
LONG = bool(os.environ.get("LIMNER_LONG"))
REASONS = dict(zip(COMMANDS, ["ENOSPC", "EIO", "EDQUOT", "EROFS"] * 4, strict=False))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_refuses_from_some_moment_on(
    command: str, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full, over quota, read-only or failing: one sentence with the path, and nothing in part."""
    monkeypatch.setenv("TINY", json.dumps(TINY))
    for reason in ["ENOSPC", "EIO", "EDQUOT", "EROFS"] if LONG else [REASONS[command]]:
        (tmp_path / reason).mkdir()
        moments = (
            "40" if LONG else "2" if command in ("demo", "experiment", "check", "shift") else "4"
        )
        words = [refusing_disk.__file__, str(start), str(tmp_path / reason), reason, moments]
        done = subprocess.run(
            [sys.executable, *words, *COMMANDS[command]],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        whole, *results = [json.loads(line) for line in done.stdout.splitlines()]
        assert whole["questions"] > 3
        assert len(results) >= 2
        for result in results:
            assert result["status"] == 1, result
            assert "Traceback" not in result["said"], result
            (line,) = [one for one in result["said"].splitlines() if one.startswith("limner: ")]
            assert any(word in line for word in ("new", "run")), result
            assert not any(word in line for word in (TEMPORARY, "fault of Limner")), result
            assert result["left"] == [], result
            assert result["lost"] == [], result
            assert [name for name in result["changed"] if not name.endswith("log.jsonl")] == []


@pytest.mark.slow
def test_a_real_disk_that_is_full(home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    mounted = subprocess.run(words, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk here")
    try:
        for command in ("translate", "export", "import"):
            words = [word.replace("new", str(disk / "new")) for word in COMMANDS[command]]
            with contextlib.suppress(OSError):
                (disk / "filler").write_bytes(b"x" * 2**17)
            words = [sys.executable, "-m", "limner", *words]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 1, (command, done.stderr)
            assert "Traceback" not in done.stderr, command
            assert str(disk / "new") in done.stderr
            for path in disk.rglob("*.png"):
                path.unlink()
            shutil.rmtree(disk / "new", ignore_errors=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
