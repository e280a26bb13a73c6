"""From a folder to a data set in one call: checked, decided, cached."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from limner.data import PairedDataset, decide_interpolation, find_pairs, make_loader, open_dataset
from limner.data.dataset_cache import file_bytes
from limner.errors import ConfigError, DataError


def opened(root: Path, split: str = "train", **given: Any) -> PairedDataset:
    options: dict[str, Any] = {
        "direction": None,
        "mode": "resize_crop",
        "size": (32, 32),
        "load_size": (36, 36),
        "flip": True,
        "channels": (3, 3),
        "convert": False,
        "interpolation": ("auto", "auto"),
        "cache_folder": None,
        "cache_bytes": 10**8,
        "seed": 0,
        "augment": True,
        "batch_size": 1,
    }
    return open_dataset(root, split, **(options | given))


def test_a_folder_alone_is_enough(tmp_path: Path, noise) -> None:
    (tmp_path / "train").mkdir()
    Image.fromarray(noise(40, 96)).save(tmp_path / "train" / "0.png")
    first = open_dataset(tmp_path)[0]
    assert {key: first[key].shape for key in ("source", "target")} == {
        "source": (3, 256, 256),
        "target": (3, 256, 256),
    }
    assert torch.equal(first["source"], open_dataset(tmp_path, "train", seed=1)[0]["source"])


@pytest.fixture
def labels_and_photos(tmp_path, noise) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 4)):
        for number in range(count):
            for kind in ("label", "photo"):
                (tmp_path / split / kind).mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (48, 48), "navy")
            pen = ImageDraw.Draw(image)
            for colour in ("red", "lime", "gold"):
                left, top = (int(v) for v in rng.integers(0, 32, 2))
                pen.rectangle((left, top, left + 14, top + 10), fill=colour)
            image.save(tmp_path / split / "label" / f"{number}.png")
            Image.fromarray(noise(48, 48, seed=number)).save(
                tmp_path / split / "photo" / f"{number}.jpg"
            )
    return tmp_path


def test_auto_is_nearest_for_labels_and_bicubic_for_photos(labels_and_photos, caplog):
    with caplog.at_level(logging.INFO):
        dataset = opened(labels_and_photos)
    assert dataset.interpolation == ("nearest", "bicubic")
    assert "16 of 16 images of the source show label colours" in caplog.text
    assert "0 of 16 images of the target" in caplog.text
    assert opened(labels_and_photos, direction="BtoA").interpolation == ("bicubic", "nearest")
    colours = dataset[3, 2]["source"].flatten(1).T.unique(dim=0)
    assert len(colours) <= 4
    given = opened(labels_and_photos, interpolation=("bicubic", "lanczos"))
    assert given.interpolation == ("bicubic", "lanczos")


def test_the_majority_decides(labels_and_photos, noise):
    pairs = find_pairs(labels_and_photos, "train", direction=None)
    for count, expected in ((7, "nearest"), (11, "bicubic")):
        for pair in pairs[:count]:
            Image.fromarray(noise(48, 48)).save(pair.source)
        assert decide_interpolation(pairs, ("auto", "lanczos")) == (expected, "lanczos")


def test_everything_is_checked_before_anything_is_decoded(labels_and_photos, monkeypatch):
    monkeypatch.setattr(
        "limner.data.pair_reading.decode", lambda path: pytest.fail(f"decoded {path}")
    )
    with pytest.raises(DataError, match=r"has 3 channels where data\.channels asks for 1"):
        opened(labels_and_photos, channels=(1, 3))
    with pytest.raises(DataError, match="48x48, smaller than the crop"):
        opened(labels_and_photos, mode="crop", size=(64, 64))
    with pytest.raises(ConfigError, match="did you mean 'resize'"):
        opened(labels_and_photos, mode="resizes")
    with pytest.raises(ConfigError, match="known are auto, bicubic, bilinear, lanczos, nearest"):
        opened(labels_and_photos, interpolation=("auto", "spline"))


def test_two_splits_share_the_bound_of_one_cache(labels_and_photos, tmp_path):
    folder = tmp_path / "cache"
    train_size = file_bytes((6, 36, 36), bits=8)
    val_size = file_bytes((6, 32, 32), bits=8)
    bound = 20 * train_size + 2 * val_size
    options: dict[str, Any] = {"cache_folder": folder, "cache_bytes": bound}
    train = opened(labels_and_photos, **options)
    val = opened(
        labels_and_photos,
        "val",
        augment=False,
        beside=[train],
        **(options | {"interpolation": train.interpolation}),
    )
    assert train.cache is not None
    assert val.cache is not None
    for dataset in (train, val):
        for index in range(len(dataset)):
            dataset[index]
    assert (len(train.cache.kept), len(val.cache.kept)) == (20, 2)
    assert sum(path.stat().st_size for path in folder.iterdir()) == bound


def test_real_facades_line_up(shared, tmp_path):
    dataset = opened(
        shared / "data/facades",
        "test",
        direction="BtoA",
        size=(64, 64),
        load_size=(72, 72),
        cache_folder=tmp_path / "cache",
        batch_size=8,
    )
    assert dataset.interpolation == ("nearest", "bicubic")
    loader = make_loader(
        dataset,
        batch_size=8,
        epoch=0,
        workers=0,
        shuffle=True,
        drop_last=True,
        pin_memory=False,
    )
    batches = list(loader)
    assert len(batches) == len(loader) == 106 // 8
    for batch in batches:
        assert batch["source"].shape == batch["target"].shape == (8, 3, 64, 64)
        assert batch["source"].min() >= -1
        assert batch["source"].max() <= 1
        # Label colours are saturated: far from grey, as photos of facades are not.
        spread = [
            (image.amax(1) - image.amin(1)).mean() for image in (batch["source"], batch["target"])
        ]
        assert spread[0] > 2 * spread[1]
    assert torch.equal(dataset[0]["source"], dataset[0, 0]["source"])
