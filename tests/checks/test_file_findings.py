"""Each fault of a file or a split is named where it is planted, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import flawed
import numpy as np
import pytest
from PIL import Image

FILE_NAMES = {
    *("unreadable", "truncated", "empty", "constant", "multi-frame", "colour-profile"),
    *("mixed-size", "mixed-mode", "unmatched", "small", "narrow-range"),
}


def truncated(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    path.write_bytes(b"no picture at all")


def one_colour(path: Path) -> None:
    pixels = np.array(Image.open(path))
    flawed.write(path, np.broadcast_to(np.uint8([90, 20, 200]), pixels.shape).copy())


def grey(path: Path) -> None:
    Image.open(path).convert("L").save(path)


def shrunk(path: Path) -> None:
    for folder in ("source", "target"):
        beside = path.parent.parent / folder / path.name
        Image.open(beside).resize((64, 64)).save(beside)


def squeezed(path: Path) -> None:
    pixels = np.array(Image.open(path))
    flawed.write(path, (pixels // 16 + 100).astype(np.uint8))


def without_partner(path: Path) -> None:
    (path.parent.parent / "source" / path.name).unlink()


def with_profile(path: Path) -> None:
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.open(path).save(path, icc_profile=lab)


@pytest.mark.parametrize(
    ("plant", "name", "severity"),
    [
        (truncated, "truncated", "error"),
        (emptied, "empty", "error"),
        (garbled, "unreadable", "error"),
        (one_colour, "constant", "warning"),
        (grey, "mixed-mode", "warning"),
        (shrunk, "small", "warning"),
        (shrunk, "mixed-size", "note"),
        (squeezed, "narrow-range", "warning"),
        (without_partner, "unmatched", "error"),
        (with_profile, "colour-profile", "note"),
    ],
)
def test_a_fault_is_named_with_its_file(
    tmp_path: Path, found: Callable, plant: Callable[[Path], None], name: str, severity: str
) -> None:
    root = flawed.pictures(tmp_path / "set", train=20, test=4)
    assert not {key for key, _ in found(root)} & FILE_NAMES
    plant(root / "train" / "target" / "7.png")
    findings = found(root)
    finding = findings[name, "train"]
    assert finding.severity == severity
    assert "train/target/7.png" in finding.files
    assert set(finding.files) <= {"train/target/7.png", "train/source/7.png"}
    assert (name, "test") not in findings
    assert finding.to_json()["items"][0]["files"]


@pytest.mark.parametrize(
    ("suffix", "format_"), [(".jpg", "JPEG"), (".tif", "TIFF"), (".bmp", "BMP")]
)
def test_every_format_that_ends_early_is_truncated(
    tmp_path: Path, found: Callable, suffix: str, format_: str
) -> None:
    root = flawed.pictures(tmp_path / "set", train=3)
    path = root / "train" / "target" / "1.png"
    other = path.with_suffix(suffix)
    Image.open(path).save(other, format=format_)
    path.unlink()
    truncated(other)
    assert found(root)["truncated", "train"].files == [f"train/target/1{suffix}"]


def test_several_frames_are_told(tmp_path: Path, found: Callable) -> None:
    root = flawed.pictures(tmp_path / "set", train=3)
    path = root / "train" / "target" / "1.png"
    first = Image.open(path)
    first.save(path, save_all=True, append_images=[Image.open(path.with_name("0.png"))])
    assert found(root)["multi-frame", "train"].files == ["train/target/1.png"]


def test_twelve_bits_in_sixteen_are_a_sliver_of_the_range(tmp_path: Path, found: Callable) -> None:
    for number in range(4):
        _, picture = flawed.pair(number)
        deep = picture[..., 0].astype(np.uint16) * 16
        flawed.write(tmp_path / "train" / "source" / f"{number}.png", picture)
        flawed.write(tmp_path / "train" / "target" / f"{number}.png", deep)
    finding = found(tmp_path)["narrow-range", "train"]
    assert len(finding.files) == 4
    assert all("target" in path for path in finding.files)
    assert "data.range.target" in finding.cure


def test_small_counts_from_the_size_asked_for(tmp_path: Path, found: Callable) -> None:
    root = flawed.pictures(tmp_path / "set", train=4)
    assert ("small", "train") not in found(root, size=(96, 96))
    assert len(found(root, size=(128, 128))["small", "train"].files) == 8
