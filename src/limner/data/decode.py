"""Image files become tensors with the channels and the depth that the file has."""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from limner.data.tiff import (
    JPEG,
    PALETTE,
    height_width_channels,
    meant,
    opened_tiff,
    palette_colours,
    tiff_orientation,
    widened,
)
from limner.errors import DataError
from limner.files import check_file

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".dib"}
)
# What a file claims to unfold to is looked at before it is believed.
PIXELS = 178_956_970  # Pillow's own bound
SAMPLES = 2**30
FILE_BYTES = 2**34  # eight bytes a sample, and as many beside them
WINDOWED = 2**34  # pixels of a TIFF that is read by windows alone: 131,072 x 131,072

logger = logging.getLogger(__name__)
# Pillow warns of damaged EXIF and reads what it can: only pixels decide.
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)

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


class Header(NamedTuple):
    """What a file says of its pixels before any is decoded; sizes as seen after orientation."""

    channels: int
    height: int
    width: int
    dtype: torch.dtype = torch.uint8

    @property
    def bits(self) -> int:
        """Bits of a sample as it is decoded."""
        return 8 * self.dtype.itemsize


def decode(path: Path) -> Tensor:
    """Decode an image file to a C x H x W tensor of the file's type of samples.

    uint8 and uint16 stay so, and so do int16, int32, float32 and float64; int8 comes as int16,
    unsigned integers of 32 bits as int64, float16 as float32.

    Channels are the file's own: grey 1, grey with alpha 2, RGB 3, RGBA 4, TIFF any number. A
    palette is expanded to RGB (RGBA where it has transparency), one bit to 0 and 255; a colour key
    (PNG's tRNS in a grey or RGB image) is ignored. EXIF and TIFF orientation are applied.

    Raises `DataError`, naming the file and the cure, for what is missing, damaged, truncated or of
    another kind (CMYK), and for more than `PIXELS` pixels or `SAMPLES` samples.
    """
    with named(path):
        kind = _kind(path)
        if kind == "tiff":
            pixels, orientation = _tiff_pixels(path)
        elif kind == "png16":
            import imagecodecs

            channels = _bounded(_png16_header(path), path).channels
            # libpng turns a colour key into an alpha channel, which the file itself has not.
            pixels = imagecodecs.png_decode(path.read_bytes())
            pixels = pixels.reshape(*pixels.shape[:2], -1)[..., :channels]
            orientation = _png_orientation(path)
        else:
            with _pillow(path) as image:
                mode, channels = _mode(image, path)
                _bounded(Header(channels, image.height, image.width), path)
                orientation = _pillow_orientation(image, path)
                pixels = np.array(image if image.mode == mode else image.convert(mode))
            pixels = pixels.reshape(*pixels.shape[:2], channels)
        upright = orient(pixels, orientation)
        return torch.from_numpy(np.ascontiguousarray(upright.transpose(2, 0, 1)))


def decode_ids(path: Path) -> Tensor:
    """Decode as `decode` does, but to the numbers that the file holds rather than its colours.

    A palette gives its indices (1 channel), a grey PNG or BMP of 1, 2 or 4 bits its own values.
    """
    with named(path):
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


def probe(path: Path, *, windows: bool = False) -> Header:
    """Read channels, height, width and bits a sample from a file's header; no pixel is decoded.

    The same errors as `decode`, as far as the header shows them. A TIFF of which only `windows`
    are decoded may have more pixels.
    """
    with named(path):
        kind = _kind(path)
        if kind == "tiff":
            read, orientation = _tiff_header(path)
        elif kind == "png16":
            read, orientation = _png16_header(path), _png_orientation(path)
        else:
            with _pillow(path) as image:
                _, channels = _mode(image, path)
                read = Header(channels, image.height, image.width)
                orientation = _pillow_orientation(image, path)
        if orientation >= 5:  # 5 to 8 turn the image by a quarter
            read = read._replace(height=read.width, width=read.height)
        return _bounded(read, path, pixels=WINDOWED if windows and kind == "tiff" else PIXELS)


def header(path: Path, *, windows: bool = False) -> tuple[int, int, int]:
    """Read (channels, height, width) of an image file as `probe` does."""
    read = probe(path, windows=windows)
    return read.channels, read.height, read.width


def stored_channels(path: Path) -> int:
    """Return the channels that `decode_ids` gives, from the header: a palette's indices are one."""
    return 1 if palette_of(path) is not None else probe(path).channels


def palette_of(path: Path) -> np.ndarray | None:
    """Return the colours that a file's indices stand for, N x 3 uint8; None without a palette."""
    with named(path):
        kind = _kind(path)
        if kind == "tiff":
            with opened_tiff(path) as (_, page):
                return palette_colours(page.colormap) if page.photometric == PALETTE else None
        if kind == "pillow":
            with _pillow(path) as image:
                colours = image.getpalette("RGB") if image.mode == "P" else None
                return None if colours is None else np.array(colours, np.uint8).reshape(-1, 3)
        return None


def is_lossy(path: Path) -> bool:
    """Tell from a file's first bytes whether its codec changes values: JPEG, and WebP's lossy form.

    A TIFF whose strips are JPEG counts too.
    """
    with named(path):
        if _kind(path) == "tiff":
            with opened_tiff(path) as (_, page):
                return page.compression in JPEG
        with path.open("rb") as file:
            start = file.read(16)
        return start.startswith(b"\xff\xd8") or start[8:16] == b"WEBPVP8 "


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
def named(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on bad bytes into a `DataError` that names the file.

    What is no ordinary file (a pipe, a device) is refused before it is opened.
    """
    try:
        check_file(path, at_most=FILE_BYTES, error=DataError)
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


def _bounded(read: Header, path: Path, *, pixels: int = PIXELS) -> Header:
    claimed = read.height * read.width
    samples = SAMPLES * (pixels // PIXELS)
    if claimed > pixels or claimed * read.channels > samples:
        cure = "cut it into tiles" if pixels == PIXELS else "cut it into several pictures"
        raise DataError(
            f"{path} claims {read.width}x{read.height} pixels of {read.channels} channels, more "
            f"than the {pixels:,} pixels or {samples:,} samples that are read of one file: {cure}"
        )
    return read


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
    """Open an image whose pixels Pillow decodes.

    Only pixels decide: where what stands beside them (EXIF, text, a profile) is damaged so that
    the file cannot be opened, it is opened without.
    """
    formats = ("JPEG", "PNG", "WEBP", "BMP")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # see `_bounded`
            return Image.open(path, formats=formats)
    except Image.DecompressionBombError:
        raise
    except Exception:
        content = _without_metadata(path)
        if content is None:
            raise
        image = Image.open(io.BytesIO(content), formats=formats)
        logger.warning("%s: its metadata is damaged; only its pixels are read", path)
        return image


def _without_metadata(path: Path) -> bytes | None:
    """Return a PNG or WebP with its pixels alone; None where there is nothing to leave out."""
    with path.open("rb") as file:
        start = file.read(12)
    if not start.startswith(_PNG) and start[:4] + start[8:] != b"RIFFWEBP":
        return None
    data = path.read_bytes()
    if data.startswith(_PNG):
        parts, place, wanted = [_PNG], len(_PNG), (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
        while place + 8 <= len(data):
            length, kind = struct.unpack(">I4s", data[place : place + 8])
            if kind in wanted:
                parts.append(data[place : place + 12 + length])
            place += 12 + length
    else:
        parts, place, wanted = [], 12, (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
        while place + 8 <= len(data):
            kind, length = struct.unpack("<4sI", data[place : place + 8])
            chunk = bytearray(data[place : place + 8 + length + length % 2])
            if kind == b"VP8X" and len(chunk) > 8:
                chunk[8] &= ~0b101100  # no profile, EXIF or XMP any more
            if kind in wanted:
                parts.append(bytes(chunk))
            place += 8 + length + length % 2
        body = b"WEBP" + b"".join(parts)
        parts = [b"RIFF", struct.pack("<I", len(body)), body]
    stripped = b"".join(parts)
    return stripped if len(stripped) < len(data) else None


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
    return _exif_orientation(image.getexif, path)


def _exif_orientation(read: Callable[[], Image.Exif], path: Path) -> int:
    """Return the orientation that EXIF tells; damaged EXIF tells none."""
    try:
        return _valid(read().get(_ORIENTATION, 1))
    except Exception as error:
        logger.warning("%s: its EXIF is damaged (%s) and left out", path, _one_line(error))
        return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _png16_header(path: Path) -> Header:
    with path.open("rb") as file:
        start = file.read(26)
    width, height, _, colour = struct.unpack(">IIBB", start[16:26])
    return Header(_PNG_CHANNELS[colour], height, width, torch.uint16)


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
                exif, data = Image.Exif(), file.read(length)

                def read() -> Image.Exif:
                    exif.load(data)  # noqa: B023 - called at once
                    return exif  # noqa: B023

                return _exif_orientation(read, path)
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
    with opened_tiff(path) as (series, page):
        shape = height_width_channels(series, path)[1]
        channels = 3 if page.photometric == PALETTE else shape[2]
        if page.photometric == PALETTE or page.bitspersample < 8 or page.dtype is None:
            return Header(channels, shape[0], shape[1]), tiff_orientation(page)
        dtype = torch.from_numpy(widened(np.empty(0, page.dtype))).dtype
        return Header(channels, shape[0], shape[1], dtype), tiff_orientation(page)


def _tiff_pixels(path: Path) -> tuple[np.ndarray, int]:
    """Return H x W x C pixels and the orientation of a TIFF's first image."""
    with opened_tiff(path) as (series, page):
        order, shape = height_width_channels(series, path)
        _bounded(Header(shape[2], shape[0], shape[1]), path)
        pixels = series.asarray().transpose(order).reshape(shape)
        return meant(pixels, page), tiff_orientation(page)
