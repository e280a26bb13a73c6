"""The cache: nothing is decoded twice, nothing stale is read, the bound holds."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import limner.data.pair_reading
from limner.data import content_digests, dataset_cache, find_pairs, make_loader, scan
from limner.data.dataset_cache import DatasetCache, file_bytes
from limner.errors import DataError


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files decoded, in order."""
    names: list[str] = []
    real = limner.data.pair_reading.decode

    def counting(path: Path) -> torch.Tensor:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(limner.data.pair_reading, "decode", counting)
    return names


def epoch(dataset, number: int = 0) -> list[torch.Tensor]:
    return [dataset[number, index]["source"] for index in range(len(dataset))]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".npy")


@pytest.mark.parametrize("mode", ["resize_crop", "crop", "resize", "none"])
def test_the_second_epoch_decodes_nothing(tmp_path, side_by_side, open_plainly, decoded, mode):
    root = side_by_side(5)
    dataset = open_plainly(root, mode=mode, cache=tmp_path / "cache")
    plain = open_plainly(root, mode=mode)
    options = {"shuffle": True, "drop_last": True, "pin_memory": False}
    first = list(make_loader(dataset, batch_size=1, epoch=0, workers=0, **options))
    assert sorted(decoded) == [f"{n}.png" for n in range(5)]
    decoded.clear()
    epoch(dataset, 1)
    reopened = open_plainly(root, mode=mode, cache=tmp_path / "cache")
    second = epoch(reopened)
    assert decoded == []
    assert all(map(torch.equal, second, epoch(plain)))
    assert {int(b["index"]): b["source"][0].sum().item() for b in first} == {
        index: image.sum().item() for index, image in enumerate(second)
    }


def test_two_files_of_different_depth_share_a_cache_file_exactly(tmp_path, noise, open_plainly):
    for side in "AB":
        (tmp_path / f"train/{side}").mkdir(parents=True)
    Image.fromarray(noise(20, 20)).save(tmp_path / "train/A/1.png")
    wide = np.random.default_rng(0).integers(0, 65536, (20, 20), dtype=np.uint16)
    Image.fromarray(wide).save(tmp_path / "train/B/1.png")
    options = {"mode": "none", "channels": (3, 1), "flip": False}
    plain = open_plainly(tmp_path, **options)[0]
    dataset = open_plainly(tmp_path, cache=tmp_path / "cache", **options)
    for sample in (dataset[0], dataset[0]):
        assert torch.equal(sample["source"], plain["source"])
        assert torch.equal(sample["target"], plain["target"])
    levels = ((plain["target"][0].double() + 1) / 2 * 65535).round()
    assert torch.equal(levels, torch.from_numpy(wide).double())
    byte = torch.from_numpy(noise(20, 20).transpose(2, 0, 1)).float() / 255 * 2 - 1
    assert torch.equal(plain["source"], byte)


def test_a_changed_file_is_decoded_anew(tmp_path, noise, side_by_side, open_plainly, decoded):
    root = side_by_side(3)
    dataset = open_plainly(root, mode="none", flip=False, cache=tmp_path / "cache")
    epoch(dataset)
    decoded.clear()
    changed = root / "train/1.png"
    before = changed.stat()
    Image.fromarray(noise(24, 48, seed=77)).save(changed)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    image = epoch(dataset)[1]
    assert decoded == ["1.png"]
    left = torch.from_numpy(noise(24, 48, seed=77)[:, :24].transpose(2, 0, 1).copy())
    assert torch.equal(((image + 1) * 127.5).round().to(torch.uint8), left)
    assert epoch(open_plainly(root, mode="none", flip=False, cache=tmp_path / "cache"))
    assert decoded == ["1.png"]


@pytest.mark.parametrize(
    "change",
    [
        {"load_size": (22, 22)},
        {"interpolation": ("nearest", "bicubic")},
        {"channels": (1, 3), "convert": True},
    ],
)
def test_other_settings_have_other_files(tmp_path, side_by_side, open_plainly, decoded, change):
    root = side_by_side(2)
    epoch(open_plainly(root, cache=tmp_path / "cache"))
    decoded.clear()
    plain = open_plainly(root, **change)
    other = open_plainly(root, cache=tmp_path / "cache", **change)
    assert all(map(torch.equal, epoch(other), epoch(plain)))
    assert len(decoded) == 4
    epoch(open_plainly(root, cache=tmp_path / "cache"))
    assert len(decoded) == 4


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "header", "pickle", "channels"])
def test_a_damaged_file_is_decoded_anew_and_replaced(
    tmp_path, side_by_side, open_plainly, decoded, damage
):
    dataset = open_plainly(side_by_side(1), cache=tmp_path / "cache")
    expected = epoch(dataset)[0]
    (path,) = files(tmp_path / "cache")
    sound = path.read_bytes()
    if damage == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif damage == "channels":
        np.save(path, np.zeros((3, 20, 20), np.uint8))
    else:
        spoilt = {"empty": b"", "cut": sound[:-1], "text": b"hello", "header": sound[:60]}
        path.write_bytes(spoilt[damage])
    decoded.clear()
    assert torch.equal(epoch(dataset)[0], expected)
    assert decoded == ["0.png"]
    assert path.read_bytes() == sound


def test_the_bound_is_kept_by_taking_the_first_samples(
    tmp_path, side_by_side, open_plainly, decoded
):
    one = file_bytes((6, 20, 20), bits=8)
    dataset = open_plainly(side_by_side(6), cache=tmp_path / "cache", limit=4 * one + one // 2)
    for number in range(2):
        decoded.clear()
        epoch(dataset, number)
    assert decoded == ["4.png", "5.png"]
    assert len(files(tmp_path / "cache")) == 4
    assert sum(path.stat().st_size for path in files(tmp_path / "cache")) == 4 * one


def test_least_recently_used_files_of_others_make_room(tmp_path, side_by_side, open_plainly):
    folder = tmp_path / "cache"
    one = file_bytes((6, 20, 20), bits=8)
    names = {}
    for age, name in enumerate(("young", "old")):
        root = side_by_side(2, name=name)
        dataset = open_plainly(root, cache=folder)
        epoch(dataset)
        names[name] = set(dataset.cache.claims)
        for path in files(folder):
            if path.stem in names[name]:
                then = time.time() - 1000 * (age + 1)
                os.utime(path, (then, then))
    # Opening counts as use.
    open_plainly(tmp_path / "old", cache=folder)
    third = open_plainly(side_by_side(3, name="third"), cache=folder, limit=6 * one)
    left = {path.stem for path in files(folder)}
    assert names["old"] <= left
    assert len(left & names["young"]) == 1
    epoch(third)
    assert sum(path.stat().st_size for path in files(folder)) == 6 * one


def test_data_sets_beside_each_other_share_the_bound(tmp_path, side_by_side, open_plainly):
    folder, one = tmp_path / "cache", file_bytes((6, 20, 20), bits=8)
    train = open_plainly(side_by_side(3), cache=folder, limit=5 * one)
    epoch(train)
    val = open_plainly(side_by_side(4, name="other"), mode="resize_crop")
    fields = scan(find_pairs(tmp_path / "other", "train", direction=None))
    val.cache = val.planned_cache(folder, fields, limit_bytes=5 * one, beside=train.cache.claims)
    epoch(val)
    assert val.cache.kept == {0, 1}
    assert len(files(folder)) == 5
    assert set(train.cache.claims) | set(val.cache.claims) == {path.stem for path in files(folder)}


def test_temporary_files_of_killed_writers_are_removed_when_stale(tmp_path):
    fresh, stale = tmp_path / ".a.npy.1.npy", tmp_path / ".b.npy.2.npy"
    fresh.touch()
    stale.touch()
    os.utime(stale, (0, 0))
    DatasetCache(tmp_path, limit_bytes=100, names=[], sizes=[])
    assert files(tmp_path) == [fresh]


def test_a_full_disk_ends_the_caching_with_one_warning(
    tmp_path, side_by_side, open_plainly, monkeypatch, caplog
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    root = side_by_side(4)
    dataset = open_plainly(root, cache=tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        assert all(map(torch.equal, epoch(dataset), epoch(open_plainly(root))))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "No space left on device" in record.getMessage()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_made_ends_the_caching(
    tmp_path, side_by_side, open_plainly, caplog
):
    (tmp_path / "file").touch()
    dataset = open_plainly(side_by_side(2), cache=tmp_path / "file" / "cache")
    assert len(epoch(dataset)) == 2
    assert len(caplog.records) == 1


def test_contents_are_told_apart_and_read_again_only_where_a_file_changed(tmp_path, monkeypatch):
    files = [tmp_path / f"{name}.bin" for name in "abc"]
    for path in files:
        path.write_bytes(path.name.encode())
    first = content_digests(files, memory=tmp_path / "memory")
    assert first == [hashlib.sha256(path.name.encode()).hexdigest() for path in files]
    read = []
    real = dataset_cache.sha256
    monkeypatch.setattr(dataset_cache, "sha256", lambda p: read.append(p.name) or real(p))
    assert content_digests(files, memory=tmp_path / "memory") == first
    assert read == []
    files[1].write_bytes(b"B.bin")  # the same size
    os.utime(files[1], ns=(1, 1))
    again = content_digests(files, memory=tmp_path / "memory")
    assert [a == b for a, b in zip(first, again, strict=True)] == [True, False, True]
    assert read == ["b.bin"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": []}'])
def test_a_damaged_memory_is_none(tmp_path, text):
    path = tmp_path / "a.bin"
    path.write_bytes(b"a")
    content_digests([path], memory=tmp_path / "memory")
    (stored,) = (tmp_path / "memory").iterdir()
    stored.write_text(text)
    assert content_digests([path], memory=tmp_path / "memory") == content_digests([path])
    with pytest.raises(DataError, match=r"gone\.bin"):
        content_digests([tmp_path / "gone.bin"])


@pytest.mark.parametrize("at", [0.3, 0.7, 1.0])
def test_a_flipped_bit_counts_as_absent(side_by_side, open_plainly, tmp_path, at):
    root = side_by_side(1)
    expected = open_plainly(root)[0, 0]
    assert (open_plainly(root, cache=tmp_path)[0, 0]["source"] == expected["source"]).all()
    (path,) = tmp_path.glob("*.npy")
    data = bytearray(path.read_bytes())
    data[128 + int(at * (len(data) - 129))] ^= 1
    path.write_bytes(data)
    again = open_plainly(root, cache=tmp_path)[0, 0]
    assert all((again[side] == expected[side]).all() for side in ("source", "target"))
    # It was decoded anew, and is kept in the place of the damaged one.
    assert path.read_bytes() != bytes(data)
