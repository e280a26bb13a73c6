"""Class maps: the shipped ones, files, and labels that nobody knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from limner.errors import ConfigError, DataError
from limner.evaluation.segmentation.classes import (
    CITYSCAPES,
    TRAIN_NAMES,
    VOID,
    identity,
    load_class_map,
)


def classes_of(where: str, ids: list[int]) -> list[int]:
    return load_class_map(where).of_labels(torch.tensor(ids), name="x.png").tolist()


def test_cityscapes_labels_become_train_ids() -> None:
    ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert classes_of("cityscapes", ids) == list(range(19))
    rest = sorted(set(range(34)) - set(ids))
    assert classes_of("cityscapes", rest) == [VOID] * len(rest)
    assert len(TRAIN_NAMES) == 19
    assert TRAIN_NAMES[0] == "road"
    assert TRAIN_NAMES[18] == "bicycle"
    assert classes_of("cityscapes-train-ids", [0, 18, 255]) == [0, 18, VOID]
    assert len({label.id for label in CITYSCAPES}) == len(CITYSCAPES) == 35
    assert {label.name: label.colour for label in CITYSCAPES}["road"] == (128, 64, 128)


def test_outputs_beyond_the_classes_are_none_of_them() -> None:
    found = load_class_map("cityscapes").of_outputs(torch.tensor([0, 18, 19]), count=20)
    assert found.tolist() == [0, 18, 19]
    camvid = load_class_map("camvid")
    assert camvid.of_outputs(torch.tensor([10, 11]), count=12).tolist() == [10, 11]
    assert len(camvid.classes) == 11


def test_a_segmenter_with_fewer_outputs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"names output 18 and the segmenter has 12 \(0 to 11\)"):
        load_class_map("cityscapes").of_outputs(torch.tensor([0]), count=12)


def test_without_a_map_void_ids_are_no_classes() -> None:
    found = identity(4, void=[1, 255])
    assert found.classes == ("0", "2", "3")
    assert found.of_labels(torch.tensor([0, 1, 2, 3, 255]), name="x").tolist() == [0, -1, 1, 2, -1]
    assert found.of_outputs(torch.tensor([0, 1, 2, 3]), count=4).tolist() == [0, 3, 1, 2]


def test_an_unknown_label_is_named_with_the_cure() -> None:
    with pytest.raises(DataError, match=r"b\.png holds the label 9.*--void 9"):
        identity(3).of_labels(torch.tensor([[0, 9]]), name="b.png")


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_a_file_maps_names_numbers_and_null(kind: str, tmp_path: Path) -> None:
    content = {
        "classes": ["sky", "ground"],
        "labels": {"0": "sky", "5": 1, "7": None},
        "outputs": ["ground", None, "sky"],
    }
    path = tmp_path / f"map.{kind}"
    path.write_text(json.dumps(content) if kind == "json" else yaml.safe_dump(content))
    found = load_class_map(str(path))
    assert found.of_labels(torch.tensor([0, 5, 7]), name="x").tolist() == [0, 1, VOID]
    assert found.of_outputs(torch.tensor([0, 1, 2]), count=3).tolist() == [1, 2, 0]
    assert found.without([0]).of_labels(torch.tensor([0, 5]), name="x").tolist() == [VOID, 1]
    assert found.to_json()["source"] == f"map.{kind}"


def test_a_file_of_names_alone_numbers_labels_and_outputs_alike(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("classes: [a, b]")
    found = load_class_map(str(path))
    assert (found.labels, found.outputs) == ({0: 0, 1: 1}, {0: 0, 1: 1})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("classes: [a, a]", "`classes`"),
        ("[]", "`classes`"),
        ("classes: [a]\nlabel: {0: a}", "has 'label': known are"),
        ("classes: [a]\nlabels: {0: b}", "unknown class for labels 0"),
        ("classes: [a]\nlabels: {-1: a}", "has the id -1"),
        ("classes: [a]\nlabels: {0: 1}", "unknown class for labels 0"),
        ("classes: [a]\noutputs: 3", "`outputs` is a table"),
        ("classes: [a", r"map\.yaml"),
    ],
)
def test_a_bad_file_says_where(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=sentence):
        load_class_map(str(path))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cityscapes'"):
        load_class_map("cityscape")
    with pytest.raises(ConfigError, match=r"maps/x\.yaml does not exist"):
        load_class_map("maps/x.yaml")
