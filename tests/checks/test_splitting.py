"""A split keeps together what belongs together, deals out by shares and classes, and repeats."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import flawed
import numpy as np
import pytest

from limner.checks.splitting import split_data
from limner.data import find_pairs, splits
from limner.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pairs, of which 3 repeats 4 and 5 others have names that tell a patient."""
    root = flawed.labelled(tmp_path_factory.mktemp("split"), side=64, train=14, test=6)
    for kind in ("label", "photo"):
        folder = root / "train" / kind
        (folder / "3.png").write_bytes((folder / "4.png").read_bytes())
    return root


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_shares_hold_copies_stay_together_and_the_file_repeats(data: Path, tmp_path: Path) -> None:
    first = split_data(data, out=tmp_path / "a" / "first.csv", shares=(6, 2, 2), seed=3)
    split_data(data, out=tmp_path / "b" / "second.csv", shares=(6, 2, 2), seed=3)
    assert (tmp_path / "a" / "first.csv").read_text() == (tmp_path / "b" / "second.csv").read_text()
    assert dict(first.pairs) == {"train": 12, "val": 4, "test": 4}
    copies = {
        row["split"]
        for row in rows(first.file)
        if row["target"].endswith(("train/photo/3.png", "train/photo/4.png"))
    }
    assert len(copies) == 1
    assert splits(first.file) == ["train", "val", "test"]
    pairs = [
        pair
        for split in splits(first.file)
        for pair in find_pairs(first.file, split, direction=None)
    ]
    assert len({pair.target.resolve() for pair in pairs}) == 20
    other = split_data(data, out=tmp_path / "other.csv", shares=(6, 2, 2), seed=4)
    assert rows(other.file) != rows(first.file)


def test_folds_are_equal_and_each_pair_is_in_one(data: Path, tmp_path: Path) -> None:
    result = split_data(data, out=tmp_path / "folds.csv", folds=5)
    table = rows(result.file)
    assert sorted(Counter(row["fold"] for row in table).values()) == [4, 4, 4, 4, 4]
    assert {row["split"] for row in table if row["fold"] == "0"} == {"test"}
    assert {row["split"] for row in table if row["fold"] == "1"} == {"val"}


def test_groups_never_straddle(data: Path, tmp_path: Path) -> None:
    result = split_data(data, out=tmp_path / "g.csv", by="group", group_regex=r"([0-9])\.png$")
    groups: dict[str, set[str]] = {}
    for row in rows(result.file):
        groups.setdefault(row["group"], set()).add(row["split"])
    assert len(groups) == 10
    assert all(len(found) == 1 for found in groups.values())


def test_films_never_straddle_and_need_to_be_there(data: Path, tmp_path: Path) -> None:
    for drive in range(4):
        picture = flawed.photo(flawed.labels(80 + drive, side=200), 80 + drive)
        for frame in range(8):
            view = np.ascontiguousarray(picture[:64, 2 * frame : 2 * frame + 64])
            for role in ("source", "target"):
                name = f"{'abcd'[drive]}_{frame:03d}.png"
                flawed.write(tmp_path / "films" / "train" / role / name, view)
    result = split_data(tmp_path / "films", out=tmp_path / "f.csv", by="sequence", shares=(2, 1, 1))
    where: dict[str, set[str]] = {}
    for row in rows(result.file):
        where.setdefault(Path(row["target"]).name[0], set()).add(row["split"])
    assert all(len(found) == 1 for found in where.values())
    assert {split for found in where.values() for split in found} == {"train", "val", "test"}
    with pytest.raises(DataError, match="random"):
        split_data(data, out=tmp_path / "none.csv", by="sequence")


def test_clusters_stay_whole(tmp_path: Path) -> None:
    for number in range(16):
        _, picture = flawed.pair(number, side=64)
        tint = np.uint8([0, 0, 200]) if number % 2 else np.uint8([200, 100, 0])
        for role in ("source", "target"):
            pixels = (picture // 4 + tint // 2).astype(np.uint8)
            flawed.write(tmp_path / "set" / "train" / role / f"p{number}x.png", pixels)
    result = split_data(tmp_path / "set", out=tmp_path / "c.csv", by="cluster", shares=(1, 1))
    assert result.units["train"] < result.pairs["train"]


def test_wrong_words_are_refused_before_work(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="group-regex"):
        split_data(data, out=tmp_path / "x.csv", by="group", group_regex="(")
    with pytest.raises(ConfigError, match="shares"):
        split_data(data, out=tmp_path / "x.csv", shares=(1,))
    with pytest.raises(DataError, match="group"):
        split_data(data, out=tmp_path / "x.csv", by="group")
    assert not (tmp_path / "x.csv").exists()
