"""Label maps from files: ids as they are, colours by a palette, instances exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.data import LabelMaps, coloured, decode, read_instances, read_labels, resized_ids
from limner.data.labelmaps import packed, unpacked
from limner.errors import DataError

IDS = np.array([[0, 1, 2], [255, 2, 0]], dtype=np.uint8)
COLOURS = ((10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 0))  # the last is void's
MAPS = LabelMaps(classes=3, void=255)


def saved(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    Image.fromarray(values, mode).save(path)
    return path


def in_colours(ids: np.ndarray, colours: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    return np.array(colours, dtype=np.uint8)[np.where(ids == 255, len(colours) - 1, ids)]


def test_one_channel_holds_ids(tmp_path: Path) -> None:
    ids = read_labels(saved(tmp_path / "1.png", IDS), MAPS)
    assert ids.dtype == torch.int32
    assert ids.tolist() == IDS.tolist()
    deep = saved(tmp_path / "2.png", IDS.astype(np.uint16) * 200)
    assert read_labels(deep, LabelMaps(classes=60000)).max() == 51000


def test_a_palette_gives_its_indices_here_and_its_colours_elsewhere(tmp_path: Path) -> None:
    image = Image.fromarray(IDS, "P")
    image.putpalette([value for colour in COLOURS * 64 for value in colour])
    image.save(tmp_path / "1.png")
    assert read_labels(tmp_path / "1.png", MAPS).tolist() == IDS.tolist()
    assert decode(tmp_path / "1.png").shape == (3, 2, 3)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_a_pixel_keep_their_values(tmp_path: Path, bits: int) -> None:
    import struct
    import zlib

    # Written by hand, since Pillow writes no grey of 2 or 4 bits.
    values = np.arange(8, dtype=np.uint8) % 2**bits
    row = int("".join(f"{value:0{bits}b}" for value in values), 2).to_bytes(bits, "big")

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    path = tmp_path / "1.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    assert read_labels(path, LabelMaps(classes=16))[0].tolist() == values.tolist()


def test_colours_are_found_exactly_or_the_nearest(tmp_path: Path) -> None:
    exact = LabelMaps(classes=3, void=255, coding="exact", colours=COLOURS)
    lossless = saved(tmp_path / "1.png", in_colours(IDS, COLOURS))
    assert read_labels(lossless, exact).tolist() == IDS.tolist()

    blocks = IDS.repeat(12, 0).repeat(12, 1)  # across JPEG's blocks of 8
    Image.fromarray(in_colours(blocks, COLOURS)).save(tmp_path / "2.jpg", quality=90, subsampling=0)
    nearest = LabelMaps(classes=3, void=255, coding="nearest", colours=COLOURS)
    assert read_labels(tmp_path / "2.jpg", nearest).tolist() == blocks.tolist()
    with pytest.raises(DataError, match="which no class has"):
        read_labels(tmp_path / "2.jpg", exact)


def test_an_unknown_colour_is_named_with_count_and_place(tmp_path: Path) -> None:
    pixels = in_colours(IDS, COLOURS)
    pixels[1, 1:] = (7, 8, 9)
    path = saved(tmp_path / "1.png", pixels)
    exact = LabelMaps(classes=3, void=255, coding="exact", colours=COLOURS)
    with pytest.raises(DataError) as caught:
        read_labels(path, exact)
    for part in (str(path), "(7, 8, 9)", "2 pixels", "column 1, row 1", "coding=nearest"):
        assert part in str(caught.value)


def test_of_classes_with_one_colour_the_first_counts(tmp_path: Path) -> None:
    twice = LabelMaps(classes=3, coding="exact", colours=((1, 1, 1), (5, 5, 5), (1, 1, 1)))
    path = saved(tmp_path / "1.png", np.full((2, 2, 3), 1, dtype=np.uint8))
    assert read_labels(path, twice).unique().tolist() == [0]


def test_zero_as_void_shifts_the_classes(tmp_path: Path) -> None:
    path = saved(tmp_path / "1.png", np.array([[0, 1, 150]], dtype=np.uint8))
    ade = LabelMaps(classes=150, void=150, first=1)
    assert read_labels(path, ade).tolist() == [[150, 0, 149]]
    with pytest.raises(DataError, match=r"value 0 in 1 pixel, .* they are 1 to 150"):
        read_labels(path, LabelMaps(classes=150, first=1))


def test_a_value_outside_the_range_is_named_with_count_and_place(tmp_path: Path) -> None:
    path = saved(tmp_path / "1.png", np.array([[0, 1, 1], [1, 9, 9]], dtype=np.uint8))
    with pytest.raises(DataError) as caught:
        read_labels(path, LabelMaps(classes=2, void=255))
    message = str(caught.value)
    for part in (str(path), "value 9", "2 pixels", "column 1, row 1", "0 to 1, void 255"):
        assert part in message


@pytest.mark.parametrize(
    ("coding", "dtype", "shape"),
    [("ids", np.uint8, (2, 2, 3)), ("exact", np.uint16, (2, 2))],
)
def test_a_file_of_the_other_kind_is_refused(
    tmp_path: Path, coding: str, dtype: type, shape: tuple[int, ...]
) -> None:
    values = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    path = saved(tmp_path / "1.png", values)
    with pytest.raises(DataError, match=r"1\.png"):
        read_labels(path, LabelMaps(classes=20, coding=coding, colours=((0, 0, 0),)))


def test_grey_is_read_as_ids_and_ids_as_grey(tmp_path: Path) -> None:
    ids = np.array([[0, 2], [1, 2]], dtype=np.uint8)
    path = saved(tmp_path / "1.png", ids.repeat(3).reshape(2, 2, 3))
    assert read_labels(path, LabelMaps(classes=3)).tolist() == ids.tolist()
    path = saved(tmp_path / "2.png", np.array([[0, 255]], dtype=np.uint8))
    maps = LabelMaps(classes=2, coding="exact", colours=((0, 0, 0), (255, 255, 255)))
    assert read_labels(path, maps).tolist() == [[0, 1]]


@pytest.mark.parametrize("dtype", ["uint32", "int32", "int16", "float32", "float64"])
def test_ids_of_wide_types_are_read(tmp_path: Path, dtype: str) -> None:
    values = np.array([[0, 1, 2], [2, 0, 1]], dtype=dtype)
    tifffile.imwrite(tmp_path / "1.tif", values)
    assert read_labels(tmp_path / "1.tif", LabelMaps(classes=3)).tolist() == values.tolist()
    assert read_instances(tmp_path / "1.tif").tolist() == values.tolist()
    tifffile.imwrite(tmp_path / "2.tif", values * np.array(10_000, dtype=dtype))
    assert read_instances(tmp_path / "2.tif").unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("value", [0.5, float("nan"), -1.0, 3e9])
def test_what_is_no_id_is_refused(tmp_path: Path, value: float) -> None:
    tifffile.imwrite(tmp_path / "1.tif", np.array([[0, value]], dtype=np.float32))
    for read in (read_instances, lambda path: read_labels(path, LabelMaps(classes=3))):
        with pytest.raises(DataError, match=r"1\.tif"):
            read(tmp_path / "1.tif")


def test_instances_are_read_to_the_last_bit(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256], [26001, 33000, 65535]], dtype=np.uint16)
    path = saved(tmp_path / "1.png", values)
    assert read_instances(path).tolist() == values.tolist()
    colours = np.array([[[1, 0, 0], [0, 1, 0], [1, 0, 0]]], dtype=np.uint8)
    first, second, third = read_instances(saved(tmp_path / "2.png", colours))[0].tolist()
    assert first == third != second


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_ids_come_back_from_their_bytes(planes: int, height: int, width: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(256**planes, (height, width), generator=rng)
    assert torch.equal(unpacked(packed(ids, planes)), ids)


def test_resizing_invents_no_id() -> None:
    ids = torch.tensor([[0, 60000], [7, 255]])
    larger = resized_ids(ids, (6, 10))
    assert larger.shape == (6, 10)
    assert torch.equal(larger, ids.repeat_interleave(3, 0).repeat_interleave(5, 1))
    assert set(resized_ids(ids, (3, 3)).unique().tolist()) <= {0, 7, 255, 60000}


def test_ids_are_shown_in_their_colours() -> None:
    ids = torch.from_numpy(IDS.astype(np.int64))
    shown = coloured(ids, COLOURS, void=255).permute(1, 2, 0)
    assert shown.tolist() == in_colours(IDS, COLOURS).tolist()
