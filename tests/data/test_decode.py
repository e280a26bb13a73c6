"""Every format gives the pixels, the channels and the depth that its file holds."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from limner.data import decode, header, probe
from limner.data.decode import is_lossy
from limner.errors import DataError


def pixels(path: Path) -> np.ndarray:
    """Decode and give H x W x C; the header must agree with what came out."""
    image = decode(path)
    assert header(path) == tuple(image.shape)
    assert probe(path).bits == 8 * image.element_size()
    return image.numpy().transpose(1, 2, 0)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    ("suffix", "channels"), [("png", 3), ("png", 4), ("bmp", 3), ("webp", 3), ("webp", 4)]
)
def test_lossless_files_give_their_exact_values(tmp_path, noise, suffix, channels):
    array = noise(9, 13, channels)
    options: dict[str, Any] = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(array).save(tmp_path / f"x.{suffix}", **options)
    assert np.array_equal(pixels(tmp_path / f"x.{suffix}"), array)


@pytest.mark.parametrize("channels", [1, 2])
def test_grey_keeps_one_channel_and_its_alpha_a_second(tmp_path, noise, channels):
    array = noise(9, 13, channels)
    Image.fromarray(array).save(tmp_path / "x.png")
    assert np.array_equal(pixels(tmp_path / "x.png"), array.reshape(9, 13, channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_all_its_bits(tmp_path, channels):
    array = np.random.default_rng(0).integers(0, 65536, (9, 13, channels), dtype=np.uint16)
    (tmp_path / "x.png").write_bytes(imagecodecs.png_encode(array.squeeze()))
    image = decode(tmp_path / "x.png")
    assert image.dtype == torch.uint16
    assert np.array_equal(pixels(tmp_path / "x.png"), array)


@pytest.mark.parametrize(("channels", "key"), [(1, (7,)), (3, (7, 8, 9))])
def test_a_colour_key_adds_no_channel(tmp_path, channels, key):
    array = np.random.default_rng(0).integers(0, 65536, (9, 13, channels), dtype=np.uint16)
    data = imagecodecs.png_encode(array.squeeze())
    at = data.index(b"IDAT") - 4
    trns = chunk(b"tRNS", struct.pack(f">{channels}H", *key))
    (tmp_path / "x.png").write_bytes(data[:at] + trns + data[at:])
    assert np.array_equal(pixels(tmp_path / "x.png"), array)


def test_jpeg_is_what_pillow_reads(tmp_path, noise):
    for name, channels in (("grey.jpg", 1), ("colour.jpeg", 3)):
        Image.fromarray(noise(20, 30, channels)).save(tmp_path / name)
        expected = np.asarray(Image.open(tmp_path / name)).reshape(20, 30, channels)
        assert np.array_equal(pixels(tmp_path / name), expected)


@pytest.mark.parametrize("transparency", [None, 1, bytes([0, 128, 255])])
def test_a_palette_is_expanded(tmp_path, transparency):
    colours = np.array([[9, 8, 7], [250, 0, 1], [0, 99, 0]], dtype=np.uint8)
    ids = np.random.default_rng(0).integers(0, 3, (9, 13), dtype=np.uint8)
    image = Image.fromarray(ids)
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "x.png", transparency=transparency)
    found = pixels(tmp_path / "x.png")
    assert np.array_equal(found[..., :3], colours[ids])
    if transparency is None:
        assert found.shape[2] == 3
    else:
        alpha = [255, 0, 255] if transparency == 1 else list(transparency)
        assert np.array_equal(found[..., 3], np.array(alpha)[ids])


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_one_bit_becomes_black_and_white(tmp_path, suffix):
    bits = np.random.default_rng(0).integers(0, 2, (9, 13)).astype(bool)
    Image.fromarray(bits).save(tmp_path / f"x.{suffix}")
    assert np.array_equal(pixels(tmp_path / f"x.{suffix}")[..., 0], bits * 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_exif_orientation_is_applied(tmp_path, noise, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise(9, 13)).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(pixels(path), expected)
    assert header(path) == ((3, 13, 9) if orientation >= 5 else (3, 9, 13))


def test_orientation_behind_the_pixels_of_a_png_counts_and_at_16_bits_too(tmp_path):
    array = np.random.default_rng(0).integers(0, 65536, (9, 13, 3), dtype=np.uint16)
    data = imagecodecs.png_encode(array)
    exif = Image.Exif()
    exif[0x0112] = 6
    at = data.index(b"IEND") - 4
    late = data[:at] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + data[at:]
    (tmp_path / "x.png").write_bytes(late)
    assert np.array_equal(pixels(tmp_path / "x.png"), np.rot90(array, -1))


def test_a_senseless_orientation_is_ignored(tmp_path, noise):
    exif = Image.Exif()
    exif[0x0112] = 11
    Image.fromarray(noise(9, 13)).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(pixels(tmp_path / "x.png"), noise(9, 13))


def test_cmyk_is_refused_with_the_cure(tmp_path):
    Image.new("CMYK", (8, 8)).save(tmp_path / "x.jpg")
    for read in (decode, header):
        with pytest.raises(DataError, match=r"x\.jpg is a CMYK image.*convert it to RGB"):
            read(tmp_path / "x.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "png16"])
def test_truncated_files_are_named(tmp_path, noise, suffix):
    array = noise(40, 40)
    path = tmp_path / "train" / f"7.{suffix.removesuffix('16')}"
    path.parent.mkdir()
    if suffix == "png16":
        path.write_bytes(imagecodecs.png_encode(array.astype(np.uint16) * 257))
    else:
        Image.fromarray(array).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DataError, match=r"train/7\.\w+ is damaged or truncated .*restore it"):
        decode(path)


def test_what_is_no_image_or_not_there_is_named(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    Image.new("RGB", (8, 8)).save(tmp_path / "really.gif")
    (tmp_path / "really.gif").rename(tmp_path / "gif.png")
    for name in ("text.png", "empty.jpg", "gif.png"):
        for read in (decode, header):
            with pytest.raises(DataError, match=rf"{name} is no image that can be read.*JPEG, PNG"):
                read(tmp_path / name)
    with pytest.raises(DataError, match=r"gone\.png cannot be read \(No such file.*check the path"):
        decode(tmp_path / "gone.png")


@pytest.fixture(scope="module")
def sound_files() -> list[bytes]:
    array = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    files = [bytes(imagecodecs.png_encode(array.astype(np.uint16)))]
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP"):
        file = io.BytesIO()
        Image.fromarray(array).save(file, kind)
        files.append(file.getvalue())
    return files


@settings(max_examples=150, deadline=None)
@given(
    kind=st.integers(0, 5),
    damage=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 400),
)
def test_damage_gives_an_image_or_a_data_error(tmp_path_factory, sound_files, kind, damage, cut):
    data = bytearray(sound_files[kind])
    for place, byte in damage:
        data[place % len(data)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(data[: len(data) - cut])
    for read in (decode, header):
        message = complaint(read, path)
        assert message is None or (str(path) in message and "\n" not in message)


def complaint(read: Callable[[Path], object], path: Path) -> str | None:
    try:
        read(path)
    except DataError as error:
        return str(error)
    return None


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


@pytest.mark.parametrize(
    "chunk",
    [
        _chunk(b"eXIf", b"MM\0*\0\0\xff\xff broken"),
        _chunk(b"eXIf", b"no exif at all"),
        _chunk(b"tEXt", b"key\0text")[:-4] + b"\0\0\0\0",  # a checksum that is wrong
        _chunk(b"zTXt", b"key\0\0not deflated"),
        _chunk(b"iCCP", b"name\0\0not a profile"),
        _chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(2**23))),  # a small bomb
    ],
)
def test_damage_beside_the_pixels_of_a_png_costs_nothing(tmp_path, noise, chunk):
    pixels = noise(9, 13)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[:33] + chunk + data[33:])
    assert np.array_equal(decode(tmp_path / "x.png").numpy(), pixels.transpose(2, 0, 1))
    assert header(tmp_path / "x.png") == (3, 9, 13)


def test_damaged_exif_of_a_webp_costs_nothing(tmp_path, noise):
    pixels = noise(9, 13)
    exif = b"Exif\0\0MM\0*\0\0\xff\xff broken"
    Image.fromarray(pixels).save(tmp_path / "x.webp", lossless=True, exif=exif)
    assert np.array_equal(decode(tmp_path / "x.webp").numpy(), pixels.transpose(2, 0, 1))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_pipes_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    for path in (tmp_path / "x.png", Path("/dev/zero"), tmp_path):
        for read in (decode, header):
            with pytest.raises(DataError, match=re.escape(str(path))):
                read(path)


def test_the_pixels_that_a_png_claims_are_bounded(tmp_path):
    for bits in (8, 16):
        start = struct.pack(">IIBBBBB", 50_000, 50_000, bits, 2, 0, 0, 0)
        content = zlib.compress(bytes(100))
        parts = [_chunk(b"IHDR", start), _chunk(b"IDAT", content), _chunk(b"IEND", b"")]
        (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
        for read in (decode, header):
            with pytest.raises(DataError, match=r"x\.png"):
                read(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("suffix", "options", "lossy"),
    [
        (".jpg", {}, True),
        (".png", {}, False),
        (".webp", {"lossless": True}, False),
        (".webp", {"quality": 80}, True),
        (".bmp", {}, False),
    ],
)
def test_a_lossy_codec_is_told_from_the_bytes(tmp_path, noise, suffix, options, lossy):
    Image.fromarray(noise(9, 13)).save(tmp_path / f"x{suffix}", **options)
    (tmp_path / f"x{suffix}").rename(tmp_path / "x.png")
    assert is_lossy(tmp_path / "x.png") is lossy
