"""Windows of files are what the whole file has there, of every format, type and turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from limner.data.decode import decode, decode_ids
from limner.data.windows import PictureWindows
from limner.errors import DataError

HEIGHT, WIDTH = 83, 101
FORMS: dict[str, dict[str, Any]] = {
    "strips": {},
    "few rows a strip": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (32, 16)},
    "packed tiles": {"tile": (32, 16), "compression": "zlib", "predictor": True},
    "lzw": {"rowsperstrip": 9, "compression": "lzw"},
    "big endian": {"byteorder": ">", "tile": (16, 16)},
    "bigtiff": {"bigtiff": True, "tile": (16, 16)},
    "turned": {"tile": (16, 16), "extratags": [(274, 3, 1, 6, True)]},
    "upside down": {"rowsperstrip": 8, "extratags": [(274, 3, 1, 4, True)]},
}
WINDOWS = [(0, 0, 1, 1), (5, 9, 20, 31), (30, 0, 40, 83), (0, 60, 83, 23), (12, 12, 0, 5)]


def check(path: Path) -> PictureWindows:
    whole, ids = decode(path), decode_ids(path)
    with PictureWindows(path) as windows:
        height, width = whole.shape[-2:]
        assert (windows.header.height, windows.header.width) == (height, width)
        for top, left, down, across in [*WINDOWS, (0, 0, height, width)]:
            down, across = min(down, height - top), min(across, width - left)
            place = (..., slice(top, top + down), slice(left, left + across))
            part = windows.read(top, left, down, across)
            assert part.dtype == whole.dtype
            assert torch.equal(part, whole[place])
            assert torch.equal(windows.read_ids(top, left, down, across), ids[place])
        for outside in ((-1, 0, 4, 4), (0, width - 3, 4, 4), (height, 0, 1, 1)):
            with pytest.raises(DataError, match="window"):
                windows.read(*outside)
        return windows


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_windows_of_tiff(tmp_path: Path, form: str, dtype: str, channels: int) -> None:
    keywords = dict(FORMS[form])
    if keywords.get("predictor") and dtype == "float32":
        keywords["predictor"] = 3
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    pixels = (np.random.default_rng(0).random(shape) * 250).astype(dtype)
    colour = channels == 3 and dtype.startswith("u")
    photometric = "rgb" if colour else "minisblack"
    if channels == 3 and not colour:
        pixels, keywords["planarconfig"] = pixels.transpose(2, 0, 1).copy(), "separate"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, **keywords)
    assert not check(tmp_path / "a.tif").in_memory


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_other_formats_are_decoded_whole(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    assert check(tmp_path / f"a.{suffix}").in_memory


def test_a_window_costs_what_it_touches(tmp_path: Path) -> None:
    pixels = np.zeros((1024, 1024), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), compression="zlib")
    with PictureWindows(tmp_path / "a.tif") as windows:
        windows.read(100, 100, 50, 50)
        assert windows.most_bytes <= 64 * 64 * 2 * 4


def test_a_damaged_tile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    tifffile.imwrite(path, noise, tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[3]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    with PictureWindows(path) as windows:
        windows.read(0, 0, 60, 60)
        with pytest.raises(DataError, match=r"a\.tif"):
            windows.read(70, 70, 20, 20)
