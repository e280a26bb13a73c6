"""Inputs that cannot be worked on, given to what looks before training and after it.

Each is answered in one sentence, with exit code 2, and leaves all files as they were; `check` finds
what is wrong with files, which is its work.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import flawed
import pytest
import tiny_runs

from limner.cli import main
from limner.errors import OutOfMemoryError

SPLIT = ["split", "data", "--shares", "2:1", "--out", "new.csv"]
ALIASES = "".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 9)}]\n" for n in range(1, 9))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    flawed.pictures(folder / "data", side=48, train=2, test=1)
    tiny_runs.make_run(folder / "run")
    return folder


@pytest.fixture
def home(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(start, tmp_path / "home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def refused(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail before its work; return its sentence."""

    def fail(*words: str) -> str:
        def state() -> dict[Path, tuple[int, int]]:
            found = {path: path.lstat() for path in home.rglob("*")}
            return {path: (one.st_mtime_ns, one.st_size) for path, one in found.items()}

        before = state()
        capsys.readouterr()
        assert main(list(words)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert line.startswith("limner: ")
        assert state() == before
        return line

    return fail


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    """A file of 100 GiB that takes no room."""
    path.write_bytes(b"")
    os.truncate(path, 100 * 2**30)


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it is 60,000 pixels wide and high."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("spoil", [pipe, endless, sparse, bomb])
def test_a_picture_that_would_never_end(
    spoil: Callable[[Path], None], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(home / "data" / "train" / "source" / "0.png")
    assert main(["check", "data", "--json"]) == 1
    found = {one["name"]: one["files"] for one in json.loads(capsys.readouterr().out)["findings"]}
    assert found["unreadable"] == ["train/source/0.png"]
    assert main([*SPLIT, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == 1


def test_what_could_not_be_read_is_looked_at_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two such files have the same contents, none, and are told apart all the same."""
    first, second = (home / "data" / "train" / "source" / name for name in ("0.png", "1.png"))
    pipe(first)
    bomb(second)
    for _ in range(2):
        assert main(["check", "data", "--json"]) == 1
        (found,) = [
            one
            for one in json.loads(capsys.readouterr().out)["findings"]
            if one["name"] == "unreadable"
        ]
        reasons = {item["files"][0]: item["evidence"]["reason"] for item in found["items"]}
        assert "pipe" in reasons["train/source/0.png"]
        assert "too large" in reasons["train/source/1.png"]


@pytest.mark.parametrize("spoil", [pipe, endless, sparse])
@pytest.mark.parametrize("name", ["generator.safetensors", "checksums.json"])
def test_a_checkpoint_that_would_never_end(
    spoil: Callable[[Path], None], name: str, home: Path, refused
) -> None:
    spoil(home / "run" / "checkpoints" / "00000000" / name)
    assert name in refused("shift", "run", "data")
    assert name in refused("train", "data", "--from", "run", "--out", "new", "--device", "cpu")


@pytest.mark.parametrize("command", [["check"], SPLIT[:1], ["plan"], ["shift", "run"]])
@pytest.mark.parametrize("place", ["nowhere", "a.png", "empty", "/dev/zero", "pipe", "list.csv"])
def test_data_that_are_none(command: list[str], place: str, home: Path, refused) -> None:
    (home / "empty").mkdir()
    (home / "a.png").write_bytes(b"")
    pipe(home / "pipe")
    sparse(home / "list.csv")
    out = ["--out", "new.csv"] if command == ["split"] else []
    assert place in refused(*command, place, *out)


@pytest.mark.parametrize(
    "text", [ALIASES, "[" * 10**6, "&a [*a]", "!!python/object/apply:os.system [x]", "[1, 2]"]
)
def test_a_description_that_unfolds_or_runs(text: str, home: Path, refused) -> None:
    (home / "data" / "dataset.yaml").write_text(f"k0: &k0 x\n{text}" if text is ALIASES else text)
    assert "dataset.yaml" in refused("check", "data")
    assert "dataset.yaml" in refused("plan", "data")


@pytest.mark.parametrize(
    "command", [["check", "data"], ["diagnose", "run"], ["shift", "run", "data"]]
)
@pytest.mark.parametrize("out", ["run/config.yaml", "run/config.yaml/deeper", "pipe", "loop/x"])
def test_a_page_that_cannot_be_written_is_told_before_the_work(
    command: list[str], out: str, home: Path, refused
) -> None:
    pipe(home / "pipe")
    (home / "loop").symlink_to("loop")
    assert f"--out {out}" in refused(*command, "--out", out)


@pytest.mark.parametrize("out", ["data/train/source/0.png", "data", "list.csv", "new", "new.txt"])
def test_a_manifest_that_would_replace_what_is_there_or_that_nothing_reads(
    out: str, home: Path, refused
) -> None:
    rows = [f"data/train/{{}}/{number}.png" for number in range(2)]
    lines = [f"{row.format('source')},{row.format('target')},train" for row in rows]
    (home / "list.csv").write_text("\n".join(["source,target,split", *lines]))
    data = "list.csv" if out == "list.csv" else "data"
    assert out in refused("split", data, "--shares", "1:1", "--out", out)


def test_more_folds_than_there_can_be_end_at_once(refused) -> None:
    assert "1,000,000,000 parts" in refused(*SPLIT, "--folds", "1000000000")


def test_a_split_that_cannot_be_listed_is_not_left_out_of_the_manifest(home: Path, refused) -> None:
    (home / "data" / "train" / "source" / "0.png").unlink()
    (home / "data" / "train" / "source" / "0.png").symlink_to("nowhere")
    assert "train" in refused(*SPLIT)


def test_files_without_a_partner_are_told_when_pairs_are_dealt_out(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "data" / "train" / "source" / "7.png").write_bytes(
        (home / "data" / "train" / "source" / "0.png").read_bytes()
    )
    assert main(SPLIT) == 0
    said = capsys.readouterr().err
    assert "train/source/7.png" in said
    assert "limner check data" in said


@pytest.mark.parametrize("spoil", [pipe, sparse])
def test_events_of_tensorboard_that_would_never_end(
    spoil: Callable[[Path], None], home: Path, refused
) -> None:
    (home / "board").mkdir()
    spoil(home / "board" / "events.out.tfevents.1")
    assert "events.out.tfevents.1" in refused("diagnose", "board")


@pytest.mark.parametrize("step", ["-1", "nan", "1e300", "9" * 5000, "\0"])
def test_a_step_that_is_none(step: str, home: Path, refused) -> None:
    (home / "log.csv").write_text(f"step,g/total\n{step},1\n")
    line = refused("diagnose", "log.csv")
    assert "line 2" in line
    assert len(line) < 200


def test_a_number_in_the_log_that_no_float_holds(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = f'{{"event": "train", "time": 1, "step": 1, "g/total": {"9" * 400}}}\n'
    (home / "run" / "log.jsonl").write_text(event)
    assert main(["diagnose", "run", "--json"]) == 0
    json.loads(capsys.readouterr().out)


def test_a_name_of_a_hundred_thousand_letters_is_no_wall_of_text(home: Path, refused) -> None:
    (home / "list.csv").write_text(f"source,target,split\n{'x' * 100_000},b,train\n")
    assert len(refused("check", "list.csv")) < 5000


def test_a_measuring_process_that_is_killed_is_one_sentence() -> None:
    from limner.checks.over_processes import over_processes

    with pytest.raises(OutOfMemoryError, match="killed"):
        list(over_processes(_dies, range(64), processes=2))


def _dies(_: int) -> None:
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("words", [["--help"], ["check", "--help"], ["--version"]])
def test_help_into_a_pipe_that_nobody_reads(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "limner", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
