"""What the command line says and returns when something fails, by kind of failure."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from limner.cli import app, main
from limner.errors import CheckpointError, ConfigError, DiskError, TrainingError


@pytest.fixture
def told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[[BaseException], tuple[int, str]]:
    """Let a command raise something; return the exit code and the one line that is said."""
    monkeypatch.delenv("LIMNER_DEBUG", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail(error: BaseException) -> tuple[int, str]:
        def run(_: list[str]) -> None:
            raise error

        monkeypatch.setattr(app, "run", run)
        status = main(["train", "x"])
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert line.startswith("limner: ")
        return status, line

    return fail


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("wrong"), 2),
        (CheckpointError("gone"), 2),
        (TrainingError("lost"), 1),
        (DiskError("a.png", OSError(errno.ENOSPC, "No space left on device")), 1),
        (OSError(errno.EIO, "Input/output error", "a.png"), 1),
        (OSError(errno.EROFS, "Read-only file system", "a.png"), 1),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.png"), 2),
        (PermissionError(errno.EACCES, "Permission denied", "a.png"), 2),
        (OSError(errno.EMFILE, "Too many open files"), 1),
        (MemoryError(), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(told, error: BaseException, status: int) -> None:
    code, line = told(error)
    assert code == status
    if "a.png" in (getattr(error, "filename", ""), getattr(error, "path", "")):
        assert "a.png" in line


def test_out_of_memory_on_a_device_is_known_without_importing_torch(told) -> None:
    code, line = told(type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory.\nTried"))
    assert code == 1
    assert "memory" in line


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), ValueError("a\nb\x1b[2J")])
def test_a_fault_of_limner_says_so_and_where_the_details_lie(
    told, error: Exception, tmp_path: Path
) -> None:
    code, line = told(error)
    assert code == 70
    assert "fault of Limner" in line
    (details,) = tmp_path.glob("limner-fault-*")
    assert str(details) in line
    text = details.read_text()
    assert f"in run\n    raise error\n{type(error).__name__}" in text
    assert "limner train x" in text


def test_a_fault_is_shown_whole_to_those_who_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIMNER_DEBUG", "1")
    monkeypatch.setattr(app, "run", lambda _: {}["x"])
    assert main([]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_names_from_elsewhere_do_not_move_the_terminal(told) -> None:
    for error in (
        ConfigError("a\nb\x1b[2J\udce9"),
        OSError(errno.ENOENT, "none", "a\nb\x1b\udce9"),
    ):
        _, line = told(error)
        assert line.isprintable()
        assert "\\x1b" in line


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command(
    signum: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signum)
    monkeypatch.setattr(app, "run", lambda _: signal.raise_signal(signum))
    assert main([]) == status
    assert capsys.readouterr().err == "limner: stopped\n"
    assert signal.getsignal(signum) is before


def test_a_signal_that_was_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(app, "run", lambda _: signal.raise_signal(signal.SIGINT) or 0)
    try:
        assert main([]) == 0
    finally:
        signal.signal(signal.SIGINT, before)


IMPORTING = """
import sys
from limner.cli import main
sys.path.insert(0, sys.argv[1])
import limner.errors
del sys.modules["limner.errors"]  # the first of what a command imports
sys.modules["limner"].__path__.insert(0, sys.argv[1])
sys.exit(main(["presets"]))
"""
SWALLOWING = """
import os, signal
try:
    os.kill(os.getpid(), signal.{name})
    for _ in range(1000):  # a signal is answered between two instructions
        pass
except BaseException:
    pass
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_during_imports_is_neither_swallowed_nor_a_traceback(
    name: str, status: int, tmp_path: Path
) -> None:
    (tmp_path / "errors.py").write_text(SWALLOWING.format(name=name))
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "limner: stopped\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_that_nobody_can_take_is_one_sentence() -> None:
    command = [sys.executable, "-m", "limner", "presets"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("word", ["", "a\0b"])
def test_words_that_no_path_can_be_are_refused(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", word]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("flag", "key"),
    [
        ("--l1=50", "objective.l1=50"),
        ("--generator.width", "generator.width=8"),
        ("--weight-decay", "training.weight_decay=8"),
        ("--discriminators.0.layers", "discriminators.0.layers=8"),
    ],
)
def test_a_mistaken_flag_that_is_a_key_names_the_set_that_means_it(
    flag: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "data", "--epochs", "3", flag, *([] if "=" in flag else ["8"])]) == 2
    assert f"--set {key}" in capsys.readouterr().err
