"""What would fail in training fails before it, in one sentence with the cure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from limner.config import replace
from limner.data import Span, find_pairs, open_dataset, scan, validate
from limner.errors import DataError
from limner.presets import preset
from limner.training.datasets import open_training_data


def folder(root: Path, **images: tuple[str, tuple[int, int], tuple[int, int]]) -> Path:
    """Make train/A and train/B: stem = (Pillow mode, size in A, size in B), sizes width, height."""
    for side in (1, 2):
        for stem, (mode, *sizes) in images.items():
            path = root / f"train/{'AB'[side - 1]}/{stem.lstrip('_')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, sizes[side - 1]).save(path)
    return root


def check(root: Path, **given: Any) -> None:
    settings: dict[str, Any] = {
        "mode": "resize_crop",
        "size": (16, 16),
        "channels": (3, 3),
        "convert": False,
        "batch_size": 1,
    }
    pairs = find_pairs(root, "train", direction=None)
    validate(pairs, scan(pairs), **(settings | given))


def test_headers_are_those_of_the_fields(tmp_path, side_by_side):
    root = folder(tmp_path, a=("L", (8, 9), (8, 9)))
    ((source, target),) = scan(find_pairs(root, "train", direction=None))
    assert tuple(source) == tuple(target) == (1, 9, 8, torch.uint8)
    pairs = find_pairs(side_by_side(3, height=10, width=12), "train", direction="BtoA")
    assert {tuple(field) for fields in scan(pairs) for field in fields} == {
        (3, 10, 12, torch.uint8)
    }


def test_odd_width_side_by_side(tmp_path):
    for number, width in enumerate((510, 511, 513)):
        (tmp_path / "train").mkdir(exist_ok=True)
        Image.new("RGB", (width, 256)).save(tmp_path / f"train/{number}.png")
    message = r"train/1\.png is 511x256: side-by-side pairs need an even width \(1 more like it\)$"
    with pytest.raises(DataError, match=message):
        check(tmp_path)


def test_wrong_channels_in_either_field(tmp_path):
    root = folder(tmp_path, a=("L", (32, 32), (32, 32)))
    for channels, side in (((3, 1), "A"), ((1, 3), "B")):
        message = rf"train/{side}/a\.png has 1 channel where data\.channels asks for 3: set "
        with pytest.raises(DataError, match=message):
            check(root, channels=channels)
    check(root, channels=(1, 1))
    check(root, channels=(3, 3), convert=True)


@pytest.mark.parametrize("mode", ["resize_crop", "crop", "resize", "none"])
def test_two_sizes_in_a_pair(tmp_path, mode):
    root = folder(tmp_path, a=("RGB", (32, 32), (32, 32)), b=("RGB", (32, 40), (40, 32)))
    message = r"A/b\.png is 32x40 and its target .*B/b\.png is 40x32: .* one of them"
    with pytest.raises(DataError, match=message):
        check(root, mode=mode)


def write_ids(root: Path, values: tuple[int, ...], *, mode: str = "L") -> Path:
    rng = np.random.default_rng(0)
    for index in range(4):
        cells = rng.integers(0, len(values), (4, 4))
        ids = np.kron(np.asarray(values, np.uint8)[cells], np.ones((8, 8), np.uint8))
        images = {"A": Image.fromarray(ids).convert(mode), "B": Image.new("RGB", (32, 32))}
        for side, image in images.items():
            path = root / "train" / side / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    return root


@pytest.mark.parametrize("values", [(0, 1), (0, 1, 2, 5), (1, 2, 3, 255)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_class_ids_are_no_pictures_and_either_cure_cures(tmp_path, values, mode):
    root = write_ids(tmp_path, values, mode=mode)
    channels = (len(mode), 3)
    given: dict[str, Any] = {"augment": True, "size": (32, 32), "channels": channels}
    with pytest.raises(DataError) as caught:
        open_dataset(root, **given)
    assert "data.labels={}" in str(caught.value)
    ends = re.search(r"data\.range\.source=\[(\d+), (\d+)\]", str(caught.value))
    assert ends is not None
    settings = replace(
        preset("pix2pix"),
        {"data.root": str(root), "data.labels": {}, "data.size": 32, "data.load_size": 32},
    )
    assert open_training_data(settings, cache_folder=tmp_path / "cache").config.data.labels
    span = Span(float(ends[1]), float(ends[2]))
    assert open_dataset(root, **given, spans=(span, None))[0]["source"].max() == 1


@pytest.mark.parametrize("values", [(0, 255), (0, 85, 170, 255), (20, 120, 200)])
def test_masks_and_greys_of_drawings_stay_pictures(tmp_path, values):
    root = write_ids(tmp_path, values)
    assert len(open_dataset(root, augment=True, size=(32, 32), channels=(1, 3))) == 4


def test_smaller_than_the_crop(tmp_path):
    root = folder(tmp_path, a=("RGB", (32, 16), (32, 16)))
    check(root, mode="crop", size=(16, 32))
    with pytest.raises(DataError, match=r"a\.png is 32x16, smaller than the crop of 32x17: lower"):
        check(root, mode="crop", size=(17, 32))
    with pytest.raises(DataError, match=r"a\.png is 32x16, smaller than the crop of 33x16: lower"):
        check(root, mode="crop", size=(16, 33))
    check(root, mode="resize_crop", size=(256, 256))


def test_two_sizes_in_a_batch(tmp_path):
    root = folder(tmp_path, _1=("RGB", (32, 16), (32, 16)), _2=("RGB", (16, 32), (16, 32)))
    message = r"2\.png is 16x32 and .*1\.png is 32x16: two sizes cannot stand in a batch, so set"
    with pytest.raises(DataError, match=message):
        check(root, mode="none", batch_size=2)
    check(root, mode="none", batch_size=1)
    check(root, mode="crop", batch_size=2)


def test_a_damaged_header_is_named(tmp_path):
    root = folder(tmp_path, a=("RGB", (32, 16), (32, 16)))
    (root / "train/B/a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"train/B/a\.png is "):
        check(root)


def follow(root: Path, **settings: Any) -> dict[str, Any]:
    """Obey what each refusal advises first until the data set is taken; returns the settings."""
    seen: list[str] = []
    while (sentence := complaint(root, **settings)) is not None:
        advice = re.search(r"data\.(channels|convert)=(true|\d+|\[\d+, \d+\])", sentence)
        assert advice is not None, sentence
        assert advice[0] not in seen, f"{advice[0]} again: {sentence}"
        seen.append(advice[0])
        value = json.loads(advice[2])
        if advice[1] == "channels":
            value = tuple(value) if isinstance(value, list) else (value, value)
        settings[advice[1]] = value
    return settings


def complaint(root: Path, **settings: Any) -> str | None:
    try:
        check(root, **settings)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("kinds", "channels"),
    [
        ((("L", "RGB"),), (1, 3)),
        ((("L", "L"),), (1, 1)),
        ((("RGBA", "LA"),), (4, 2)),
        ((("L", "RGB"), ("RGB", "RGB")), (3, 3)),
        ((("RGB", "L"), ("L", "RGB")), (3, 3)),
    ],
)
def test_the_cure_for_channels_cures(tmp_path, kinds, channels):
    for number, modes in enumerate(kinds):
        for side, mode in zip("AB", modes, strict=True):
            path = tmp_path / "train" / side / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (32, 32)).save(path)
    assert follow(tmp_path, channels=(3, 3))["channels"] == channels


def test_images_no_wider_than_high_are_not_halved_unless_a_manifest_says_so(tmp_path):
    for name, size in (("square", (32, 32)), ("portrait", (32, 48))):
        folder = tmp_path / name / "train"
        folder.mkdir(parents=True)
        Image.new("RGB", size).save(folder / "0.png")
        with pytest.raises(DataError, match=r"0\.png"):
            scan(find_pairs(folder.parent, "train", direction=None))
        text = "source,target,side,split\ntrain/0.png,train/0.png,left,train\n"
        (folder.parent / "manifest.csv").write_text(text)
        ((source, target),) = scan(find_pairs(folder.parent, "train", direction=None))
        assert source == target
        assert source.width == 16
