"""What settings leave open about label maps: dataset.yaml, known tables, the maps themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.data import (
    LabelFacts,
    class_colours,
    derive_labels,
    label_maps,
    label_table,
    read_labels,
)
from limner.data.description import FORMS
from limner.errors import ConfigError, DataError


def put(root: Path, name: str, values: object, *, folder: str = "train/label") -> Path:
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, dtype=np.uint8)).save(path)
    return path


def pairs(root: Path, *maps: list[int], stem: str = "{}", split: str = "train") -> Path:
    for number, ids in enumerate(maps):
        name = stem.format(number)
        put(root, f"{name}.png", [ids], folder=f"{split}/label")
        put(root, f"{name}.jpg", [[[0, 0, 0]] * len(ids)], folder=f"{split}/photo")
    return root


def derived(root: Path, **given: Any) -> LabelFacts:
    return derive_labels(root, direction=None, **given)


def test_classes_are_counted_over_all_splits(tmp_path: Path) -> None:
    pairs(tmp_path, [0, 1], [3, 1])
    pairs(tmp_path, [0, 5], split="test")
    facts = derived(tmp_path)
    assert (facts.classes, facts.void, facts.first, facts.edges) == (6, None, 0, False)
    assert facts.coding == "ids"
    assert any("3 label maps hold values from 0 to 5" in note for note in facts.notes)


def test_255_alone_above_the_ids_is_void(tmp_path: Path) -> None:
    facts = derived(pairs(tmp_path, [0, 1, 255], [2, 2, 2]))
    assert (facts.classes, facts.void) == (3, 255)
    facts = derived(tmp_path, first=1)
    assert (facts.classes, facts.void, facts.first) == (2, 255, 1)


def test_what_is_given_stands(tmp_path: Path) -> None:
    pairs(tmp_path, [0, 1])
    facts = derived(tmp_path, classes=12, void=255, edges=False, coding="ids")
    assert (facts.classes, facts.void, facts.edges, facts.notes) == (12, 255, False, ())


def test_grey_levels_are_no_ids(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(0, 100, 200\), which look like grey levels"):
        derived(pairs(tmp_path, [0, 100, 200]))


@pytest.mark.parametrize(
    ("text", "values", "form", "names"),
    [
        # void as the last of the classes, as the first, beyond them, in their middle, by `first`
        ("classes: [a, b, none]\nvoid: 2", [0, 2], (2, 2, 0), ("a", "b", "none")),
        ("classes: [none, a, b]\nvoid: 0", [0, 2], (2, 2, 1), ("a", "b", "none")),
        ("classes: [a, b]\nvoid: 255", [0, 255], (2, 255, 0), ("a", "b")),
        ("classes: [a, none, b]\nvoid: 1", [0, 1], (3, None, 0), ("a", "none", "b")),
        ("classes: [a, b]\nfirst: 1", [0, 2], (2, 2, 1), ("a", "b")),
        ("void: 0", [0, 1, 3], (3, 3, 1), None),
        ("void: 3", [0, 1, 3], (2, 3, 0), None),
        ("void: 1", [0, 1, 3], (4, None, 0), None),
        ("table: ade20k", [0, 150], (150, 150, 1), None),
    ],
)
def test_dataset_yaml_decides(
    tmp_path: Path,
    text: str,
    values: list[int],
    form: tuple[int, int | None, int],
    names: tuple[str, ...] | None,
) -> None:
    pairs(tmp_path, values)
    (tmp_path / "dataset.yaml").write_text(text)
    facts = derived(tmp_path)
    assert ((facts.classes, facts.void, facts.first), facts.names) == (form, names)


@pytest.mark.parametrize("place", ["first", "last"])
def test_colours_of_dataset_yaml_tell_the_classes(tmp_path: Path, place: str) -> None:
    void, red, blue = [0, 0, 0], [255, 0, 0], [0, 0, 255]
    pixels = put(tmp_path, "1.png", [[red, blue, void]])
    put(tmp_path, "1.jpg", [[[0, 0, 0]] * 3], folder="train/photo")
    colours = [void, red, blue] if place == "first" else [red, blue, void]
    (tmp_path / "dataset.yaml").write_text(
        f"colours: {colours}\nvoid: {0 if place == 'first' else 2}"
    )
    facts = derived(tmp_path)
    assert facts.coding == "exact"
    assert facts.colours == ((255, 0, 0), (0, 0, 255), (0, 0, 0))
    maps = label_maps(
        classes=facts.classes,
        void=facts.void,
        first=facts.first,
        coding=facts.coding,
        table=facts.table,
        colours=facts.colours,
        instances=False,
    )
    assert read_labels(pixels, maps).tolist() == [[0, 1, 2]]


def test_colours_that_nobody_named_are_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "1.png", [[[1, 2, 3]]])
    put(tmp_path, "1.jpg", [[[0, 0, 0]]], folder="train/photo")
    with pytest.raises(DataError, match=r"1\.png is a colour image, and nothing says"):
        derived(tmp_path)


@pytest.mark.parametrize(
    ("stem", "values", "table"),
    [
        ("0001TP_00855{}", [0, 11], "camvid"),
        ("Seq05VD_f0003{}", [0, 7], "camvid"),
        ("ADE_train_0000000{}", [0, 150], "ade20k"),
        ("00000000000{}", [0, 181, 255], "coco-stuff"),
        ("aachen_00000{}_000019_gtFine_labelIds", [0, 33], "cityscapes"),
        ("0001TP_00855{}", [0, 12], None),  # the names, but other values
        ("street{}", [0, 11], None),
        ("00000000000{}", [0, 4], None),  # twelve digits alone prove nothing
    ],
)
def test_known_sets_are_recognised(
    tmp_path: Path, stem: str, values: list[int], table: str | None
) -> None:
    facts = derived(pairs(tmp_path, values, values, stem=stem))
    assert facts.table == table
    if table is not None:
        form = FORMS[table]
        assert (facts.classes, facts.void, facts.first) == (form.classes, form.void, form.first)


@pytest.mark.parametrize(
    ("name", "count", "known"),
    [
        ("cityscapes", 35, {7: ("road", (128, 64, 128)), 26: ("car", (0, 0, 142))}),
        ("camvid", 12, {0: ("sky", (128, 128, 128)), 11: ("void", (0, 0, 0))}),
        ("ade20k", 150, {0: ("wall", (120, 120, 120)), 149: ("flag", (92, 0, 255))}),
        ("coco-stuff", 182, {0: ("person", (128, 0, 0)), 181: ("wood", None)}),
    ],
)
def test_tables_are_whole(name: str, count: int, known: dict[int, Any]) -> None:
    table = label_table(name)
    assert len(table.names) == len(table.colours) == count
    assert all(0 <= part <= 255 for colour in table.colours for part in colour)
    for place, (title, colour) in known.items():
        assert table.names[place] == title
        assert colour in (None, table.colours[place])
    assert count - table.form.classes in (0, 1)  # void may have a name
    with pytest.raises(ConfigError, match="known are ade20k, camvid, cityscapes, coco-stuff"):
        label_table("kitti")


def test_every_class_has_a_colour_of_its_own() -> None:
    colours = class_colours(classes=200, void=255, colours=((9, 9, 9),))
    assert colours[0] == (9, 9, 9)
    assert colours[-1] == (0, 0, 0)
    assert len(set(colours)) == 201


def test_the_sample_of_cityscapes(shared: Path) -> None:
    facts = derive_labels(shared / "data" / "cityscapes_sample", direction=None)
    assert (facts.table, facts.classes, facts.void, facts.edges) == ("cityscapes", 35, None, True)


def maps_of(root: Path, *images: Image.Image | np.ndarray, suffix: str = ".png") -> Path:
    """Write label maps with a photo each."""
    for number, image in enumerate(images):
        for folder in ("label", "photo"):
            (root / "train" / folder).mkdir(parents=True, exist_ok=True)
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(root / "train" / "label" / f"{number}{suffix}")
        Image.new("RGB", picture.size).save(root / "train" / "photo" / f"{number}.png")
    return root


def indexed(values: list[int], colours: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.frombytes("P", (len(values), 1), bytes(values))
    image.putpalette([part for colour in colours for part in colour])
    return image


RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)


@pytest.mark.parametrize("given", [{}, {"classes": 2}])
def test_a_mask_of_0_and_255_is_two_classes(tmp_path: Path, given: dict[str, int]) -> None:
    facts = derived(pairs(tmp_path, [0, 255], [255, 255]), **given)
    assert (facts.classes, facts.void, facts.coding) == (2, None, "exact")
    assert any("data.labels.void" in note for note in facts.notes)
    assert derived(tmp_path, void=255).classes == 1


def test_a_mask_with_declared_colours_is_read_by_them(tmp_path: Path) -> None:
    pairs(tmp_path, [0, 255])
    (tmp_path / "dataset.yaml").write_text("classes: [no, yes]\ncolours: [[255,255,255],[0,0,0]]")
    facts = derived(tmp_path)
    assert (facts.classes, facts.coding, facts.names) == (2, "exact", ("no", "yes"))
    assert facts.colours == ((255, 255, 255), (0, 0, 0))


def test_all_maps_are_looked_at_not_the_first_alone(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2]], dtype=np.uint8)
    colour = np.array([[RED, BLUE, RED]], dtype=np.uint8)
    with pytest.raises(DataError, match=r"2\.png"):
        derived(maps_of(tmp_path / "mixed", ids, ids, colour))
    grey = ids.repeat(3).reshape(1, 3, 3)
    facts = derived(maps_of(tmp_path / "grey", ids, ids, grey))
    assert (facts.classes, facts.coding) == (3, "ids")
    assert any("grey" in note for note in facts.notes)


def test_ids_from_a_lossy_codec_are_refused_whatever_the_name(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2]], dtype=np.uint8)
    maps_of(tmp_path, ids, ids)
    Image.fromarray(ids).save(tmp_path / "jpeg.jpg")
    (tmp_path / "jpeg.jpg").replace(tmp_path / "train" / "label" / "1.png")
    with pytest.raises(DataError, match=r"1\.png"):
        derived(tmp_path)
    assert derived(tmp_path, coding="ids").coding == "ids"


def test_palettes_that_disagree_are_refused_or_read_by_their_colours(tmp_path: Path) -> None:
    one, other = indexed([0, 1], [RED, BLUE]), indexed([0, 1], [BLUE, RED])
    assert derived(maps_of(tmp_path / "alike", one, one)).coding == "ids"
    root = maps_of(tmp_path / "apart", one, other)
    with pytest.raises(DataError, match=r"0\.png and .*1\.png"):
        derived(root)
    assert derived(root, coding="ids").classes == 2
    (root / "dataset.yaml").write_text(f"colours: [{list(RED)}, {list(BLUE)}]")
    assert derived(root).coding == "exact"
    declared = maps_of(tmp_path / "declared", one, one)
    (declared / "dataset.yaml").write_text(f"colours: [{list(RED)}, {list(BLUE)}]")
    assert derived(declared).coding == "ids"
    unrelated = maps_of(tmp_path / "unrelated", indexed([0, 1], [RED, GREEN]))
    (unrelated / "dataset.yaml").write_text(f"colours: [{list(RED)}, {list(BLUE)}]")
    assert derived(unrelated).coding == "ids"


def test_words_of_yaml_stay_names(tmp_path: Path) -> None:
    pairs(tmp_path, [0, 1, 2])
    (tmp_path / "dataset.yaml").write_text("classes: [no, yes, off]\n")
    assert derived(tmp_path).names == ("no", "yes", "off")
