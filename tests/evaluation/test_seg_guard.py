"""The warning of good scores of bad pictures, and its absence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from limner.evaluation.segmentation.looks import (
    FAR_SLOPE,
    Look,
    distances,
    findings,
    look,
    mean_look,
    warning,
)

PHOTOS = Look(spectrum_slope=-2.2, sharpness=40.0, colourfulness=12.0)


def said(
    fake: Look,
    *,
    accuracy: float = 0.8,
    photos: float = 0.9,
    one_class: float = 0.3,
    **values: float,
) -> str:
    return warning(
        real_accuracy=photos,
        fake_accuracy=accuracy,
        one_class=one_class,
        real=PHOTOS,
        fake=fake,
        values=values,
    )


def test_a_good_score_of_blurred_grey_pictures_is_warned_of() -> None:
    found = said(Look(-4.2, 9.0, 0.0), **{"fd-vgg16": 155.43, "lpips": 0.5, "ssim": 0.9})
    assert "pixel accuracy 0.8000, the real photos 0.9000, one class everywhere 0.3000" in found
    assert "slope is -4.20, theirs -2.20 (steeper" in found
    assert "sharpness is 9.00, theirs 40.00" in found
    assert "colourfulness is 0.00" in found
    assert "fd-vgg16 155.4, lpips 0.5)" in found
    assert "ssim" not in found


def test_neither_a_bad_score_nor_a_near_spectrum_is() -> None:
    blurred = Look(-4.2, 40.0, 12.0)
    assert said(blurred, accuracy=0.5 - 1e-6) == ""
    assert said(blurred, accuracy=0.5 + 1e-6) != ""
    assert said(PHOTOS, accuracy=0.95) == ""
    assert said(Look(-2.2 - FAR_SLOPE + 0.01, 21.0, 7.0)) == ""


def test_published_scores_are_told_apart_by_how_far_they_have_come() -> None:
    # Table 1 of pix2pix: L1 alone, cGAN, L1 + cGAN, with roads on 0.37 of all pixels.
    blurred = Look(-4.2, 9.0, 3.0)
    warned = [
        bool(said(blurred, accuracy=share, photos=0.8, one_class=0.37))
        for share in (0.42, 0.57, 0.66)
    ]
    assert warned == [False, True, True]
    # The sample of Cityscapes, photos blurred by 4 pixels and grey.
    assert said(blurred, accuracy=0.653, photos=0.9529, one_class=0.4098)


def test_a_score_that_one_class_everywhere_reaches_is_no_success() -> None:
    blurred = Look(-4.2, 9.0, 3.0)
    assert said(blurred, accuracy=0.92, photos=0.97, one_class=0.92) == ""
    assert said(blurred, accuracy=0.95, photos=0.97, one_class=0.92) != ""
    # A segmenter that is worse than that on the photos themselves says nothing.
    assert said(blurred, accuracy=0.6, photos=0.5, one_class=0.7) == ""


@pytest.mark.parametrize(
    ("fake", "phrase"),
    [
        (Look(-1.5, 40.0, 12.0), "flatter"),
        (Look(-2.2, 90.0, 12.0), "sharpness"),
        (Look(-2.2, 40.0, 2.0), "colourfulness"),
    ],
)
def test_each_figure_is_enough(fake: Look, phrase: str) -> None:
    (found,) = findings(PHOTOS, fake)
    assert phrase in found


def test_grey_photos_have_grey_pictures() -> None:
    grey = Look(-2.2, 40.0, 0.0)
    assert findings(grey, Look(-2.2, 40.0, 0.2)) == []


def test_distances_are_known_by_their_kind() -> None:
    values = {"fid": 1.0, "fid-clean": 2.0, "ssim": 0.5, "lpips-vgg": 0.1, "fd-vgg16": 3, "l1": 1.0}
    assert list(distances(values)) == ["fid", "fid-clean", "lpips-vgg", "fd-vgg16"]


def test_compressed_photos_still_look_like_photos_and_blurred_ones_do_not(shared: Path) -> None:
    photos = [
        Image.open(path).convert("RGB")
        for path in sorted((shared / "data" / "camvid" / "test" / "photo").iterdir())[::80]
    ]

    def compressed(photo: Image.Image) -> Image.Image:
        kept = io.BytesIO()
        photo.save(kept, "JPEG", quality=50)
        return Image.open(kept).convert("RGB")

    real = mean_look([look(pixels(photo)) for photo in photos])
    assert findings(real, mean_look([look(pixels(compressed(one))) for one in photos])) == []
    soft = [look(pixels(photo.filter(ImageFilter.GaussianBlur(1)))) for photo in photos]
    assert len(findings(real, mean_look(soft))) == 2


def pixels(photo: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1)
