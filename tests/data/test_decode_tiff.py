"""TIFF as it comes: layouts of channels, depths, compressions, orientations."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from limner.data import decode, header, probe
from limner.data.decode import orient
from limner.errors import DataError


def pixels(path: Path) -> np.ndarray:
    image = decode(path)
    assert header(path) == tuple(image.shape)
    return image.numpy().transpose(1, 2, 0)


def values(*shape: int, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("planar", [False, True])
def test_five_channels_interleaved_or_planar(tmp_path, dtype, compression, planar):
    array = values(20, 30, 5, dtype=dtype)
    tifffile.imwrite(
        tmp_path / "x.tif",
        array.transpose(2, 0, 1) if planar else array,
        photometric="minisblack",
        planarconfig="separate" if planar else "contig",
        compression=compression,
    )
    found = pixels(tmp_path / "x.tif")
    assert found.dtype == dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize("written", ["pages", "without a word", "imagej", "ome"])
def test_channels_as_other_programs_write_them(tmp_path, written):
    array = values(20, 30, 5)
    planes = np.ascontiguousarray(array.transpose(2, 0, 1))
    path = tmp_path / "x.tif"
    if written == "pages":
        tifffile.imwrite(path, planes, photometric="minisblack")
    elif written == "without a word":
        tifffile.imwrite(path, array)
    elif written == "imagej":
        tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX"})
    else:
        tifffile.imwrite(path, planes, ome=True, metadata={"axes": "CYX"})
    assert np.array_equal(pixels(path), array)


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"tile": (16, 16)}])
def test_grey_and_rgb_in_every_container(tmp_path, options):
    for channels in (1, 3):
        array = values(20, 30, channels)
        tifffile.imwrite(tmp_path / "x.tif", array.squeeze(), **options)
        found = pixels(tmp_path / "x.tif")
        assert np.array_equal(found, array)
        assert found.dtype.isnative


def test_jpeg_inside_comes_out_as_rgb(tmp_path):
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    array = np.stack([smooth, smooth.T, 255 - smooth], axis=2)
    tifffile.imwrite(tmp_path / "x.tif", array, compression="jpeg")
    assert np.abs(pixels(tmp_path / "x.tif").astype(int) - array).max() < 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path, orientation):
    array = values(9, 13, 3, dtype=np.uint8)
    extra = [(274, "H", 1, orientation, False)]
    tifffile.imwrite(tmp_path / "x.tif", array, extratags=extra)
    image = Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    assert np.array_equal(pixels(tmp_path / "x.tif"), np.asarray(ImageOps.exif_transpose(image)))
    assert np.array_equal(pixels(tmp_path / "x.tif"), orient(array, orientation))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_files_that_pillow_wrote(tmp_path, noise, mode):
    array = values(9, 13) if mode == "I;16" else noise(9, 13, 4)
    image = Image.fromarray(array)
    image = image if mode == "I;16" else image.convert("RGB").convert(mode)
    image.save(tmp_path / "x.tif")
    shown = image.convert({"1": "L", "P": "RGB"}.get(mode, mode))
    expected = np.asarray(shown)
    assert np.array_equal(pixels(tmp_path / "x.tif"), expected.reshape(9, 13, -1))


def test_white_as_zero_is_inverted(tmp_path):
    array = values(9, 13)
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="miniswhite")
    assert np.array_equal(pixels(tmp_path / "x.tif")[..., 0], 65535 - array)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros((9, 13), np.complex64), {}, r"x\.tif holds complex64 samples"),
        (np.zeros((2, 3, 9, 13), np.uint8), {"photometric": "minisblack"}, r"x\.tif is a stack"),
        (np.zeros((9, 13, 4), np.uint8), {"photometric": "separated"}, r"is a SEPARATED image"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, array, options, message):
    tifffile.imwrite(tmp_path / "x.tif", array, **options)
    for read in (decode, header):
        with pytest.raises(DataError, match=message):
            read(tmp_path / "x.tif")


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg"])
def test_truncated_files_are_named(tmp_path, compression):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values(64, 64, 3, dtype=np.uint8), compression=compression)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match=r"x\.tif is damaged or truncated"):
        decode(path)


def test_tifffile_writes_nothing_to_stderr(tmp_path, monkeypatch, capsys):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values(64, 64, 3, dtype=np.uint8), compression="jpeg")
    path.write_bytes(path.read_bytes()[:260])  # tags point behind the end
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own would hide it
    with pytest.raises(DataError, match=r"x\.tif is damaged"):
        decode(path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("int8", torch.int16),
        ("int16", torch.int16),
        ("int32", torch.int32),
        ("uint32", torch.int64),
        ("float16", torch.float32),
        ("float32", torch.float32),
        ("float64", torch.float64),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_type_of_samples_keeps_its_values(tmp_path, written, read, order):
    values = np.array([[0, 1, 100], [7, 3, 2]], written)
    tifffile.imwrite(tmp_path / "x.tif", values, byteorder=order)
    image = decode(tmp_path / "x.tif")
    assert image.dtype == read == probe(tmp_path / "x.tif").dtype
    assert torch.equal(image[0].double(), torch.from_numpy(values.astype(float)))


def test_what_a_file_claims_is_bounded_before_it_is_decoded(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    data = bytearray((tmp_path / "x.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        for tag in (256, 257):
            place = file.pages[0].tags[tag].valueoffset
            data[place : place + 4] = (40_000).to_bytes(4, "little")
    (tmp_path / "x.tif").write_bytes(data)
    for read in (decode, header):
        with pytest.raises(DataError, match=r"x\.tif"):
            read(tmp_path / "x.tif")
