"""Place and resolution go from a source to its translation, adjusted to its size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from tiny import small

from limner.config import replace
from limner.inference import Translator, georeferenced, translate_file
from limner.inference.carried_tags import NOTHING, carried_from

# UTM 32N, pixels of 10 m, the upper left corner at (500000, 5400000).
KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
GEOGRAPHIC: list[Any] = [
    (33550, 12, 3, (10.0, 10.0, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), True),
    (34735, 3, len(KEYS), KEYS, True),
]


class Same(torch.nn.Module):
    """A generator that gives its source back."""

    multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        return source


def translator(*settings: str) -> Translator:
    config = small("data.channels=1", "data.mode=none", *settings)
    return Translator(Same(), config)


def geotiff(path: Path, pixels: np.ndarray) -> Path:
    tifffile.imwrite(path, pixels, photometric="minisblack", extratags=GEOGRAPHIC)
    return path


@pytest.mark.parametrize("size", ["original", "16x8"])
def test_a_georeference_is_carried_and_adjusted(tmp_path: Path, size: str) -> None:
    source = geotiff(tmp_path / "a.tif", np.arange(32 * 24, dtype=np.uint16).reshape(32, 24))
    assert georeferenced([source])
    translate_file(translator("data.type.target=uint16"), source, tmp_path / "b.tif", size=size)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        told = file.geotiff_metadata
        height, width = file.pages[0].shape
    assert told is not None
    assert told["ProjectedCSTypeGeoKey"] == 32632
    x, y, _ = told["ModelPixelScale"]
    assert (x * width, y * height) == (240, 320)  # the same ground
    assert told["ModelTiepoint"][3:5] == [500000, 5400000]
    with tifffile.TiffFile(source) as file:
        assert file.geotiff_metadata["ProjectedCSTypeGeoKey"] == 32632


def test_nodata_is_told_as_gdal_does(tmp_path: Path) -> None:
    pixels = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
    pixels[0, 0] = -9999
    source = geotiff(tmp_path / "a.tif", pixels)
    ranges = ["data.range.source=[0, 1]", "data.range.target=[0, 1]", "data.nodata=-9999"]
    run = translator(*ranges, "data.type.target=float32")
    translate_file(run, source, tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert float(file.pages[0].tags[42113].value) == -9999
        assert file.asarray()[0, 0] == -9999


@pytest.mark.parametrize("kind", ["png", "tif", "jpg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_resolution_is_carried(tmp_path: Path, kind: str, bits: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{kind}", dpi=(300, 300))
    run = translator(f"data.type.target=uint{bits}")
    for size, expected in (("original", 300), ("40x60", 600)):
        translate_file(run, tmp_path / f"a.{kind}", tmp_path / "b.png", size=size)
        with Image.open(tmp_path / "b.png") as image:
            assert image.info["dpi"] == pytest.approx((expected, expected), rel=1e-3)
            image.load()
        translate_file(run, tmp_path / f"a.{kind}", tmp_path / "b.tif", size=size)
        told = carried_from(tmp_path / "b.tif").resolution
        assert told is not None
        assert told[:2] == pytest.approx((expected, expected), rel=1e-3)
        assert told[2] == "INCH"


def test_what_is_damaged_or_lacks_decides_nothing(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "plain.png")
    assert carried_from(tmp_path / "plain.png") == NOTHING
    (tmp_path / "no.tif").write_bytes(b"II*\0 no")
    assert carried_from(tmp_path / "no.tif") == NOTHING
    lacking = [tag for tag in GEOGRAPHIC if tag[0] != 34735]
    tifffile.imwrite(tmp_path / "half.tif", np.zeros((8, 8), np.uint8), extratags=lacking)
    assert not carried_from(tmp_path / "half.tif").geographic
    turned = [*GEOGRAPHIC, (274, 3, 1, 6, True)]
    tifffile.imwrite(tmp_path / "turned.tif", np.zeros((8, 8), np.uint8), extratags=turned)
    assert not carried_from(tmp_path / "turned.tif").geographic


def test_colours_in_tiff_are_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=GEOGRAPHIC)
    run = Translator(Same(), replace(translator().config, {"data.channels": 3}))
    translate_file(run, tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.RGB
        assert (file.asarray() == pixels).all()
