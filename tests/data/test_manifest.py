"""A CSV lists pairs; dataset.yaml describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.data import Description, find_pairs, read_description, splits
from limner.errors import DataError


def listing(root: Path, text: str, *, name: str = "manifest.csv", encoding: str = "utf-8") -> Path:
    for stem in ("a", "b", "sub/a"):
        for suffix in ("png", "jpg", "tif"):
            path = root / f"{stem}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / name).write_text(text, encoding=encoding)
    return root


def test_rows_become_pairs_of_their_splits(tmp_path):
    listing(
        tmp_path,
        "note,source,target,split\n,b.png,b.jpg,train\nx,a.png,a.jpg,train\n\n,a.png,b.jpg,holdout\n",
    )
    assert splits(tmp_path) == ["train", "holdout"]
    pairs = find_pairs(tmp_path, "train", direction=None)
    assert [(pair.name, pair.source, pair.target) for pair in pairs] == [
        (name, tmp_path / f"{name}.png", tmp_path / f"{name}.jpg") for name in ("a", "b")
    ]
    swapped = find_pairs(tmp_path, "holdout", direction="BtoA")[0]
    assert (swapped.name, swapped.source.name, swapped.target.name) == ("a", "b.jpg", "a.png")


def test_the_instance_column_is_carried(tmp_path):
    listing(tmp_path, "source,target,instance,split\na.png,a.jpg,a.tif,train\nb.png,b.jpg,,train\n")
    pairs = find_pairs(tmp_path, "train", direction=None)
    assert [pair.instance for pair in pairs] == [tmp_path / "a.tif", None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_any_single_csv_with_the_header_counts(tmp_path, encoding):
    listing(tmp_path, "source, target, split\na.png,a.jpg,val\n", name="x.csv", encoding=encoding)
    (tmp_path / "other.csv").write_text("epoch,loss\n1,2\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    for root in (tmp_path, tmp_path / "x.csv"):
        assert [pair.name for pair in find_pairs(root, "val", direction=None)] == ["a"]
    listing(tmp_path, "source,target,split\na.png,a.jpg,val\n", name="y.csv")
    with pytest.raises(DataError, match=r"several manifests \(x\.csv, y\.csv\): keep one"):
        splits(tmp_path)


def test_a_manifest_stands_above_what_the_folders_look_like(tmp_path):
    listing(tmp_path, "source,target,split\na.png,a.jpg,train\n")
    (tmp_path / "train").mkdir()
    (tmp_path / "train/7.png").touch()
    assert [pair.name for pair in find_pairs(tmp_path, "train", direction=None)] == ["a"]


def test_repeated_stems_are_named_by_their_paths(tmp_path):
    listing(tmp_path, "source,target,split\na.png,a.jpg,train\nsub/a.png,b.jpg,train\n")
    assert [p.name for p in find_pairs(tmp_path, "train", direction=None)] == ["a", "sub__a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,target\na.png,a.jpg\n", "has no column split"),
        ("source,target,split\na.png,,train\n", "line 2, has no target: fill it in"),
        ("source,target,split\na.png,c.jpg,train\n", r"1 file that cannot be found \('c\.jpg'\)"),
        ("source,target,split\na.png,a.jpg,train\na.png,b.jpg,train\n", "lists 'a' more than once"),
        ("source,target,split\n", "lists no pairs: add a row"),
        ("source,target,split\n" + "a" * 2**18, "cannot be read as CSV .*field larger"),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    listing(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        find_pairs(tmp_path, "train", direction=None)
    assert str(tmp_path / "manifest.csv") in str(caught.value)


def test_a_manifest_in_another_encoding_is_named(tmp_path):
    rows = "source,target,split\n" + "a.png,a.jpg,train\n" * 2000 + "ü.png,a.jpg,train\n"
    listing(tmp_path, rows, encoding="latin-1")
    with pytest.raises(DataError, match=r"manifest\.csv is not UTF-8"):
        splits(tmp_path)


def test_a_description_is_read(tmp_path):
    assert read_description(tmp_path) == Description()
    (tmp_path / "dataset.yaml").write_text("")
    assert read_description(tmp_path) == Description()
    (tmp_path / "dataset.yaml").write_text(
        "direction: BtoA\nclasses: [sky, wall]\ncolours:\n- [0, 0, 255]\n- [9, 9, 9]\nvoid: 1\n"
    )
    assert read_description(tmp_path) == Description(
        direction="BtoA", classes=("sky", "wall"), colours=((0, 0, 255), (9, 9, 9)), void=1
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "must hold keys and values"),
        ("a: [", r"dataset\.yaml"),
        ("colors: []", "unknown key 'colors': did you mean 'colours'"),
        ("direction: left", "unknown data.direction 'left'"),
        ("classes: sky", "classes must be a list of names"),
        ("colours: [[1, 2]]", "colours must be a list"),
        ("colours: [[1, 2, 256]]", "colours must be a list"),
        ("void: none", "void must be the id"),
        ("classes: [a, b]\ncolours: [[1, 2, 3]]", "names 2 classes and 1 colours"),
    ],
)
def test_a_faulty_description_is_named(tmp_path, text, message):
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_description(tmp_path)
    assert str(tmp_path / "dataset.yaml") in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Source,TARGET,Split\nx/a.png,y/a.png,train\n",
        "source;target;split\nx/a.png;y/a.png;train\n",
        "\ufeffsource\ttarget\tsplit\r\nx/a.png\ty/a.png\ttrain\r\n",
        "source,target,split\r\nx\\a.png,y\\a.png,train\r\n",
        "split,note,target,source\ntrain,any,y/a.png,x/a.png\n",
    ],
)
def test_tables_of_other_programs_are_read(tmp_path, text):
    for side in "xy":
        (tmp_path / side).mkdir()
        (tmp_path / side / "a.png").touch()
    (tmp_path / "manifest.csv").write_bytes(text.encode())
    for root in (tmp_path, tmp_path / "manifest.csv"):
        (pair,) = find_pairs(root, "train", direction=None)
        assert (pair.name, pair.source.parent.name, pair.target.parent.name) == ("a", "x", "y")
