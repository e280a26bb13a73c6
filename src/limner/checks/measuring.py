"""What is measured of the files of a pair, with one look at each: all that the checks go by."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from limner.checks import quality
from limner.checks.fingerprints import Keypoints, keypoints, shrunk, whole
from limner.checks.regions import NONE, Regions, purity, regions
from limner.data import Pair
from limner.data.decode import FILE_BYTES, decode_ids, is_lossy, palette_of
from limner.data.pairs import Half
from limner.errors import DataError, FileError
from limner.files import check_file, sha256

VERSION = 3  # of what is measured: raise it whenever that changes, so that caches are not believed
_TIFF = (b"II", b"MM")
_BINS = 16
_FEW = 40  # values up to which an image is a drawing or a label map, whose details are no measure
_EMPTY_POINTS = Keypoints(np.zeros((0, 3), np.float16), np.zeros((0, 20), np.int8))


@dataclass
class ImageFeatures:
    """What was measured of an image, a file or one half of it.

    `problem` is "", or one of `unreadable`, `truncated`, `empty`; then `reason` says more and the
    rest is as it stands here. Sizes are in pixels. `grey`: whether several channels are equal.
    `content`: the SHA-256 of the decoded samples. `low`, `high`: the smallest and the largest
    sample; `dark`, `bright`: the percentiles 1 and 99; `span`: the widest channel's range as a
    share of the type's; `limit`: the largest number of the type, 0 for those without a range of
    their own. `quality`, `sure`: see `quality.quantisation`; `enlarged`, `copies`: see
    `quality.enlargement`. `colour`: the mean red, green and blue, 0 to 1; `tones`: a histogram;
    `tiny`: 8 x 8 x 3 levels; `small`: see `fingerprints.whole`; `places`, `codes`: its keypoints;
    `values`, `objects`, `ramps`, `ragged`: see `regions`; `palette`: index, red, green, blue.
    """

    problem: str = ""
    reason: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    limit: float = 0.0
    frames: int = 1
    profile: str = ""
    lossy: bool = False
    indexed: bool = False
    grey: bool = False
    content: str = ""
    low: float = 0.0
    high: float = 0.0
    dark: float = 0.0
    bright: float = 0.0
    span: float = 1.0
    contrast: float = 0.0
    sharpness: float = float("nan")
    quality: float = 100.0
    sure: float = 0.0
    copies: float = 0.0
    enlarged: float = 1.0
    colour: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32))
    tones: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.float32))
    tiny: np.ndarray = field(default_factory=lambda: np.zeros((8, 8, 3), np.uint8))
    small: np.ndarray = field(default_factory=lambda: np.zeros(143, np.float16))
    places: np.ndarray = field(default_factory=lambda: _EMPTY_POINTS.places)
    codes: np.ndarray = field(default_factory=lambda: _EMPTY_POINTS.codes)
    values: np.ndarray = field(default_factory=lambda: NONE.values)
    palette: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.int32))
    objects: np.ndarray = field(default_factory=lambda: NONE.objects)
    ramps: float = 0.0
    ragged: float = 0.0


@dataclass
class PairFeatures:
    """What was measured of a pair; `instance` is None where it has no map of instances.

    `digests` are those of its files' bytes, of source and target; `purity` how far each instance
    lies in one label (see `regions.purity`).
    """

    source: ImageFeatures
    target: ImageFeatures
    instance: ImageFeatures | None
    digests: tuple[str, str]
    purity: float = 1.0


def measure_pair(pair: Pair) -> PairFeatures:
    """Read the files of a pair, each once, and measure all that the checks need.

    A file that cannot be read is no error: what is wrong is among its features.
    """
    source, codes = _measure(pair.source, pair.source_half)
    if pair.source_half is None and pair.target != pair.source:
        target, _ = _measure(pair.target, None)
    else:
        target, _ = _measure(pair.target, pair.target_half)
    digests = (_digest(pair.source, source), _digest(pair.target, target))
    if pair.instance is None:
        return PairFeatures(source, target, None, digests)
    instance, ids = _measure(pair.instance, None, plain=True)
    share = 1.0 if codes is None or ids is None else purity(codes, ids)
    return PairFeatures(source, target, instance, digests, share)


def _digest(path: Path, found: ImageFeatures) -> str:
    """Return the SHA-256 of a file that could be read; "" of others, be they endless."""
    try:
        return "" if found.problem else sha256(path)
    except (FileError, OSError):
        return ""


def _measure(
    path: Path, half: Half | None, *, plain: bool = False
) -> tuple[ImageFeatures, np.ndarray | None]:
    """Return an image's features, and its ids or colours where it may be a label map."""
    found = ImageFeatures()
    try:
        check_file(path, at_most=FILE_BYTES, error=DataError)
        if path.stat().st_size == 0:
            found.problem, found.reason = "empty", "it holds no byte"
            return found, None
        image = decode_ids(path).numpy()
        palette = palette_of(path)
        found.lossy = is_lossy(path)
    except (DataError, OSError) as error:
        found.problem = "truncated" if cut_short(path) else "unreadable"
        found.reason = " ".join(str(error).split()).removeprefix(f"{path} ")
        _container(path, found)
        return found, None
    _container(path, found)
    found.indexed = palette is not None
    if half is not None:
        if image.shape[2] % 2:
            found.problem = "unreadable"
            found.reason = (
                f"is {image.shape[2]}x{image.shape[1]}: side-by-side pairs need an even width"
            )
            return found, None
        middle = image.shape[2] // 2
        image = image[:, :, :middle] if half == "left" else image[:, :, middle:]
    codes = _codes(image, found)
    if plain:  # a map of instances: its numbers are names
        found.channels, found.height, found.width = image.shape
        return found, codes
    if palette is not None:
        used = np.unique(image)
        inside = used[used < len(palette)]
        found.palette = np.column_stack([inside, palette[inside]]).astype(np.int32)
        found.palette = found.palette[:256]
        image = palette[np.minimum(image[0], len(palette) - 1)].transpose(2, 0, 1)
    grey = _of_samples(image, found)
    _of_regions(codes, found)
    if not 0 < len(found.values) <= _FEW:  # of label maps none of these means anything
        centre = quality.middle(grey)
        found.sharpness = quality.sharpness(centre)
        found.quality, found.sure = quality.quantisation(centre)
        found.enlarged, found.copies = quality.enlargement(centre)
        found.places, found.codes = keypoints(grey)
    return found, codes


def _codes(image: np.ndarray, found: ImageFeatures) -> np.ndarray | None:
    """Return one whole number a pixel: an id, or a colour; None where samples are no such."""
    if image.dtype.kind == "f":
        return image[0].astype(np.int64) if bool((image[0] == np.rint(image[0])).all()) else None
    if len(image) <= 2:
        return image[0].astype(np.int64)
    red, green, blue = (channel.astype(np.int64) for channel in image[:3])
    if bool((red == green).all()) and bool((red == blue).all()):
        found.grey = True
        return red
    return (red << 16) + (green << 8) + blue if image.dtype == np.uint8 else None


def _of_samples(image: np.ndarray, found: ImageFeatures) -> np.ndarray:
    """Measure a picture C x H x W of any type; returns its luma."""
    found.channels, found.height, found.width = image.shape
    found.dtype = image.dtype.name
    found.limit = float({"uint8": 255, "uint16": 65535}.get(found.dtype, 0))
    found.content = hashlib.sha256(
        repr((image.shape, found.dtype)).encode() + np.ascontiguousarray(image).tobytes()
    ).hexdigest()[:32]
    colours = image[: 3 if len(image) >= 3 else 1]
    finite = colours if colours.dtype.kind != "f" else colours[np.isfinite(colours)]
    if finite.size:
        found.low, found.high = float(finite.min()), float(finite.max())
        flat = finite.ravel()[:: max(1, finite.size // 65536)]
        found.dark, found.bright = (float(value) for value in np.percentile(flat, (1, 99)))
        wide = colours.reshape(len(colours), -1)
        ranges = wide.max(axis=1).astype(np.float64) - wide.min(axis=1).astype(np.float64)
        whole_range = found.limit or max(abs(found.low), abs(found.high), 1.0)
        found.span = float(np.nan_to_num(ranges.max() / whole_range, nan=1.0))
    grey = to_grey(colours, found)
    found.contrast = float(grey.std())
    span = found.limit or max(found.high - found.low, 1e-9)
    planes = colours if len(colours) == 3 else np.repeat(colours, 3, axis=0)
    tiny = np.stack([shrunk(np.nan_to_num(plane.astype(np.float32)), 8, 8) for plane in planes], -1)
    tiny = tiny if found.limit else tiny - found.low
    found.tiny = (tiny / span * 255).clip(0, 255).astype(np.uint8)
    found.colour = found.tiny.reshape(-1, 3).mean(axis=0).astype(np.float32) / 255
    tones, _ = np.histogram(grey, bins=_BINS, range=(0, 255))
    found.tones = (tones / max(1, tones.sum())).astype(np.float32)
    found.small = whole(grey)
    return grey


def to_grey(colours: np.ndarray, found: ImageFeatures) -> np.ndarray:
    """Return a picture's luma, H x W float32, 0 to 255: 8 bits as they are, other types between
    their darkest and brightest percent, so that a sliver of a range is seen as well as all of it.
    """
    values = np.nan_to_num(colours.astype(np.float32))
    if len(values) == 3:
        values = 0.299 * values[0] + 0.587 * values[1] + 0.114 * values[2]
    else:
        values = values[0]
    if found.dtype == "uint8":
        return values
    span = max(found.bright - found.dark, 1e-9)
    return ((values - found.dark) / span * 255).clip(-64, 320).astype(np.float32)


def _of_regions(codes: np.ndarray | None, found: ImageFeatures) -> None:
    """Measure what may be a label map; what plainly is a picture is left alone."""
    if codes is None:
        return
    some = codes.ravel()[:: max(1, codes.size // 4096)]
    if len(np.unique(some)) > 700:
        return
    measured: Regions = regions(codes)
    found.values, found.objects = measured.values, measured.objects
    found.ramps, found.ragged = measured.ramps, measured.ragged


def _container(path: Path, found: ImageFeatures) -> None:
    """Read what stands beside the pixels: frames and the colour profile."""
    try:
        check_file(path, at_most=FILE_BYTES)
        with path.open("rb") as file:
            start = file.read(4)
        if start[:2] in _TIFF:
            import tifffile

            with tifffile.TiffFile(path) as tiff:
                found.frames = max(len(tiff.series), len(tiff.pages))
                tag = tiff.pages[0].tags.get(34675)  # pyright: ignore[reportAttributeAccessIssue]
                found.profile = _profile(None if tag is None else tag.value)
            return
        with Image.open(path) as image:
            found.frames = int(getattr(image, "n_frames", 1))
            found.profile = _profile(image.info.get("icc_profile"))
    except Exception:  # what is damaged here is told by the pixels' own reader
        return


def _profile(data: bytes | None) -> str:
    if not data:
        return ""
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(data))).strip()
    except Exception:
        return "damaged"


def cut_short(path: Path) -> bool:
    """Say whether a file ends before its own format says that it should."""
    try:
        check_file(path, at_most=FILE_BYTES)
        with path.open("rb") as file:
            start = file.read(16)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4096))
            end = file.read()
    except (FileError, OSError):
        return False
    if start.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in end
    if start.startswith(b"\x89PNG"):
        return b"IEND" not in end[-64:]
    if start[:4] == b"RIFF":
        return int.from_bytes(start[4:8], "little") + 8 > size
    if start[:2] == b"BM":
        return int.from_bytes(start[2:6], "little") > size
    if start[:2] in _TIFF:
        return _tiff_cut_short(path, size)
    return False


def _tiff_cut_short(path: Path, size: int) -> bool:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page: Any = tiff.pages[0]
            ends = zip(page.dataoffsets, page.databytecounts, strict=False)
            return any(offset + count > size for offset, count in ends)
    except Exception:
        return size < 1024  # not even the directory is there
