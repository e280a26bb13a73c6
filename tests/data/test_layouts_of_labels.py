"""Folders of label maps are recognised, their files matched, their instances found."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.data import Pair, find_pairs, instance_beside, only_label_maps, splits
from limner.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def files(root: Path, split: str = "train") -> list[tuple[str, ...]]:
    def told(pair: Pair) -> tuple[str, ...]:
        paths = [pair.source, pair.target, *([pair.instance] if pair.instance else [])]
        return (pair.name, *(str(path.relative_to(root)) for path in paths))

    return [told(pair) for pair in find_pairs(root, split, direction=None)]


def test_folders_of_pix2pixhd_match_up_to_the_suffix(tmp_path: Path) -> None:
    name = "aachen_000000_000019"
    touch(
        tmp_path,
        f"train_label/{name}_gtFine_labelIds.png",
        f"train_img/{name}_leftImg8bit.png",
        f"train_inst/{name}_gtFine_instanceIds.png",
        f"test_label/{name}_gtFine_labelIds.png",
    )
    assert splits(tmp_path) == ["train"]
    assert files(tmp_path) == [
        (
            name,
            f"train_label/{name}_gtFine_labelIds.png",
            f"train_img/{name}_leftImg8bit.png",
            f"train_inst/{name}_gtFine_instanceIds.png",
        )
    ]
    with pytest.raises(DataError, match="test_img is missing"):
        find_pairs(tmp_path, "test", direction=None)


def test_coco_stuff_as_spade_lays_it_out(tmp_path: Path) -> None:
    for number in ("000000000009", "000000000025"):
        touch(tmp_path, *(f"val_{kind}/{number}.png" for kind in ("label", "inst")))
        touch(tmp_path, f"val_img/{number}.jpg")
    assert files(tmp_path, "val")[1] == (
        "000000000025",
        "val_label/000000000025.png",
        "val_img/000000000025.jpg",
        "val_inst/000000000025.png",
    )


def test_the_tree_of_cityscapes(tmp_path: Path) -> None:
    for city, frame in (("aachen", "000000_000019"), ("zurich", "000001_000019")):
        name = f"{city}_{frame}"
        labels = f"gtFine/train/{city}/{name}_gtFine"
        touch(
            tmp_path,
            f"leftImg8bit/train/{city}/{name}_leftImg8bit.png",
            *(f"{labels}_{kind}.png" for kind in ("labelIds", "instanceIds", "color")),
            f"{labels}_polygons.json",
        )
    assert splits(tmp_path) == ["train"]
    assert [pair[0] for pair in files(tmp_path)] == ["aachen_000000_000019", "zurich_000001_000019"]
    assert files(tmp_path)[1][1:] == (
        "gtFine/train/zurich/zurich_000001_000019_gtFine_labelIds.png",
        "leftImg8bit/train/zurich/zurich_000001_000019_leftImg8bit.png",
        "gtFine/train/zurich/zurich_000001_000019_gtFine_instanceIds.png",
    )
    folder = tmp_path / "gtFine" / "train" / "aachen"
    chosen = only_label_maps(sorted(folder.glob("*.png")))
    assert [path.name for path in chosen] == ["aachen_000000_000019_gtFine_labelIds.png"]
    assert instance_beside(chosen[0]) == folder / "aachen_000000_000019_gtFine_instanceIds.png"


@pytest.mark.parametrize("home", ["", "ADEChallengeData2016/"])
def test_ade20k(tmp_path: Path, home: str) -> None:
    for split, short in (("training", "train"), ("validation", "val")):
        touch(
            tmp_path,
            f"{home}images/{split}/ADE_{short}_00000001.jpg",
            f"{home}annotations/{split}/ADE_{short}_00000001.png",
        )
    assert splits(tmp_path) == ["train", "val"]
    assert files(tmp_path, "val") == [
        (
            "ADE_val_00000001",
            f"{home}annotations/validation/ADE_val_00000001.png",
            f"{home}images/validation/ADE_val_00000001.jpg",
        )
    ]


@pytest.mark.parametrize("form", ["{split}/{kind}", "{kind}/{split}"])
def test_label_and_photo_with_instances(tmp_path: Path, form: str) -> None:
    folders = [form.format(split="test", kind=kind) for kind in ("label", "photo", "instance")]
    touch(tmp_path, f"{folders[0]}/1.png", f"{folders[1]}/1.jpg", f"{folders[2]}/1.png")
    assert files(tmp_path, "test")[0][1:] == (
        f"{folders[0]}/1.png",
        f"{folders[1]}/1.jpg",
        f"{folders[2]}/1.png",
    )
    label = tmp_path / folders[0] / "1.png"
    assert instance_beside(label) == tmp_path / folders[2] / "1.png"
    touch(tmp_path, f"{folders[0]}/2.png", f"{folders[1]}/2.jpg")
    with pytest.raises(DataError, match=r"'2' in .*label.* without a partner in .*instance"):
        find_pairs(tmp_path, "test", direction=None)


def test_what_has_no_partner_is_listed_by_kind(tmp_path: Path) -> None:
    touch(tmp_path, "train_label/1.png", "train_label/2.png", "train_img/1.jpg")
    touch(tmp_path, "train_inst/2.png")
    with pytest.raises(DataError, match="no photo for '2' and no instance map for '1'"):
        find_pairs(tmp_path, "train", direction=None)


def test_instances_are_looked_for_in_a_folder_that_is_given(tmp_path: Path) -> None:
    touch(tmp_path, "a/x_gtFine_labelIds.png", "b/x_gtFine_instanceIds.png", "b/x1.png")
    label = tmp_path / "a" / "x_gtFine_labelIds.png"
    assert instance_beside(label) is None
    assert instance_beside(label, tmp_path / "b") == tmp_path / "b" / "x_gtFine_instanceIds.png"
    assert instance_beside(tmp_path / "a" / "y.png", tmp_path / "b") is None


def test_the_sample_of_cityscapes_as_it_lies(shared: Path) -> None:
    root = shared / "data" / "cityscapes_sample"
    pairs = find_pairs(root, "train", direction=None)
    assert len(pairs) == 5
    assert all(pair.instance is not None and pair.name in pair.instance.name for pair in pairs)
    for label in sorted((root / "test_label").glob("*.png")):
        beside = instance_beside(label)
        assert beside is not None
        assert beside.parent.name == "test_inst"
        assert beside.name == label.name.replace("labelIds", "instanceIds")


def test_a_tree_with_train_ids_alone_is_taken(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "leftImg8bit/train/bonn/bonn_0_leftImg8bit.png",
        "gtFine/train/bonn/bonn_0_gtFine_labelTrainIds.png",
        "gtFine/train/bonn/._bonn_0_gtFine_labelIds.png",
    )
    (pair,) = find_pairs(tmp_path, "train", direction=None)
    assert pair.source.name == "bonn_0_gtFine_labelTrainIds.png"


def test_a_tree_without_label_ids_names_the_files_it_wants(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "leftImg8bit/train/bonn/bonn_0_leftImg8bit.png",
        "gtFine/train/bonn/bonn_0_gtFine_color.png",
    )
    with pytest.raises(DataError, match="_labelIds"):
        find_pairs(tmp_path, "train", direction=None)
