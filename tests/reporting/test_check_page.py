"""The page of a check shows each finding with its pictures, side by side."""

from __future__ import annotations

import shutil
from pathlib import Path

import flawed

from limner.checks.checking import check_data
from limner.reporting.check_page import write_check


def test_a_leak_stands_face_to_face_and_classes_are_drawn(tmp_path: Path) -> None:
    root = flawed.labelled(tmp_path / "set", side=48, train=4, test=2)
    for kind in ("label", "photo"):
        shutil.copy(root / "test" / kind / "1.png", root / "train" / kind / "2.png")
    result = check_data(root)
    page = write_check(result, root, tmp_path / "out", direction=None).read_text(encoding="utf-8")
    assert "test/photo/1.png = train/photo/2.png" in page
    assert page.count("data:image/jpeg") >= 1
    assert "<polyline" in page
    assert "<caption>train</caption>" in page


def test_a_page_of_a_set_that_cannot_be_read_is_written_too(tmp_path: Path) -> None:
    root = flawed.pictures(tmp_path / "set", side=48, train=2)
    (root / "train" / "target" / "1.png").write_bytes(b"")
    page = write_check(check_data(root), root, tmp_path / "out", direction=None)
    assert "empty" in page.read_text(encoding="utf-8")
