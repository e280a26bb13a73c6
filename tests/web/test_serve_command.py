"""`limner serve` as a process: its address, its end; and what it refuses before it loads."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tiny_runs import make_run

from limner.cli import main


def test_it_prints_its_address_answers_and_ends_as_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    command = [sys.executable, "-m", "limner", "serve", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        try:
            with urllib.request.urlopen(f"{address}api/health", timeout=600) as answer:
                assert json.load(answer) == {"status": "ok"}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait() == 143


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("serve") / "run")


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["serve", *words]) == 2
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    return told.err


def test_an_address_that_is_taken_is_refused(run: Path, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "--port" in refused([str(run), "--port", port], capsys)
    assert "--host" in refused([str(run), "--host", "no.such.host.invalid"], capsys)


def test_what_is_no_run_is_refused(run: Path, tmp_path: Path, capsys) -> None:
    refused([], capsys)
    refused([str(tmp_path)], capsys)
    refused([str(run), "--port", "-1"], capsys)
    refused([str(run), "--port", "70000"], capsys)


def test_without_its_libraries_it_names_the_extra(
    run: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "limner.web.server", raising=False)
    assert "limner[web]" in refused([str(run)], capsys)
