"""Where a picture lies and how large its pixels are: tags that go from a source to its translation.

A TIFF's georeference (OGC GeoTIFF 1.1) and the resolution of TIFF, PNG and JPEG are carried,
adjusted to the translation's size. They are copied as they are read, with bounds on their length,
and never interpreted beyond the numbers of scale and place.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile
from PIL import Image

_SCALE, _TIEPOINTS, _MATRIX = 33550, 33922, 34264
_KEYS, _NUMBERS, _TEXTS = 34735, 34736, 34737  # the directory of geographic keys, and its values
# TIFF 6.0's types of these: double, short, ASCII.
_TYPES = {_SCALE: 12, _TIEPOINTS: 12, _MATRIX: 12, _KEYS: 3, _NUMBERS: 12, _TEXTS: 2}
_GDAL_NODATA = 42113
_LONGEST = 2**16  # values of a tag
_PNG_HEADER = 33  # bytes of a PNG's signature and its first chunk
_UNITS = {1: None, 2: "INCH", 3: "CENTIMETER"}  # tag 296


@dataclass(frozen=True)
class Carried:
    """What a source tells of its place; empty where it tells none.

    `geographic` holds TIFF tags by their numbers, `resolution` pixels a unit across and down with
    the unit's name in TIFF, `nodata` the value that stands for none.
    """

    geographic: dict[int, Any]
    resolution: tuple[float, float, str] | None = None
    nodata: float | str | None = None

    def resized(self, source: tuple[int, int], result: tuple[int, int]) -> Carried:
        """Return the same for a picture of another (height, width) of the same place."""
        down, across = (new / old for new, old in zip(result, source, strict=True))
        tags = dict(self.geographic)
        if _SCALE in tags:
            x, y, *rest = tags[_SCALE]
            tags[_SCALE] = (x / across, y / down, *rest)
        if _TIEPOINTS in tags:
            points = list(tags[_TIEPOINTS])
            for place in range(0, len(points) - 5, 6):  # column, row, level, then where that lies
                points[place] *= across
                points[place + 1] *= down
            tags[_TIEPOINTS] = tuple(points)
        if len(tags.get(_MATRIX, ())) == 16:
            matrix = list(tags[_MATRIX])
            for row in range(0, 12, 4):
                matrix[row] /= across
                matrix[row + 1] /= down
            tags[_MATRIX] = tuple(matrix)
        resolution = self.resolution
        if resolution is not None:
            resolution = (resolution[0] * across, resolution[1] * down, resolution[2])
        return Carried(tags, resolution, self.nodata)

    @property
    def for_tiff(self) -> dict[str, Any]:
        """The keywords of `tifffile.imwrite`."""
        extra = [
            (code, _TYPES[code], 0 if isinstance(value, str) else len(value), value, True)
            for code, value in self.geographic.items()
        ]
        if self.nodata is not None:
            value = self.nodata if isinstance(self.nodata, str) else f"{self.nodata:.17g}"
            extra.append((_GDAL_NODATA, 2, 0, value, True))
        keywords: dict[str, Any] = {"extratags": extra} if extra else {}
        if self.resolution is not None:
            keywords |= {"resolution": self.resolution[:2], "resolutionunit": self.resolution[2]}
        return keywords

    def in_png(self, content: bytes) -> bytes:
        """Return the bytes of a PNG with the resolution in its chunk pHYs, pixels a metre."""
        if self.resolution is None:
            return content
        unit = 100 if self.resolution[2] == "CENTIMETER" else 1 / 0.0254
        across, down = (min(round(one * unit), 2**31 - 1) for one in self.resolution[:2])
        chunk = b"pHYs" + struct.pack(">IIB", across, down, 1)
        chunk = struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return content[:_PNG_HEADER] + chunk + content[_PNG_HEADER:]


NOTHING = Carried({})


def carried_from(path: Path) -> Carried:
    """Return what a picture file tells of its place; `NOTHING` where that is damaged or lacks."""
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as file:
                return _of_tiff(file.pages[0].tags)  # pyright: ignore[reportAttributeAccessIssue]
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            across, down = (float(dots) for dots in image.info["dpi"])
            return Carried({}, (across, down, "INCH") if across > 0 and down > 0 else None)
    except Exception:
        # Pixels were read; what stands beside them may be anything, and decides nothing.
        return NOTHING


def georeferenced(paths: Sequence[Path]) -> bool:
    """Tell whether any of some pictures says where on Earth it lies, which PNG cannot hold."""
    return any(carried_from(path).geographic for path in paths)


def _of_tiff(tags: tifffile.TiffTags) -> Carried:
    geographic: dict[int, Any] = {}
    for code in _TYPES:
        tag = tags.get(code)
        if tag is not None and 0 < tag.count <= _LONGEST:
            value = tag.value
            geographic[code] = value if isinstance(value, str) else tuple(value)
    matrix, points = geographic.get(_MATRIX, ()), geographic.get(_TIEPOINTS, ())
    placed = len(matrix) == 16 or (len(geographic.get(_SCALE, ())) >= 2 and len(points) >= 6)
    turned = tags.valueof(274, 1) != 1  # decoded upright, where tiepoints would lie elsewhere
    if turned or not placed or _KEYS not in geographic:
        geographic = {}
    unit = _UNITS.get(int(tags.valueof(296, 2)))
    x, y = tags.valueof(282), tags.valueof(283)
    if unit is None or x is None or y is None or not all((*x, *y)):
        return Carried(geographic)
    return Carried(geographic, (x[0] / x[1], y[0] / y[1], unit))
