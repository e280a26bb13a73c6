"""Image files become tensors with the channels and the depth that the file has."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import tifffile
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from limner.errors import DataError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# PNG colour type: channels. Type 3 (palette) has no 16 bit form, so it is Pillow's to expand.
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
# Pillow's mode: the mode whose samples we hand on, and its channels.
_MODES = {
    "1": ("L", 1),
    "L": ("L", 1),
    "LA": ("LA", 2),
    "RGB": ("RGB", 3),
    "RGBX": ("RGB", 3),
    "RGBA": ("RGBA", 4),
}
_ORIENTATION = 0x0112  # the EXIF and TIFF tag

# A damaged file is reported by one DataError; without a handler tifffile's remarks on it would
# reach stderr through logging's last resort.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# TIFF 6.0, tag 262.
_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG = (6, 7)  # tag 259: with these, YCbCr is the codec's affair and RGB comes out


class Header(NamedTuple):
    """What a file says of its pixels before any is decoded; sizes as seen after orientation."""

    channels: int
    height: int
    width: int
    bits: int


def decode(path: Path) -> Tensor:
    """Decode an image file to a C x H x W tensor, uint8 or uint16 as the file is.

    Channels are the file's own: grey 1, grey with alpha 2, RGB 3, RGBA 4, TIFF any number. A
    palette is expanded to RGB (RGBA where it has transparency), one bit to 0 and 255; a colour key
    (PNG's tRNS in a grey or RGB image) is ignored. EXIF and TIFF orientation are applied.

    Raises `DataError`, naming the file and the cure, for what is missing, damaged, truncated or of
    another kind (CMYK, floating point).
    """
    with _named(path):
        kind = _kind(path)
        if kind == "tiff":
            pixels, orientation = _tiff_pixels(path)
        elif kind == "png16":
            import imagecodecs

            channels = _png16_header(path).channels
            # libpng turns a colour key into an alpha channel, which the file itself has not.
            pixels = imagecodecs.png_decode(path.read_bytes())
            pixels = pixels.reshape(*pixels.shape[:2], -1)[..., :channels]
            orientation = _png_orientation(path)
        else:
            with _pillow(path) as image:
                mode, channels = _mode(image, path)
                orientation = _pillow_orientation(image, path)
                pixels = np.array(image if image.mode == mode else image.convert(mode))
            pixels = pixels.reshape(*pixels.shape[:2], channels)
        upright = orient(pixels, orientation)
        return torch.from_numpy(np.ascontiguousarray(upright.transpose(2, 0, 1)))


def decode_ids(path: Path) -> Tensor:
    """Decode as `decode` does, but to the numbers that the file holds rather than its colours.

    A palette gives its indices (1 channel), a grey PNG or BMP of 1, 2 or 4 bits its own values.
    """
    with _named(path):
        if _kind(path) == "pillow":
            with _pillow(path) as image:
                levels = 2 ** _png_bits(path) - 1 if image.format == "PNG" else 255
                if image.mode in ("P", "1") or (image.mode == "L" and levels < 255):
                    pixels = np.array(image).astype(np.uint8)
                    if image.mode == "L":  # Pillow spreads the values over 0..255
                        pixels //= 255 // levels
                    upright = orient(pixels[..., None], _pillow_orientation(image, path))
                    return torch.from_numpy(np.ascontiguousarray(upright.transpose(2, 0, 1)))
    return decode(path)


def probe(path: Path) -> Header:
    """Read channels, height, width and bits a sample from a file's header; no pixel is decoded.

    The same errors as `decode`, as far as the header shows them.
    """
    with _named(path):
        kind = _kind(path)
        if kind == "tiff":
            found, orientation = _tiff_header(path)
        elif kind == "png16":
            found, orientation = _png16_header(path), _png_orientation(path)
        else:
            with _pillow(path) as image:
                _, channels = _mode(image, path)
                found = Header(channels, image.height, image.width, 8)
                orientation = _pillow_orientation(image, path)
        if orientation >= 5:  # 5 to 8 turn the image by a quarter
            found = found._replace(height=found.width, width=found.height)
        return found


def header(path: Path) -> tuple[int, int, int]:
    """Read (channels, height, width) of an image file without decoding its pixels."""
    found = probe(path)
    return found.channels, found.height, found.width


def orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn H x W x C pixels upright from EXIF `orientation` 1 to 8 (EXIF 2.32, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)  # 5: the transpose; the other three are its mirrors
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on bad bytes into a `DataError` that names the file."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path} is no image that can be read: it must be a sound JPEG, PNG, TIFF, WebP or "
            "BMP file; save it anew as one of these, or remove it"
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} is too large ({_one_line(error)}): cut it into tiles") from error
    except Exception as error:
        # Decoders raise nearly anything on damaged bytes (SyntaxError, struct.error, IndexError,
        # imagecodecs' own), so that no list of types would be complete.
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(
                f"{path} cannot be read ({error.strerror}): check the path and its permissions"
            ) from error
        raise DataError(
            f"{path} is damaged or truncated ({_one_line(error)}): restore it from its source, "
            "or remove it with its pair"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(26)
    if start.startswith(_TIFF):
        return "tiff"
    # Byte 24 is the bit depth. Pillow makes 16 bit RGB(A) silently 8 bit, so it never sees these.
    if start.startswith(_PNG) and len(start) == 26 and start[24] == 16:
        return "png16"
    return "pillow"


def _pillow(path: Path) -> Image.Image:
    return Image.open(path, formats=("JPEG", "PNG", "WEBP", "BMP"))


def _mode(image: Image.Image, path: Path) -> tuple[str, int]:
    if image.mode in ("P", "PA"):
        transparent = image.mode == "PA" or "transparency" in image.info
        return ("RGBA", 4) if transparent else ("RGB", 3)
    if image.mode in _MODES:
        return _MODES[image.mode]
    raise DataError(
        f"{path} is a {image.mode} image, whose colours depend on an ink profile or a scale that "
        "is not known here: convert it to RGB first (e.g. `magick IN -colorspace sRGB OUT.png`)"
    )


def _pillow_orientation(image: Image.Image, path: Path) -> int:
    if image.format == "PNG":
        return _png_orientation(path)
    return _valid(image.getexif().get(_ORIENTATION, 1))


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _png16_header(path: Path) -> Header:
    with path.open("rb") as file:
        start = file.read(26)
    width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
    return Header(_PNG_CHANNELS[colour], height, width, bits)


def _png_bits(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]


def _png_orientation(path: Path) -> int:
    """Return the orientation in a PNG's eXIf chunk, which may stand behind the pixels.

    Pillow would decode all pixels to look there, so the chunks are walked here.
    """
    with path.open("rb") as file:
        file.seek(len(_PNG))
        for kind, length in _png_chunks(file):
            if kind == b"eXIf":
                exif = Image.Exif()
                exif.load(file.read(length))
                return _valid(exif.get(_ORIENTATION, 1))
    return 1


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield (type, length) of every chunk, the file standing at the chunk's data."""
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        data = file.tell()
        yield kind, length
        file.seek(data + length + 4)  # the data and its checksum


def _tiff_header(path: Path) -> tuple[Header, int]:
    """Return the header (before orientation) and the orientation of a TIFF's first image."""
    with _opened_tiff(path) as (series, page):
        shape = _height_width_channels(series, path)[1]
        channels = 3 if page.photometric == _PALETTE else shape[2]
        bits = 16 if page.bitspersample == 16 else 8
        return Header(channels, shape[0], shape[1], bits), _tiff_orientation(page)


def _tiff_pixels(path: Path) -> tuple[np.ndarray, int]:
    """Return H x W x C pixels, uint8 or uint16, and the orientation of a TIFF's first image."""
    with _opened_tiff(path) as (series, page):
        order, shape = _height_width_channels(series, path)
        pixels = series.asarray().transpose(order).reshape(shape)
        if page.photometric == _PALETTE:
            pixels = _palette(page.colormap)[pixels[..., 0]]
        elif pixels.dtype == np.bool_:
            pixels = pixels.astype(np.uint8) * 255
        if page.photometric == _MINISWHITE:
            pixels = np.iinfo(pixels.dtype).max - pixels
        return pixels, _tiff_orientation(page)


@contextlib.contextmanager
def _opened_tiff(path: Path) -> Iterator[tuple[tifffile.TiffPageSeries, tifffile.TiffPage]]:
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
    if dtype is None or dtype.kind not in "bu" or bits > 16:
        raise DataError(
            f"{path} holds {dtype} samples, which have no fixed range: save it with 8 or 16 bit "
            "unsigned samples"
        )
    if page.photometric == _PALETTE and bits <= 8:
        return
    if bits not in (1, 8, 16):
        raise DataError(f"{path} has {bits} bits a sample: save it with 8 or 16")
    grey_or_rgb = page.photometric in (_MINISWHITE, _MINISBLACK, _RGB)
    if not grey_or_rgb and not (page.photometric == _YCBCR and page.compression in _JPEG):
        name = getattr(page.photometric, "name", page.photometric)
        raise DataError(f"{path} is a {name} image: convert it to RGB or to grey first")


def _height_width_channels(
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


def _palette(colormap: np.ndarray | None) -> np.ndarray:
    """Return a palette as N x 3 uint8; TIFF's own is 3 x N with 16 bits."""
    if colormap is None:
        raise ValueError("a palette image without its palette")
    # Some writers leave 8 bit values in the 16 bit fields.
    shift = 8 if colormap.max() > 255 else 0
    return (colormap.T >> shift).astype(np.uint8)


def _tiff_orientation(page: tifffile.TiffPage) -> int:
    tag = page.tags.get(274)
    value = tag.value if tag is not None else 1
    return int(value) if value in range(1, 9) else 1
