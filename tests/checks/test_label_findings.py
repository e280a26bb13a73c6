"""Each fault of label maps is named where it is planted, and sound maps raise no alarm."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import flawed
import numpy as np
import pytest
from PIL import Image

ALARMS = {
    *("label-range", "off-palette", "interpolated-labels", "lossy-labels", "mask-for-labels"),
    "instance-mismatch",
}
PALETTE = flawed.COLOURS.astype(np.uint8)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flawed.labelled(tmp_path_factory.mktemp("labels"), train=10)


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "set"))


def bilinear(path: Path) -> None:
    image = Image.open(path)
    image.resize((48, 48), Image.Resampling.NEAREST).resize(
        image.size, Image.Resampling.BILINEAR
    ).save(path)


def nearest(path: Path) -> None:
    image = Image.open(path)
    image.resize((48, 48), Image.Resampling.NEAREST).resize(
        image.size, Image.Resampling.NEAREST
    ).save(path)


def as_jpeg(path: Path) -> None:
    Image.open(path).save(path.with_suffix(".jpg"), quality=75)
    path.unlink()


def once_jpeg(path: Path) -> None:
    as_jpeg(path)
    between = path.with_suffix(".jpg")
    Image.open(between).save(path)
    between.unlink()


def outside(path: Path) -> None:
    ids = np.array(Image.open(path))
    ids[10:30, 10:30] = 77
    flawed.write(path, ids)


def as_mask(path: Path) -> None:
    flawed.write(path, ((np.array(Image.open(path)) > 1) * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (bilinear, "interpolated-labels"),
        (as_jpeg, "lossy-labels"),
        (outside, "label-range"),
        (as_mask, "mask-for-labels"),
    ],
)
def test_a_faulty_map_of_ids_is_named(
    root: Path, found: Callable, plant: Callable[[Path], None], name: str
) -> None:
    plant(root / "train" / "label" / "4.png")
    findings = found(root)
    assert {key for key, _ in findings} & ALARMS == {name}
    assert findings[name, "train"].severity == "error"
    assert [Path(path).stem for path in findings[name, "train"].files] == ["4"]


def test_what_was_a_jpeg_once_is_named_in_a_lossless_file(root: Path, found: Callable) -> None:
    for path in (root / "train" / "label").iterdir():
        flawed.write(path, np.array(Image.open(path)) * 50)
    assert not {name for name, _ in found(root)} & ALARMS
    once_jpeg(root / "train" / "label" / "4.png")
    assert found(root)["lossy-labels", "train"].files == ["train/label/4.png"]


def test_sound_maps_raise_no_alarm_and_neither_does_nearest(root: Path, found: Callable) -> None:
    assert not {name for name, _ in found(root)} & ALARMS
    nearest(root / "train" / "label" / "4.png")
    assert not {name for name, _ in found(root)} & ALARMS


def test_ids_are_held_against_what_dataset_yaml_says(root: Path, found: Callable) -> None:
    (root / "dataset.yaml").write_text("classes: [a, b, c]\n")
    assert len(found(root)["label-range", "train"].files) == 10


def test_masks_are_named_where_all_maps_are_some(root: Path, found: Callable) -> None:
    for path in (root / "train" / "label").iterdir():
        as_mask(path)
    finding = found(root)["mask-for-labels", "train"]
    assert len(finding.files) == 10
    (root / "dataset.yaml").write_text("classes: [a, b]\ncolours: [[0, 0, 0], [255, 255, 255]]\n")
    assert ("mask-for-labels", "train") not in found(root)


def indexed(path: Path, palette: np.ndarray) -> None:
    image = Image.fromarray(np.array(Image.open(path)), mode=None).convert("P")
    image.putdata(np.array(Image.open(path)).ravel().tolist())
    image.putpalette(palette.ravel().tolist())
    image.save(path)


def test_a_palette_unlike_the_others_is_off(root: Path, found: Callable) -> None:
    for path in (root / "train" / "label").iterdir():
        indexed(path, PALETTE[::-1] if path.stem == "4" else PALETTE)
    assert found(root)["off-palette", "train"].files == ["train/label/4.png"]


def test_a_colour_of_no_class_is_off_the_palette(root: Path, found: Callable) -> None:
    for path in (root / "train" / "label").iterdir():
        flawed.write(path, PALETTE[np.array(Image.open(path))])
    assert not {name for name, _ in found(root)} & ALARMS
    path = root / "train" / "label" / "4.png"
    pixels = np.array(Image.open(path))
    pixels[10:20, 10:20] = (1, 2, 3)
    flawed.write(path, pixels)
    findings = found(root)
    assert findings["off-palette", "train"].files == ["train/label/4.png"]
    assert ("interpolated-labels", "train") not in findings


def test_instances_that_fit_pass_and_others_are_named(root: Path, found: Callable) -> None:
    for number in range(10):
        ids = flawed.labels(number)
        parts = ids.astype(np.int32) * 2 + (np.arange(96) > 50)
        if number == 4:
            parts = parts[:, ::-1]
        flawed.write(root / "train" / "instance" / f"{number}.png", parts.astype(np.uint8))
    finding = found(root)["instance-mismatch", "train"]
    assert finding.files == ["train/instance/4.png"]


def discs(touching: bool) -> np.ndarray:
    rows, columns = np.mgrid[0:96, 0:96]
    ids = np.zeros((96, 96), np.uint8)
    for y in range(12, 96, 24):
        for x in range(12, 96, 24):
            ids[(rows - y) ** 2 + (columns - x) ** 2 < 36] = 1
            if touching and x < 80:
                ids[(rows - y) ** 2 + (columns - x - 10) ** 2 < 36] = 1
    return ids


@pytest.mark.parametrize("touching", [True, False])
def test_objects_that_touch_are_told_from_those_that_do_not(
    tmp_path: Path, found: Callable, touching: bool
) -> None:
    for number in range(3):
        ids = np.roll(discs(touching), number, axis=0)
        flawed.write(tmp_path / "train" / "label" / f"{number}.png", ids)
        flawed.write(tmp_path / "train" / "photo" / f"{number}.png", flawed.photo(ids, number))
    findings = found(tmp_path)
    assert (("touching", "train") in findings) == touching
    assert not {name for name, _ in findings} & ALARMS


def test_shares_of_classes_are_told(root: Path, found: Callable) -> None:
    for path in (root / "train" / "label").iterdir():
        ids = np.array(Image.open(path))
        ids[:, :] = 0
        ids[0:40] = 255
        ids[60:62, 60:62] = 1
        flawed.write(path, ids)
    findings = found(root)
    assert findings["void-share", "train"].evidence["share"] == pytest.approx(40 / 96)
    assert findings["imbalance", "train"].evidence["share"] > 0.9
    assert findings["rare-class", "train"].evidence["classes"] == 1
