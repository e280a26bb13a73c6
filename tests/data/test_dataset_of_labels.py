"""Data sets of label maps: one draw for all fields, nothing blended, values checked beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.data import LabelMaps, PairedDataset, make_loader, open_dataset
from limner.data import labels as scanning
from limner.errors import DataError

IDS = (0, 1, 2, 3, 255)
INSTANCES = (7, 26000, 26001, 33003)
MAPS = LabelMaps(classes=4, void=255, instances=True)


def make_set(root: Path, count: int = 4, *, height: int = 20, width: int = 28) -> Path:
    """Draw pairs whose photo and instances follow from the label: equal pixels prove one draw."""
    for kind in ("label", "photo", "instance"):
        (root / "train" / kind).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        place = np.random.default_rng(number).integers(0, 4, (height, width))
        ids = np.array(IDS, dtype=np.uint8)[place + (place == 3)]
        grey = (place * 60).astype(np.uint8)
        files = {
            "label": ids,
            "photo": np.stack([grey, 255 - grey, grey], axis=2),
            "instance": np.array(INSTANCES, dtype=np.uint16)[place],
        }
        for kind, values in files.items():
            Image.fromarray(values).save(root / "train" / kind / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("labels"))


def opened(root: Path, *, labels: LabelMaps = MAPS, **given: Any) -> PairedDataset:
    options: dict[str, Any] = {
        "direction": None,
        "mode": "crop",
        "size": (8, 12),
        "load_size": (8, 12),
        "flip": True,
        "channels": (3, 3),
        "convert": False,
        "interpolation": ("auto", "nearest"),
        "cache_folder": None,
        "cache_bytes": 10**8,
        "seed": 0,
        "augment": True,
        "batch_size": 1,
    }
    return open_dataset(root, "train", labels=labels, **(options | given))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    epoch=st.integers(0, 2**31),
    index=st.integers(0, 3),
    mode=st.sampled_from(["crop", "resize_crop", "resize", "none"]),
)
def test_one_draw_rules_labels_photo_and_instances(
    root: Path, epoch: int, index: int, mode: str
) -> None:
    sample = opened(root, mode=mode, load_size=(13, 17))[epoch, index]
    assert "instance" in sample
    ids, instance = sample["source"], sample["instance"]
    assert ids.dtype == instance.dtype == torch.int64
    assert ids.shape == instance.shape == sample["target"].shape[1:]
    place = torch.where(ids == 255, 3, ids)
    assert torch.equal(torch.tensor(INSTANCES)[place], instance)
    # The photo, resized by nearest here, holds place * 60 in its first channel.
    levels = ((sample["target"][0] + 1) * 127.5).round().long()
    assert torch.equal(levels, place * 60)


def test_resizing_blends_neither_labels_nor_instances(root: Path) -> None:
    dataset = opened(
        root, mode="resize", size=(37, 61), interpolation=("bicubic", "bicubic"), augment=False
    )
    for index in range(len(dataset)):
        sample = dataset[index]
        assert set(sample["source"].unique().tolist()) <= set(IDS)
        assert "instance" in sample
        assert set(sample["instance"].unique().tolist()) <= set(INSTANCES)
        assert len(sample["target"].unique()) > 20  # the photo is blended


@pytest.mark.parametrize("instances", [True, False])
def test_the_cache_gives_what_decoding_gives(tmp_path: Path, root: Path, instances: bool) -> None:
    maps = LabelMaps(classes=4, void=255, instances=instances)
    plain = opened(root, labels=maps, mode="resize_crop", load_size=(13, 17))
    cached = opened(
        root, labels=maps, mode="resize_crop", load_size=(13, 17), cache_folder=tmp_path
    )
    for epoch in range(2):
        for index in range(4):
            one, two = plain[epoch, index], cached[epoch, index]
            for field in ("source", "target", *(["instance"] if instances else [])):
                assert torch.equal(one[field], two[field])
    kept = list(tmp_path.glob("*.npy"))
    assert len(kept) == 4
    assert cached.cache is not None
    assert sum(path.stat().st_size for path in kept) == sum(cached.cache.claims.values())


def test_ids_beyond_a_byte_and_photos_of_16_bits_are_exact(tmp_path: Path) -> None:
    import tifffile

    for kind in ("label", "photo"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    ids = np.array([[0, 255, 256], [999, 1000, 3]], dtype=np.uint16)
    Image.fromarray(ids).save(tmp_path / "train" / "label" / "1.png")
    photo = np.arange(18, dtype=np.uint16).reshape(2, 3, 3) * 3000
    tifffile.imwrite(tmp_path / "train" / "photo" / "1.tif", photo, photometric="rgb")
    sample = opened(tmp_path, labels=LabelMaps(classes=1001), mode="none", augment=False)[0]
    assert sample["source"].tolist() == ids.tolist()
    levels = ((sample["target"] + 1) * 65535 / 2).round().long()
    assert torch.equal(levels.permute(1, 2, 0), torch.from_numpy(photo.astype(np.int64)))


def test_batches_hold_ids_and_instances(root: Path) -> None:
    loader = make_loader(
        opened(root),
        batch_size=2,
        epoch=0,
        workers=0,
        shuffle=True,
        drop_last=True,
        pin_memory=False,
    )
    batch = next(iter(loader))
    assert batch["source"].shape == batch["instance"].shape == (2, 8, 12)
    assert batch["target"].shape == (2, 3, 8, 12)


def spoil(root: Path, kind: str, change: Callable[[np.ndarray], np.ndarray], name: str) -> Path:
    path = root / "train" / kind / name
    Image.fromarray(change(np.array(Image.open(path)))).save(path)
    return path


def test_a_value_without_a_class_stops_the_opening(tmp_path: Path) -> None:
    make_set(tmp_path)

    def change(ids: np.ndarray) -> np.ndarray:
        ids[5, 6] = ids[5, 7] = 44
        return ids

    path = spoil(tmp_path, "label", change, "2.png")
    spoil(tmp_path, "label", change, "3.png")
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    for part in (str(path), "value 44", "2 pixels", "column 6, row 5", "1 more like it"):
        assert part in str(caught.value)


def test_the_scan_reads_again_only_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, memory = make_set(tmp_path / "set"), tmp_path / "memory"
    read: list[str] = []
    real = scanning.read_codes

    def counted(path: Path, **options: Any) -> np.ndarray:
        read.append(path.name)
        return real(path, **options)

    monkeypatch.setattr(scanning, "read_codes", counted)
    opened(root, cache_folder=memory)
    assert sorted(read) == ["0.png", "1.png", "2.png", "3.png"]
    read.clear()
    opened(root, cache_folder=memory)
    assert read == []
    spoil(root, "label", lambda ids: np.full((20, 29), 200, dtype=np.uint8)[:, :28], "1.png")
    with pytest.raises(DataError, match="value 200 in 560 pixels"):
        opened(root, cache_folder=memory)
    assert set(read) == {"1.png"}
    for path in memory.glob("labels-*.json"):
        path.write_text("{ torn")
    with pytest.raises(DataError, match="value 200"):
        opened(root, cache_folder=memory)


def test_missing_and_misfitting_instances_are_said(tmp_path: Path) -> None:
    make_set(tmp_path)
    spoil(tmp_path, "instance", lambda values: values[:-1], "1.png")
    with pytest.raises(DataError, match=r"28x20 and its instance map .* is 28x19"):
        opened(tmp_path)
    for path in (tmp_path / "train" / "instance").iterdir():
        path.unlink()
    (tmp_path / "train" / "instance").rmdir()
    with pytest.raises(DataError, match=r"no instance map .*edges=false \(3 more"):
        opened(tmp_path)


def test_colour_coded_halves_of_one_file(tmp_path: Path) -> None:
    colours = ((0, 0, 200), (200, 0, 0))
    ids = np.zeros((8, 8), dtype=np.uint8)
    ids[2:5, 3:7] = 1
    (tmp_path / "train").mkdir()
    photo = np.full((8, 8, 3), 90, dtype=np.uint8)
    both = np.concatenate([photo, np.array(colours, dtype=np.uint8)[ids]], axis=1)
    Image.fromarray(both).save(tmp_path / "train" / "1.png")
    maps = LabelMaps(classes=2, coding="exact", colours=colours)
    sample = opened(tmp_path, labels=maps, direction="BtoA", mode="none", augment=False)[0]
    assert sample["source"].tolist() == ids.tolist()
    assert sample["target"].unique().numel() == 1
