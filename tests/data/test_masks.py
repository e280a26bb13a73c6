"""Masks: a folder or a column of images that say which pixels count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from limner.data import PairedDataset, find_pairs, make_loader, open_dataset
from limner.errors import DataError


def picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pairs whose masks are 255 where the source's red is over 127."""
    for number in range(3):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        picture(tmp_path / "set" / "train" / "source" / f"{number}.png", pixels)
        picture(tmp_path / "set" / "train" / "target" / f"{number}.png", 255 - pixels)
        mask = (pixels[..., 0] > 127).astype(np.uint8) * 255
        picture(tmp_path / "set" / "train" / "mask" / f"{number}.png", mask)
    return tmp_path / "set"


def opened(root: Path, *, cache: Path | None = None, **settings: Any) -> PairedDataset:
    keywords: dict[str, Any] = {"mode": "crop", "direction": None, "augment": True} | settings
    return open_dataset(
        root,
        "train",
        size=(16, 16),
        load_size=(18, 18),
        flip=True,
        channels=(3, 3),
        convert=False,
        interpolation=("nearest", "nearest"),
        cache_folder=cache,
        cache_bytes=10**7,
        seed=0,
        batch_size=1,
        **keywords,
    )


@pytest.mark.parametrize("mode", ["crop", "resize_crop", "none"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_a_mask_is_drawn_with_its_pair(
    tmp_path: Path, root: Path, mode: str, direction: str
) -> None:
    dataset = opened(root, mode=mode, direction=direction, cache=tmp_path / "cache")
    for index in (0, 1, 2, 0):  # the last one from the cache
        sample = dataset[(7, index)]
        red = sample["source" if direction == "AtoB" else "target"][0]
        assert torch.equal(sample["mask"][0] > 0, red > 0)
    batches = make_loader(
        dataset,
        batch_size=1,
        epoch=0,
        workers=0,
        shuffle=False,
        drop_last=False,
        pin_memory=False,
    )
    assert next(iter(batches))["mask"].dtype == torch.float32


def test_a_manifest_names_masks(root: Path) -> None:
    (root / "list.csv").write_text(
        "source,target,mask,split\ntrain/source/0.png,train/target/0.png,train/mask/1.png,one\n"
    )
    (pair,) = find_pairs(root / "list.csv", "one", direction=None)
    assert pair.mask == root / "train" / "mask" / "1.png"


def test_data_without_masks_has_none(root: Path) -> None:
    for path in (root / "train" / "mask").iterdir():
        path.unlink()
    (root / "train" / "mask").rmdir()
    assert "mask" not in opened(root)[0]


def test_masks_that_lack_or_misfit_are_named_before_the_work_starts(root: Path) -> None:
    picture(root / "train" / "mask" / "1.png", np.ones((5, 5), dtype=np.uint8))
    with pytest.raises(DataError, match=r"mask/1\.png"):
        opened(root)
    (root / "train" / "mask" / "1.png").unlink()
    with pytest.raises(DataError, match=r"'1'.*mask"):
        opened(root)
    text = "source,target,mask,split\n"
    for number in (0, 2):
        mask = "train/mask/0.png" if number == 0 else ""
        text += f"train/source/{number}.png,train/target/{number}.png,{mask},train\n"
    (root / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match=r"source/2\.png has no mask"):
        opened(root)
