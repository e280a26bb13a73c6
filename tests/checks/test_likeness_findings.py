"""Copies within a split, leaks of every kind across splits, films, and what a split is worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import flawed
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from limner.checks.checking import check_data

LOUD = {"duplicate", "near-duplicate", "leak", "sequence"}


def encoded(image: Image.Image, path: Path) -> None:
    image.save(path.with_suffix(".jpg"), quality=60)
    path.unlink()


def resized(image: Image.Image, path: Path) -> None:
    image.resize((64, 64), Image.Resampling.BICUBIC).save(path)


def mirrored(image: Image.Image, path: Path) -> None:
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)


def brightened(image: Image.Image, path: Path) -> None:
    ImageEnhance.Brightness(image).enhance(1.25).save(path)


def cropped(image: Image.Image, path: Path) -> None:
    side = round(0.85 * image.width)
    image.crop((4, 9, 4 + side, 9 + side)).resize(image.size, Image.Resampling.BICUBIC).save(path)


def exact(image: Image.Image, path: Path) -> None:
    image.save(path)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flawed.pictures(tmp_path_factory.mktemp("clean"), side=96, train=12, test=4)


@pytest.fixture
def copied(clean: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(clean, tmp_path / "set"))


def test_unrelated_pictures_raise_nothing_and_count_in_full(clean: Path, found: Callable) -> None:
    assert not {name for name, _ in found(clean)} & LOUD
    worth = check_data(clean).splits
    assert worth["train"] == {"pairs": 12, "independent": 12}


@pytest.mark.parametrize("change", [exact, encoded, resized, mirrored, brightened, cropped])
def test_a_leak_is_found_whatever_was_done_to_it(
    copied: Path, found: Callable, change: Callable[[Image.Image, Path], None]
) -> None:
    for role in ("source", "target"):
        image = Image.open(copied / "test" / role / "3.png")
        change(image, copied / "train" / role / "10.png")
    finding = found(copied)["leak", "test"]
    assert finding.severity == "error"
    assert [held for held, _ in finding.pairs] == ["test/target/3.png"]
    assert [Path(other).stem for _, other in finding.pairs] == ["10"]
    assert finding.items[0].evidence["kind"] == change.__name__


def test_copies_within_a_split_count_as_one(copied: Path, found: Callable) -> None:
    for role in ("source", "target"):
        image = Image.open(copied / "train" / role / "3.png")
        for other in (5, 6, 7):
            image.save(copied / "train" / role / f"{other}.png")
    finding = found(copied)["duplicate", "train"]
    assert finding.severity == "warning"
    assert {f"train/target/{k}.png" for k in (3, 5, 6, 7)} == set(finding.files)
    assert check_data(copied).splits["train"]["independent"] == pytest.approx(9)
    assert ("leak", "test") not in found(copied)


def film(root: Path, splits: dict[str, range], *, side: int = 96) -> Path:
    """Write a slow pan over one long picture."""
    ids = flawed.labels(77, side=400)
    picture = flawed.photo(ids, 77)
    for split, frames in splits.items():
        for frame in frames:
            view = np.ascontiguousarray(picture[20 : 20 + side, 3 * frame : 3 * frame + side])
            for role in ("source", "target"):
                flawed.write(root / split / role / f"drive_{frame:04d}.png", view)
    return root


def test_frames_of_a_film_are_worth_little(tmp_path: Path, found: Callable) -> None:
    root = film(tmp_path / "film", {"train": range(30)})
    finding = found(root)["sequence", "train"]
    assert finding.severity == "note"
    assert len(finding.files) == 30
    assert check_data(root).splits["train"]["independent"] < 12


def test_a_film_that_crosses_splits_is_a_warning(tmp_path: Path, found: Callable) -> None:
    root = film(tmp_path / "film", {"train": range(0, 40, 2), "test": range(1, 40, 4)})
    finding = found(root)["sequence", "test"]
    assert finding.severity == "warning"
    assert finding.evidence["share_affected"] == 1
    assert all(held.startswith("test/") for held, _ in finding.pairs)


def test_few_images_are_told_by_what_they_are_worth(clean: Path, found: Callable) -> None:
    finding = found(clean)["few-images", "train"]
    assert finding.severity == "warning"
    assert finding.evidence["independent"] == 12
