"""Folders become pairs: by layout, by name, in the direction asked for."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data import find_pairs, natural, splits
from limner.data.layouts import FOLDERS, LAYOUTS
from limner.data.pairs import Pair, files_of, left_out
from limner.errors import ConfigError, DataError


def beside(pairs: list[Pair]) -> str | None:
    return left_out(path for pair in pairs for path in files_of(pair))


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def found(root: Path, split: str = "train", direction: str | None = None) -> list[tuple[str, ...]]:
    """Pairs as (name, source, target) with paths relative to the folder."""
    return [
        (pair.name, *(path.relative_to(root).as_posix() for path in (pair.source, pair.target)))
        for pair in find_pairs(root, split, direction=direction)
    ]


@pytest.mark.parametrize(("first", "second", "instances", "masks"), FOLDERS)
def test_two_folders_in_each_form(tmp_path, first, second, instances, masks):
    first, second = first.format(split="val"), second.format(split="val")
    touch(tmp_path, f"{first}/1.png", f"{first}/2.png", f"{second}/2.jpg", f"{second}/1.jpg")
    assert splits(tmp_path) == ["val"]
    forth = [(n, f"{first}/{n}.png", f"{second}/{n}.jpg") for n in ("1", "2")]
    assert found(tmp_path, "val") == found(tmp_path, "val", "AtoB") == forth
    assert found(tmp_path, "val", "BtoA") == [(n, target, source) for n, source, target in forth]
    assert all(p.source_half is None for p in find_pairs(tmp_path, "val", direction=None))
    for form in filter(None, (instances, masks)):
        touch(tmp_path, *(f"{form.format(split='val')}/{n}.png" for n in (1, 2)))
    for pair in find_pairs(tmp_path, "val", direction=None):
        assert (pair.instance is None) == (instances is None)
        assert (pair.mask is None) == (masks is None)


def test_side_by_side_in_both_directions(tmp_path):
    touch(
        tmp_path,
        "train/10.jpg",
        "train/9.PNG",
        "train/.hidden.png",
        "train/notes.txt",
        "test/1.tif",
    )
    assert splits(tmp_path) == ["train", "test"]
    assert found(tmp_path) == [
        ("9", "train/9.PNG", "train/9.PNG"),
        ("10", "train/10.jpg", "train/10.jpg"),
    ]
    for direction, source, target in (("AtoB", "left", "right"), ("BtoA", "right", "left")):
        for pair in find_pairs(tmp_path, "train", direction=direction):
            assert (pair.source_half, pair.target_half) == (source, target)


def test_the_direction_of_dataset_yaml_counts_where_none_is_asked_for(tmp_path):
    touch(tmp_path, "trainA/1.png", "trainB/1.png")
    (tmp_path / "dataset.yaml").write_text("direction: BtoA\n")
    assert found(tmp_path) == [("1", "trainB/1.png", "trainA/1.png")]
    assert found(tmp_path, direction="AtoB") == [("1", "trainA/1.png", "trainB/1.png")]


def test_an_unknown_direction_is_named_with_the_nearest(tmp_path):
    touch(tmp_path, "train/1.png")
    with pytest.raises(ConfigError, match=r"unknown data\.direction 'BtoB': did you mean"):
        find_pairs(tmp_path, "train", direction="BtoB")


def test_splits_may_differ_in_layout_but_one_split_has_one(tmp_path):
    touch(tmp_path, "train/A/1.png", "train/B/1.png", "test/1.png")
    assert splits(tmp_path) == ["train", "test"]
    assert found(tmp_path, "test") == [("1", "test/1.png", "test/1.png")]
    touch(tmp_path, "train/7.png")
    with pytest.raises(DataError, match=r"'train' of .* two ways, as folders train/A .* move one"):
        splits(tmp_path)


def test_unmatched_names_are_listed_and_counted(tmp_path):
    touch(tmp_path, "train/A/1.png", "train/B/1.png", "train/B/x.png", "train/a.txt")
    touch(tmp_path, *(f"train/A/{n}.png" for n in range(2, 10)))
    with pytest.raises(DataError) as caught:
        find_pairs(tmp_path, "train", direction=None)
    message = str(caught.value)
    assert (
        f"'2', '3', '4', '5', '6' and 3 more in {tmp_path}/train/A without a partner in" in message
    )
    assert f"'x' in {tmp_path}/train/B without a partner in {tmp_path}/train/A" in message
    assert "rename or remove" in message


def test_case_tells_stems_apart(tmp_path):
    touch(tmp_path, "train/A/a.png", "train/B/A.png")
    with pytest.raises(DataError, match=r"'a' in .*'A' in "):
        find_pairs(tmp_path, "train", direction=None)


@pytest.mark.parametrize("folder", ["train", "train/A"])
def test_equal_stems_in_a_folder_are_an_error(tmp_path, folder):
    touch(tmp_path, f"{folder}/1.png", f"{folder}/1.jpg")
    if folder == "train/A":
        touch(tmp_path, "train/B/1.png")
    with pytest.raises(DataError, match=r"holds both 1\.jpg and 1\.png: .* rename or remove one"):
        find_pairs(tmp_path, "train", direction=None)


def test_missing_folders_and_splits_are_named(tmp_path):
    with pytest.raises(DataError, match=r"data folder .*/nowhere does not exist: give"):
        find_pairs(tmp_path / "nowhere", "train", direction=None)
    touch(tmp_path, "train/1.png", "test/1.png")
    with pytest.raises(DataError, match="has no split 'valid': it has train, test"):
        find_pairs(tmp_path, "valid", direction=None)
    with pytest.raises(DataError, match=r"1\.png is a file: give the data folder"):
        splits(tmp_path / "train/1.png")


@pytest.mark.parametrize("folder", ["train", "train/A"])
def test_an_empty_split_is_named_with_what_it_may_hold(tmp_path, folder):
    touch(tmp_path, f"{folder}/notes.txt")
    if folder == "train/A":
        touch(tmp_path, "train/B/1.png")
    with pytest.raises(DataError, match=rf"{folder} holds no images: put files there .*\.png"):
        find_pairs(tmp_path, "train", direction=None)


def test_half_a_split_is_not_listed_and_its_missing_half_named(tmp_path):
    touch(tmp_path, "trainA/1.png", "trainB/1.png", "testA/1.png")
    assert splits(tmp_path) == ["train"]
    with pytest.raises(DataError, match=r"testB is missing"):
        find_pairs(tmp_path, "test", direction=None)


def test_a_folder_in_no_layout_learns_which_are_known(tmp_path):
    touch(tmp_path, "pictures/cats/1.png")
    with pytest.raises(DataError) as caught:
        splits(tmp_path)
    assert all(layout.looks_like in str(caught.value) for layout in LAYOUTS)
    assert "perhaps" not in str(caught.value)
    touch(tmp_path, "train/1.png")
    with pytest.raises(DataError, match="perhaps the folder above is meant"):
        splits(tmp_path / "train")


def test_numbers_sort_as_numbers(tmp_path):
    touch(tmp_path, *(f"train/x{n}.png" for n in (10, 2, 1, 33, 3)))
    assert [name for name, *_ in found(tmp_path)] == ["x1", "x2", "x3", "x10", "x33"]


@given(st.lists(st.text(alphabet="ab01²9 -", max_size=6), unique=True))
def test_natural_order_is_a_strict_order(names):
    ordered = sorted(names, key=natural)
    ordered.reverse()
    ordered.sort(key=natural)
    assert ordered == sorted(names, key=natural)
    numbers = [int(name) for name in ordered if name.isascii() and name.isdigit()]
    assert numbers == sorted(numbers)


def test_real_facades(shared):
    root = shared / "data/facades"
    pairs = find_pairs(root, "train", direction="BtoA")
    assert splits(root) == ["train", "test"]
    assert [pair.name for pair in pairs] == [str(n) for n in range(1, 401)]
    assert {pair.source_half for pair in pairs} == {"right"}
    camvid = find_pairs(shared / "data/camvid", "val", direction=None)
    assert len(camvid) == 101
    assert all(pair.source.suffix == ".png" and pair.target.suffix == ".jpg" for pair in camvid)


def test_names_match_whatever_their_form_of_unicode(tmp_path):
    for form, folder in (("NFD", "source"), ("NFC", "target")):
        path = tmp_path / "train" / folder / f"{unicodedata.normalize(form, 'Müller')}.png"
        path.parent.mkdir(parents=True)
        path.touch()
    (pair,) = find_pairs(tmp_path, "train", direction=None)
    assert pair.name == "Müller"


def test_names_that_differ_in_case_are_named_as_the_cause(tmp_path):
    touch(tmp_path, "train/source/IMG_1.JPG", "train/target/img_1.png")
    with pytest.raises(DataError, match=r"IMG_1.*case"):
        find_pairs(tmp_path, "train", direction=None)


def test_clips_in_folders_of_their_own_are_matched_by_folder_and_name(tmp_path):
    for side in ("source", "target"):
        touch(tmp_path, *(f"train/{side}/clip{k}/{n}.png" for k in (1, 2) for n in (0, 1)))
    pairs = find_pairs(tmp_path, "train", direction=None)
    assert [pair.name for pair in pairs] == ["clip1__0", "clip1__1", "clip2__0", "clip2__1"]
    assert all(pair.source.parent.name == pair.target.parent.name for pair in pairs)


def test_hidden_files_are_no_part_of_a_data_set(tmp_path):
    for side in ("source", "target"):
        touch(tmp_path, f"train/{side}/0.png", f"train/{side}/.DS_Store")
    touch(tmp_path, "train/source/._0.png", "train/source/.cache/1.png", "train/target/Thumbs.db")
    (pair,) = find_pairs(tmp_path, "train", direction=None)
    assert pair.name == "0"
    assert beside([pair]) is None


def test_a_link_to_nothing_is_named_not_left_out(tmp_path):
    touch(tmp_path, "train/0.jpg")
    (tmp_path / "train" / "1.jpg").symlink_to("/gone/1.jpg")
    with pytest.raises(DataError, match=r"1\.jpg is a link to /gone/1\.jpg"):
        find_pairs(tmp_path, "train", direction=None)


def test_what_a_manifest_does_not_name_is_left_out_without_a_word(tmp_path):
    touch(tmp_path, "a/0.png", "a/1.png", "b/0.png", "b/1.png")
    (tmp_path / "pairs.csv").write_text("source,target,split\na/0.png,b/0.png,train\n")
    pairs = find_pairs(tmp_path / "pairs.csv", "train", direction=None)
    assert beside(pairs) is None
    touch(tmp_path, "a/2.heic")
    assert "2.heic" in (beside(pairs) or "")


def test_what_is_left_out_is_counted_and_named(tmp_path):
    touch(tmp_path, "train/0.jpg", "train/1.jfif", "train/2.heic", "train/3.gif", "train/notes.txt")
    pairs = find_pairs(tmp_path, "train", direction=None)
    assert [pair.name for pair in pairs] == ["0", "1"]
    sentence = beside(pairs)
    assert sentence is not None
    assert sentence.startswith("2 files")
    assert "2.heic" in sentence
    assert "3.gif" in sentence
