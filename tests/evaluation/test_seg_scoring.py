"""Whole scores: known scenes, sizes, labels, the guard, other metrics beside."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import painted
import pytest
import torch
from PIL import Image

from limner.errors import ConfigError, DataError
from limner.evaluation.measure import compare_folders
from limner.evaluation.metrics import Scores
from limner.evaluation.segmentation.confusion import FIGURES
from limner.evaluation.segmentation.label_files import read_ids, scenes
from limner.evaluation.segmentation.notes import text
from limner.evaluation.segmentation.scoring import check_alignment, segmentation


def scored(real: Path, fake: Path, labels: Path, **settings: object) -> Scores:
    settings = {"segmenter": painted.by_colour, "void": (3,), **settings}
    task = segmentation(labels=labels, **settings)  # pyright: ignore[reportArgumentType]
    return compare_folders(real, fake, metrics=["seg"], segmentation=task)


def test_the_score_is_that_of_the_known_mistakes(tmp_path: Path) -> None:
    real, fake, labels = painted.folders(tmp_path)
    scores = scored(real, fake, labels)
    right = np.mean([(painted.blocks(n)[:16] == 0).mean() / 2 + 0.5 for n in range(3)])
    assert scores.values["pixel_accuracy"] == pytest.approx(right)
    assert tuple(scores.values) == FIGURES
    seg = scores.details["seg"]
    assert seg["real"]["pixel_accuracy"] == seg["real"]["class_iou"] == 1
    assert scores.details["class_iou"]["real"] == 1
    confusion = np.array(seg["fake"]["confusion"])
    assert confusion.shape == (3, 4)
    assert confusion.sum() == 3 * 32 * 48
    # All of the upper half is taken for red, and nothing else is mistaken.
    expected = sum((painted.blocks(n)[:16] == 1).sum() for n in range(3))
    assert confusion[1].tolist()[0] == expected
    assert confusion[:, 2:].sum() == confusion[2, 2]
    assert scores.names == ("s0", "s1", "s2")
    one = painted.blocks(1)
    assert scores.per_image["pixel_accuracy"][1] == pytest.approx(((one[:16] == 0).mean() + 1) / 2)
    json.dumps(scores.to_json(), allow_nan=False)


def test_void_labels_are_left_out(tmp_path: Path) -> None:
    real, fake, labels = painted.folders(tmp_path, count=1)
    ids = painted.blocks(0)
    ids[:16] = 77  # where the picture is wrong
    painted.save(labels / "s0.png", ids)
    with pytest.raises(DataError, match=r"s0\.png holds the label 77.*--void 77"):
        scored(real, fake, labels)
    scores = scored(real, fake, labels, void=(3, 77))
    assert scores.values["pixel_accuracy"] == 1
    assert np.array(scores.details["seg"]["fake"]["confusion"]).sum() == 16 * 48


def test_scores_come_at_the_size_of_the_labels(tmp_path: Path) -> None:
    real, fake, labels = painted.folders(tmp_path, count=2)
    for path in (*fake.iterdir(), *real.iterdir()):
        image = Image.open(path)
        image.resize((96, 64), Image.Resampling.NEAREST).save(path)
    seg = scored(real, fake, labels).details["seg"]
    assert seg["fake"]["segmented_sizes"] == {"96x64": 2}
    assert seg["label_sizes"] == {"48x32": 2}
    assert seg["real"]["pixel_accuracy"] > 0.97
    small = scored(real, fake, labels, size=(20, 28)).details["seg"]
    assert small["fake"]["segmented_sizes"] == {"28x20": 2}
    assert small["segmentation_size"] == "28x20"
    assert 0.8 < small["real"]["pixel_accuracy"] < seg["real"]["pixel_accuracy"]
    assert "28x20" in text(small)
    # How the pictures look is no matter of the size at which they are segmented.
    assert small["fake"]["spectrum_slope"] == seg["fake"]["spectrum_slope"]


def test_the_cityscapes_protocol_scores_label_ids(tmp_path: Path) -> None:
    ids = painted.blocks(0)
    label_ids = np.array([7, 8, 11], dtype=np.uint8)[ids]  # road, sidewalk, building
    label_ids[:, :8] = 4  # static: left out
    picture = painted.paint(ids)
    city = "aachen_000000_000019"
    painted.save(tmp_path / "labels" / f"{city}_gtFine_labelIds.png", label_ids)
    painted.save(tmp_path / "real" / f"{city}_leftImg8bit.png", picture)
    half = Image.fromarray(picture).resize((24, 16), Image.Resampling.NEAREST)
    painted.save(tmp_path / "fake" / f"{city}.png", np.array(half))

    def many(images: torch.Tensor) -> torch.Tensor:
        rest = torch.zeros(1, 16, *images.shape[2:])
        return torch.cat([painted.by_colour(images)[:, :3], rest, rest[:, :1] + 0.05], dim=1)

    scores = scored(
        *(tmp_path / name for name in ("real", "fake", "labels")),
        segmenter=many,
        protocol_name="cityscapes",
        void=(),
    )
    seg = scores.details["seg"]
    # Photos too have been at the generated size, and both are segmented at that of the labels.
    assert seg["fake"]["segmented_sizes"] == seg["real"]["segmented_sizes"] == {"48x32": 1}
    assert seg["real"]["pixel_accuracy"] < 1
    assert seg["real"]["pixel_accuracy"] == pytest.approx(scores.values["pixel_accuracy"], abs=0.1)
    assert sum(seg["fake"]["pixels"]) == 32 * 40
    assert seg["class_map"]["classes"][:3] == ["road", "sidewalk", "building"]
    assert "no label shows wall" in seg["notes"][0]
    present = seg["fake"]["class_iou_present"]
    assert seg["fake"]["class_iou"] == pytest.approx(present * 3 / 19)


def test_label_maps_are_ids_however_they_are_stored(tmp_path: Path) -> None:
    ids = painted.blocks(0, classes=3)
    palette = Image.fromarray(ids).convert("P")
    palette.putpalette([7, 8, 9, 200, 100, 0, 1, 2, 3])
    palette.save(tmp_path / "p.png")
    deep = painted.save(tmp_path / "deep.png", ids.astype(np.uint16) * 300)
    assert read_ids(tmp_path / "p.png").tolist() == ids.tolist()
    assert read_ids(deep).tolist() == (ids.astype(int) * 300).tolist()
    # Two bits a pixel: a grey PNG holds the ids themselves, not the greys that they show as.
    Image.fromarray(ids).convert("P").save(tmp_path / "bits.png", bits=2)
    assert read_ids(tmp_path / "bits.png").tolist() == ids.tolist()
    alpha = np.dstack([ids, np.full_like(ids, 255)])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    assert read_ids(tmp_path / "alpha.png").tolist() == ids.tolist()
    coloured = painted.save(tmp_path / "c.png", painted.paint(ids))
    with pytest.raises(DataError, match="has 3 channels: a label map has one"):
        read_ids(coloured)
    with pytest.raises(DataError, match="is a JPEG"):
        read_ids(tmp_path / "c.jpg")


def test_what_has_no_partner_is_listed(tmp_path: Path) -> None:
    real, fake, labels = painted.folders(tmp_path)
    painted.save(labels / "unused.png", painted.blocks(5))
    assert [scene.name for scene in scenes(real, fake, labels)] == ["s0", "s1", "s2"]
    (labels / "s1.png").unlink()
    (fake / "s2.png").unlink()
    with pytest.raises(DataError) as caught:
        scenes(real, fake, labels)
    assert f"generated pictures {fake} lacks s2" in str(caught.value)
    assert f"label maps {labels} lacks s1" in str(caught.value)
    shutil.copy(fake / "s0.png", fake / "s0_leftImg8bit.png")
    with pytest.raises(DataError, match="belong to one scene, s0"):
        scenes(real, fake, labels)


def test_blurred_grey_pictures_score_well_and_are_warned_of(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    for n in range(2):
        ids = painted.blocks(n, height=64, width=64)
        grain = rng.randint(-30, 31, (64, 64, 3))
        photo = (painted.paint(ids, level=120).astype(int) + 60 + grain).clip(0, 255)
        painted.save(tmp_path / "real" / f"{n}.png", photo.astype(np.uint8))
        soft = torch.nn.functional.avg_pool2d(
            torch.from_numpy(photo).permute(2, 0, 1)[None].double(), 5, 1, 2
        )
        pale = 0.8 * soft.mean(1, keepdim=True) + 0.2 * soft
        painted.save(tmp_path / "fake" / f"{n}.png", pale[0].permute(1, 2, 0).byte().numpy())
        painted.save(tmp_path / "labels" / f"{n}.png", ids)
    real, fake, labels = (tmp_path / name for name in ("real", "fake", "labels"))
    task = segmentation(segmenter=painted.by_colour, labels=labels, void=(3,))
    scores = compare_folders(real, fake, metrics=["seg", "ssim"], segmentation=task)
    seg = scores.details["seg"]
    assert seg["fake"]["pixel_accuracy"] > 0.85
    assert "segmenter recognises much in these pictures" in seg["warning"]
    assert scores.details["pixel_accuracy"]["warning"] == seg["warning"]
    shown = text(seg)
    assert "warning: the segmenter" in shown
    assert f"{seg['real']['spectrum_slope']:.4f}" in shown
    assert list(scores.values) == ["ssim", *FIGURES]
    assert math.isfinite(scores.values["ssim"])
    assert "versions" in scores.details["run"]
    itself = compare_folders(real, real, metrics=["seg"], segmentation=task)
    assert itself.details["seg"]["warning"] == ""
    assert itself.values["pixel_accuracy"] == itself.details["pixel_accuracy"]["real"]


def test_seg_and_what_it_needs_come_together(tmp_path: Path) -> None:
    real, fake, labels = painted.folders(tmp_path, count=1)
    with pytest.raises(ConfigError, match="--labels and --segmenter"):
        compare_folders(real, fake, metrics=["seg"], segmentation=None)
    task = segmentation(segmenter=painted.by_colour, labels=labels)
    with pytest.raises(ConfigError, match="add seg to --metrics"):
        compare_folders(real, fake, metrics=["ssim"], segmentation=task)
    with pytest.raises(ConfigError, match="unknown protocol 'city'"):
        segmentation(segmenter=painted.by_colour, labels=labels, protocol_name="city")
    with pytest.raises(ConfigError, match=r"data\.mode crop"):
        check_alignment("crop")


def test_the_record_changes_with_the_labels(tmp_path: Path) -> None:
    _, _, labels = painted.folders(tmp_path, count=1)
    task = segmentation(segmenter=painted.by_colour, labels=labels, void=(3,))
    before = task.record()
    assert before == segmentation(segmenter=painted.by_colour, labels=labels, void=(3,)).record()
    painted.save(labels / "s0.png", painted.blocks(9))
    assert task.record()["labels_sha256"] != before["labels_sha256"]


@pytest.mark.slow
def test_the_known_score_of_camvid(shared: Path, tmp_path: Path) -> None:
    test = shared / "data" / "camvid" / "test"
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted((test / "photo").iterdir())[::8]:
        shutil.copy(path, photos / path.name)
    scores = scored(
        photos,
        photos,
        test / "label",
        segmenter=shared / "weights" / "segmenter_camvid_espnet.onnx",
        class_map="camvid",
        void=(),
    )
    found = [round(scores.values[name], 4) for name in FIGURES[:3]]
    assert found == [0.8626, 0.6745, 0.5625]
