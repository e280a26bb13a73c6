"""Files are written whole or not at all."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from limner.files import read_events, replacing, write_bytes, write_text


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "é")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "é".encode()


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fails_halfway() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails_halfway()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_bytes(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_new_file_is_as_readable_as_any(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a")
    (tmp_path / "b.txt").write_text("b")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_a_log_is_read_whatever_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_events(tmp_path) == []
    whole = [{"event": "start", "text": "Ä\u2028b"}, {"event": "train", "step": 1}]
    text = "\n".join(json.dumps(event, ensure_ascii=False) for event in whole)
    torn = json.dumps({"event": "finished", "text": "ü"}, ensure_ascii=False).encode()
    for end in range(len(torn)):
        path.write_bytes(text.encode() + b"\n" + torn[:end])
        assert read_events(tmp_path) == whole
    path.write_bytes(b'[1]\n{"step": 3}\n\x80\n' + text.encode() + b"\n")
    assert read_events(tmp_path) == whole
