"""TIFF files by their tags: which can be used, their axes, their palette, how they are turned."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from limner.errors import DataError

# A damaged file is reported by one DataError; without a handler tifffile's remarks on it would
# reach stderr through logging's last resort.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# TIFF 6.0, tag 262.
MINISWHITE, _MINISBLACK, _RGB, PALETTE, _YCBCR = 0, 1, 2, 3, 6
JPEG = (6, 7)  # tag 259: with these, YCbCr is the codec's affair and RGB comes out


def widened(pixels: np.ndarray) -> np.ndarray:
    """Return samples in a type that tensors compute with, in the machine's order of bytes."""
    kind = pixels.dtype.kind, pixels.dtype.itemsize
    wider = {("i", 1): np.int16, ("u", 4): np.int64, ("f", 2): np.float32}
    return pixels.astype(wider.get(kind, pixels.dtype.newbyteorder("=")), copy=False)


@contextlib.contextmanager
def opened_tiff(path: Path) -> Iterator[tuple[tifffile.TiffPageSeries, tifffile.TiffPage]]:
    """Open a TIFF and check that its first image is of a kind that can be used."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        page = series.keyframe
        ends = [
            offset + count
            for each in series.pages
            if each is not None
            for offset, count in zip(each.dataoffsets, each.databytecounts, strict=True)
        ]
        # JPEG strips that end early would decode to grey without a word.
        if max(ends, default=0) > path.stat().st_size:
            raise ValueError(f"{max(ends)} bytes expected, {path.stat().st_size} found")
        _check_tiff(page, path)
        yield series, page


def _check_tiff(page: tifffile.TiffPage, path: Path) -> None:
    dtype, bits = page.dtype, page.bitspersample
    if dtype is None or dtype.kind not in "buif" or (dtype.kind in "ui" and bits > 32):
        raise DataError(
            f"{path} holds {dtype} samples: save it with integers of at most 32 bits or with "
            "floating point numbers"
        )
    if page.photometric == PALETTE and bits <= 8:
        return
    if bits not in (1, 8, 16, 32, 64):
        raise DataError(f"{path} has {bits} bits a sample: save it with 8, 16 or 32")
    if page.photometric == MINISWHITE and dtype.kind not in "bu":
        raise DataError(f"{path} counts from white in signed numbers: save it with black as 0")
    grey_or_rgb = page.photometric in (MINISWHITE, _MINISBLACK, _RGB)
    if not grey_or_rgb and not (page.photometric == _YCBCR and page.compression in JPEG):
        name = getattr(page.photometric, "name", page.photometric)
        raise DataError(f"{path} is a {name} image: convert it to RGB or to grey first")


def height_width_channels(
    series: tifffile.TiffPageSeries, path: Path
) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    """Return the order that brings a series to H, W, C, and its shape in that order.

    Axes are tifffile's letters. An array of H x W x C that was written without a word on its axes
    (`tifffile.imwrite(path, array)`) calls its first axis Q, unknown, though it is the height: the
    channels are then the shorter one of the first and the last axis.
    """
    axes, shape = series.axes, series.shape
    others = [i for i, axis in enumerate(axes) if axis not in "YX"]
    if "Y" not in axes or "X" not in axes or len(others) > 1:
        size = " x ".join(f"{axis}:{n}" for axis, n in zip(axes, shape, strict=True))
        raise DataError(
            f"{path} is a stack ({size}): save one image of height x width x channels a file"
        )
    if not others:
        order = (axes.index("Y"), axes.index("X"))
        return order, (shape[order[0]], shape[order[1]], 1)
    if axes == "QYX" and shape[2] < shape[0]:
        order = (0, 1, 2)
    else:
        order = (axes.index("Y"), axes.index("X"), others[0])
    return order, (shape[order[0]], shape[order[1]], shape[order[2]])


def meant(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Return H x W x C samples as they are meant: palettes and bits spread, white not counted."""
    if page.photometric == PALETTE:
        pixels = palette_colours(page.colormap)[pixels[..., 0]]
    elif pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if page.photometric == MINISWHITE:
        pixels = np.iinfo(pixels.dtype).max - pixels
    return widened(pixels)


def palette_colours(colormap: np.ndarray | None) -> np.ndarray:
    """Return a palette as N x 3 uint8; TIFF's own is 3 x N with 16 bits."""
    if colormap is None:
        raise ValueError("a palette image without its palette")
    # Some writers leave 8 bit values in the 16 bit fields.
    shift = 8 if colormap.max() > 255 else 0
    return (colormap.T >> shift).astype(np.uint8)


def tiff_orientation(page: tifffile.TiffPage) -> int:
    """Return how a page is turned: 1 to 8, as EXIF counts."""
    tag = page.tags.get(274)
    value = tag.value if tag is not None else 1
    return int(value) if value in range(1, 9) else 1
