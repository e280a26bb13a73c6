"""Value ranges: the way to the networks and back, and what does not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.data import (
    DataSettings,
    PairedDataset,
    Span,
    derive_ranges,
    find_pairs,
    make_loader,
    open_dataset,
    stored_type,
    to_file_values,
    to_float,
)
from limner.data.decode import Header
from limner.data.ranges import SAMPLES, narrow_range, percentile_ranges, resized
from limner.errors import ConfigError, DataError

HERE = Path("x.tif")


def image(*values: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor([[values]], dtype=torch.float64).to(dtype)


def test_the_ends_of_a_range_are_minus_one_and_one_and_beyond_them_is_clipped() -> None:
    span = Span(-1000, 3000)
    scaled, valid = span.to_network(image(-1000, 1000, 3000, -2000, 9999), path=HERE)
    assert scaled.tolist() == [[[-1, 0, 1, -1, 1]]]
    assert scaled.dtype == torch.float32
    assert valid is None


def test_on_a_log_scale_equal_factors_are_equal_steps() -> None:
    span = Span(1, 10_000, scale="log")
    scaled, _ = span.to_network(image(1, 100, 10_000, 0), path=HERE)
    assert scaled[0, 0] == pytest.approx([-1, 0, 1, -1])
    assert span.to_values(scaled)[0, 0].tolist() == pytest.approx([1, 100, 10_000, 1])


@given(
    st.floats(-1e4, 1e4), st.floats(0.5, 1e4), st.sampled_from(["linear", "log"]), st.floats(0, 1)
)
def test_there_and_back_is_the_same(low: float, width: float, scale: Any, share: float) -> None:
    low = abs(low) + 1 if scale == "log" else low
    span = Span(low, low + width, scale=scale)
    value = low + share * width
    scaled, _ = span.to_network(image(value, dtype=torch.float64), path=HERE)
    back = float(span.to_values(scaled)[0, 0, 0])
    assert back == pytest.approx(value, abs=1e-5 * (abs(low) + width))


@pytest.mark.parametrize("bits", [8, 16])
def test_the_range_of_a_type_written_out_is_that_of_the_type(bits: int) -> None:
    dtype, limit = (torch.uint8, 255) if bits == 8 else (torch.uint16, 65535)
    values = torch.arange(256, dtype=torch.int32).mul(limit // 255).to(dtype)[None, None]
    scaled, _ = Span(0, limit).to_network(values, path=HERE)
    assert torch.allclose(scaled, to_float(values), atol=1e-7, rtol=0)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
def test_what_is_no_range_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"data\.range"):
        Span(*ends)
    with pytest.raises(ConfigError, match=r"data\.range"):
        Span(0, 1, scale="log")


def test_numbers_that_are_not_finite_do_not_count_or_are_refused() -> None:
    holes = image(1, float("nan"), float("inf"))
    with pytest.raises(DataError, match=r"x\.tif.*data\.nodata=nan"):
        Span(0, 2).to_network(holes, path=HERE)
    scaled, valid = Span(0, 2, nodata="nan").to_network(holes, path=HERE)
    assert scaled.tolist() == [[[0, -1, -1]]]
    assert valid is not None
    assert valid.tolist() == [[[True, False, False]]]


def test_a_nodata_value_counts_in_no_channel_and_no_mean() -> None:
    values = torch.full((2, 8, 8), 5.0)
    values[0, :, :3] = -9999
    scaled, valid = Span(0, 10, nodata=-9999.0).to_network(values, path=HERE)
    assert valid is not None
    assert valid[0, :, 3:].all()
    assert not valid[0, :, :3].any()
    for how in ("bilinear", "bicubic", "nearest"):
        small, counts = resized(scaled, valid, (4, 4), interpolation=how)
        assert counts is not None
        assert small[:, counts[0]].abs().max() < 1e-6


def test_percentiles_are_of_all_images_and_of_what_counts() -> None:
    images = [image(*range(100)), image(*range(100, 201), dtype=torch.int16), image(-9999.0)]
    assert percentile_ranges(images, 3, (0, 100), nodata=-9999.0) == [(0, 200)]
    assert percentile_ranges(images, 3, (25, 75), nodata=-9999.0) == [(50, 150)]
    many = [torch.zeros(1, 1, 1), *(image(float(k)) for k in range(1, 11))]
    assert percentile_ranges(iter(many), SAMPLES * 2, (10, 90), nodata=None) == [(1, 9)]
    for empty in ([image(float("nan"))], [image(3, 3)], []):
        with pytest.raises(DataError):
            percentile_ranges(empty, 1, (0, 100), nodata=None)


def test_channels_may_have_ranges_of_their_own(tmp_path: Path) -> None:
    images = [torch.stack([torch.arange(101.0), -10 * torch.arange(101.0)])[:, None]] * 2
    found = percentile_ranges(images, 2, (10, 90), nodata=None, per_channel=True)
    assert found == [(10, 90), (-900, -100)]
    assert percentile_ranges(images, 2, (0, 100), nodata=None) == [(-1000, 100)]
    with pytest.raises(DataError, match="per_channel"):
        percentile_ranges([*images, images[0][:1]], 3, (0, 100), nodata=None, per_channel=True)
    stated = settings(range={"source": [(0, 100), (-1000, 0)]}, channels=(2, 1)).spans[0]
    assert stated is not None
    scaled, _ = stated.to_network(images[0], path=HERE)
    assert scaled[:, 0, 0].tolist() == [-1, 1]
    assert torch.allclose(stated.to_values(scaled), images[0].double(), atol=1e-4)
    with pytest.raises(DataError, match="2 ranges"):
        stated.to_network(images[0][:1].repeat(3, 1, 1), path=HERE)
    with pytest.raises(ValueError, match=r"data\.range\.source states 2 ranges"):
        settings(range={"source": [(0, 100), (-1000, 0)]}, channels=(3, 1))
    values = np.stack([np.arange(144.0).reshape(12, 12), 7 - np.arange(144.0).reshape(12, 12)])
    root = data_set(tmp_path, values.astype(np.float64), values[0].astype(np.float32))
    asked = settings(
        range={
            "source": {"percentiles": (0, 100), "per_channel": True},
            "target": {"percentiles": (0, 100)},
        },
        channels=(2, 1),
    )
    facts = derive_ranges(find_pairs(root, "train", direction=None), asked)
    assert facts.settings["data.range.source"] == [(0, 143), (-136, 7)]
    assert facts.settings["data.range.target"] == (0, 143)


@pytest.mark.parametrize(
    ("types", "stored"),
    [
        ([torch.uint8], "uint8"),
        ([torch.uint8, torch.uint16], "uint16"),
        ([torch.int16], "int16"),
        ([torch.int16, torch.uint8], "float32"),
        ([torch.int64], "float32"),
        ([torch.float32], "float32"),
    ],
)
def test_one_type_holds_what_all_files_hold(types: list[torch.dtype], stored: str) -> None:
    assert stored_type([Header(1, 2, 2, dtype) for dtype in types]) == stored


@pytest.mark.parametrize(
    ("span", "stored", "wanted", "expected"),
    [
        (None, "uint8", None, ("uint8", [0, 128, 255])),
        (None, "uint16", None, ("uint16", [0, 32768, 65535])),
        (None, "uint8", "uint16", ("uint16", [0, 32768, 65535])),
        (None, "uint16", "uint8", ("uint8", [0, 128, 255])),
        (None, "uint8", "float32", ("float32", [0, 127.5, 255])),
        (Span(0, 4095), "uint16", None, ("uint16", [0, 2048, 4095])),
        (Span(0, 4095), "uint16", "uint8", ("uint8", [0, 128, 255])),
        (Span(-1000, 3000), "int16", None, ("int16", [-1000, 1000, 3000])),
        (Span(-1000, 3000), "int16", "uint16", ("uint16", [0, 1000, 3000])),
        (Span(-1000, 3000), "int16", "float32", ("float32", [-1000, 1000, 3000])),
    ],
)
def test_pictures_are_written_in_the_targets_type_or_the_one_wanted(
    span: Span | None, stored: str, wanted: str | None, expected: tuple[str, list[float]]
) -> None:
    values = to_file_values(image(-1, 0, 1), span, stored=stored, wanted=wanted)
    assert (str(values.dtype), values[0, 0].tolist()) == expected


def test_what_does_not_count_is_written_as_nodata_where_the_type_holds_it() -> None:
    counts = torch.tensor([[[True, False, True]]])
    for nodata, stored, hole in ((-9999.0, "int16", -9999), ("nan", "float32", None)):
        span = Span(0, 10, nodata=nodata)  # pyright: ignore[reportArgumentType]
        values = to_file_values(image(-1, 0, 1), span, stored=stored, counts=counts)[0, 0]
        assert values[[0, 2]].tolist() == [0, 10]
        assert np.isnan(values[1]) if hole is None else values[1] == hole
    span = Span(0, 10, nodata=-9999.0)
    assert to_file_values(image(0, 0, 0), span, stored="uint16", counts=counts).max() == 5


def data_set(root: Path, source: np.ndarray, target: np.ndarray, *, count: int = 3) -> Path:
    for number in range(count):
        for side, values in (("source", source), ("target", target)):
            path = root / "train" / side / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, values)
    return root


def opened(root: Path, settings: DataSettings, *, cache: Path | None = None) -> PairedDataset:
    return open_dataset(
        root,
        "train",
        direction=None,
        mode=settings.mode,
        size=(8, 8),
        load_size=(10, 10),
        flip=True,
        channels=(1, 1),
        convert=False,
        interpolation=("auto", "auto"),
        cache_folder=cache,
        cache_bytes=10**7,
        seed=0,
        augment=True,
        batch_size=1,
        spans=settings.spans,
    )


def settings(**keys: Any) -> DataSettings:
    return DataSettings.model_validate(keys)


def test_samples_of_other_types_need_a_range_and_the_cure_cures(tmp_path: Path) -> None:
    values = np.arange(-72, 72, dtype=np.int16).reshape(12, 12)
    root = data_set(tmp_path, values, values.astype(np.float32))
    for role, stated in (("source", {}), ("target", {"source": (-72, 71)})):
        with pytest.raises(DataError, match=rf"data\.range\.{role}=\[LOW, HIGH\]"):
            opened(root, settings(range=stated))
    stated = {"source": (-72, 71), "target": {"percentiles": (0, 100)}}
    facts = derive_ranges(find_pairs(root, "train", direction=None), settings(range=stated))
    assert facts.settings["data.range.target"] == (-72, 71)
    assert (facts.settings["data.type.source"], facts.settings["data.type.target"]) == (
        "int16",
        "float32",
    )
    resolved = settings(range={"source": (-72, 71), "target": (-72, 71)}, mode="none")
    sample = opened(root, resolved)[0]
    assert torch.equal(sample["source"], sample["target"])
    assert (float(sample["source"].min()), float(sample["source"].max())) == (-1, 1)


@pytest.mark.parametrize("mode", ["resize_crop", "crop", "none"])
def test_a_mask_says_which_pixels_count_and_the_cache_keeps_it(tmp_path: Path, mode: Any) -> None:
    values = np.arange(144, dtype=np.float32).reshape(12, 12)
    holes = values.copy()
    holes[:, :6] = np.nan
    root = data_set(tmp_path / "set", values, holes)
    with pytest.raises(DataError, match=r"target/0\.tif.*data\.nodata=nan"):
        opened(root, settings(range={"source": (0, 143), "target": (0, 143)}))
    stated = settings(range={"source": (0, 143), "target": (0, 143)}, nodata="nan", mode=mode)
    first = opened(root, stated, cache=tmp_path / "cache")
    fresh, kept = first[0], first[0]
    for name in ("source", "target", "mask"):
        assert torch.equal(fresh[name], kept[name])
    mask = fresh["mask"] > 0
    assert 0 < int(mask.sum()) < mask.numel()
    assert torch.allclose(fresh["source"][mask], fresh["target"][mask], atol=0.05)
    assert (fresh["target"][~mask] == -1).all()
    loader = make_loader(
        first,
        batch_size=3,
        epoch=0,
        workers=0,
        shuffle=False,
        drop_last=False,
        pin_memory=False,
    )
    (batch,) = loader
    assert batch["mask"].shape == (3, 1, *mask.shape[-2:])


def test_a_narrow_range_is_told_with_the_command_that_cures_it(tmp_path: Path) -> None:
    values = np.arange(1, 145, dtype=np.uint16).reshape(12, 12)
    root = data_set(tmp_path, values, values * 400)
    facts = derive_ranges(find_pairs(root, "train", direction=None), settings())
    (note,) = facts.notes
    assert "--set data.range.source=[1,144]" in note
    assert facts.settings == {"data.type.source": "uint16", "data.type.target": "uint16"}
    cured = derive_ranges(
        find_pairs(root, "train", direction=None), settings(range={"source": (1, 144)})
    )
    assert not cured.notes
    for wide, words in (((0, 10_000), "0 to 10000"), ((-900, 1), "-900 to 1")):
        stated = settings(range={"source": wide})
        (note,) = derive_ranges(find_pairs(root, "train", direction=None), stated).notes
        assert words in note


def test_a_dead_pixel_fills_no_range_and_a_sparse_image_of_8_bits_does() -> None:
    values = torch.arange(4096, dtype=torch.int32).repeat(8)
    values[0] = 65535
    note = narrow_range([values.to(torch.uint16).reshape(1, 256, 128)], "source")
    assert note is not None
    assert "0 to 65535" in note
    lines = torch.zeros(1, 256, 128, dtype=torch.uint8)
    lines[0, 0, 0] = 255
    assert narrow_range([lines], "source") is None
    decibels = image(-30, -5, float("nan"), -9999)
    assert narrow_range([decibels], "target", Span(-30, 0, nodata=-9999.0)) is None
    assert narrow_range([decibels], "target", Span(-200, 0, nodata=-9999.0)) is not None
    ratios = image(1, 30, dtype=torch.float64)
    assert narrow_range([ratios], "target", Span(1, 1000, scale="log")) is None  # half the decades
    assert narrow_range([ratios], "target", Span(1, 1000)) is not None


@pytest.mark.parametrize(
    "keys",
    [
        {"scale": {"source": "log"}},
        {"nodata": 0},
        {"range": {"source": (0, 1)}, "labels": {}},
        {"range": {"source": {"percentiles": (9, 1)}}},
        {"range": {"source": (0, "x")}},
    ],
)
def test_settings_that_contradict_each_other_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"data|percentiles|range"):
        settings(**keys)
