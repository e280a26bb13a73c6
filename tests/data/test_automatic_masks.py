"""Otsu's mask: what stands out of the background counts, be that dark or bright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.filters import threshold_otsu

from limner.data import open_dataset, otsu_mask
from limner.data.data_settings import DataSettings
from limner.data.masks import _threshold


def phantom(*, bright: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy disc with a hole in it, and the disc with its hole filled."""
    y, x = np.mgrid[:60, :80]
    away = np.hypot(y - 30, x - 40)
    disc, hole = away < 22, away < 6
    rng = np.random.default_rng(0)
    values = np.where(disc & ~hole, 180, 30) + rng.normal(0, 6, disc.shape)
    values = values if bright else 255 - values
    return values.clip(0, 255).astype(np.uint8), disc


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int16])
def test_the_body_is_found_in_front_of_air_and_of_glass(bright: bool, dtype: torch.dtype) -> None:
    values, disc = phantom(bright=bright)
    mask = otsu_mask(torch.from_numpy(values)[None].to(dtype))
    assert mask.shape == (1, 60, 80)
    assert (mask[0].numpy() == disc).mean() > 0.995


def test_the_threshold_is_otsu_s() -> None:
    values, _ = phantom(bright=True)
    ours, theirs = _threshold(values.ravel().astype(float)), threshold_otsu(values)
    assert ((values > ours) == (values > theirs)).all()


def test_what_does_not_count_at_all_decides_nothing() -> None:
    values, disc = phantom(bright=True)
    counts = torch.ones(1, 60, 80, dtype=torch.bool)
    counts[:, :, :5] = False
    values[:, :5] = 255  # nodata, brighter than the body
    mask = otsu_mask(torch.from_numpy(values)[None], counts)
    assert not mask[:, :, :5].any()
    assert (mask[0].numpy() == disc)[:, 5:].mean() > 0.995
    flat = torch.full((3, 9, 9), 7, dtype=torch.uint8)
    assert otsu_mask(flat).all()
    assert not otsu_mask(flat, torch.zeros(1, 9, 9, dtype=torch.bool)).any()


@pytest.mark.parametrize("mask", ["otsu", "otsu-target"])
@pytest.mark.parametrize("ranges", ["type", (0, 200)])
def test_samples_have_the_mask_of_the_side_that_is_asked_for(
    tmp_path: Path, mask: Any, ranges: Any
) -> None:
    values, disc = phantom(bright=True)
    shifted = np.roll(values, 15, axis=1)
    for kind, pixels in (("source", values), ("target", shifted)):
        (tmp_path / "train" / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "train" / kind / "0.png")
    dataset = open_dataset(
        tmp_path,
        channels=(1, 1),
        mode="none",
        mask=mask,
        spans=DataSettings.model_validate({"range": {"source": ranges, "target": ranges}}).spans,
        cache_folder=tmp_path / "cache",
        cache_bytes=10**7,
    )
    expected = disc if mask == "otsu" else np.roll(disc, 15, axis=1)
    for _ in range(2):
        assert ((dataset[0]["mask"][0].numpy() > 0) == expected).mean() > 0.99


def test_label_maps_have_no_threshold() -> None:
    with pytest.raises(ValueError, match="otsu-target"):
        DataSettings.model_validate({"labels": {}, "mask": "otsu"})
