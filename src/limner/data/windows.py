"""Windows of pictures too large to decode: the parts of a TIFF that a window touches, no others.

A TIFF of tiles or strips, compressed or not, gives a window at the cost of the tiles and strips
that it touches; of uncompressed strips the rows are read alone. Other formats, whose rows can only
be decoded from the first on, are decoded whole and kept.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tifffile
import torch
from torch import Tensor

from limner.data.decode import Header, decode, decode_ids, named, orient, probe
from limner.data.tiff import height_width_channels, meant, opened_tiff, tiff_orientation
from limner.errors import DataError
from limner.files import check_file

SEGMENT_BYTES = 2**28  # of one tile or strip, decoded
_KEPT_BYTES = 2**26  # of decoded tiles and strips, for the next window

_TILED = "save it as a TIFF in tiles (`vips tiffsave IN OUT.tif --tile --bigtiff`, or `tiffcp -t`)"


class PictureWindows:
    """A picture file open for reading by windows; use it as a context.

    `read` gives what `limner.data.decode` gives of the same place, `read_ids` what `decode_ids`
    does. `most_bytes` is the most that was decoded at once, `in_memory` whether that was all.

    Raises:
        DataError: the file cannot be used, or not by windows; names the file and the cure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: Header = probe(path, windows=True)
        self.most_bytes = 0
        self._stack = contextlib.ExitStack()
        self._planes: list[_Plane] = []
        self._whole: dict[bool, Tensor] = {}
        with named(path):
            if path.stat().st_size and (opened := _opened(path, self._stack)) is not None:
                self._page, self._planes = opened
        self.in_memory = not self._planes
        if self.in_memory and self.header.height * self.header.width:
            try:
                probe(path)  # which says what is too large to decode at once
            except DataError as error:
                raise DataError(f"{str(error).rpartition(': ')[0]}: {_TILED}") from error

    def __enter__(self) -> PictureWindows:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Return the window as C x height x width, of the type that `decode` gives.

        Raises:
            DataError: the window reaches beyond the picture, or what it touches is damaged.
        """
        return self._read((top, left, height, width), ids=False)

    def read_ids(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Return the window as `read` does, but with the numbers that `decode_ids` gives."""
        return self._read((top, left, height, width), ids=True)

    def _read(self, window: tuple[int, int, int, int], *, ids: bool) -> Tensor:
        top, left, height, width = window
        inside = 0 <= top <= top + height <= self.header.height
        if not inside or not 0 <= left <= left + width <= self.header.width:
            raise DataError(
                f"{self.path} is {self.header.width}x{self.header.height}: it has no window of "
                f"{width}x{height} at column {left}, row {top}"
            )
        if self.in_memory:
            if ids not in self._whole:
                self._whole[ids] = decode_ids(self.path) if ids else decode(self.path)
                self.most_bytes = max(self.most_bytes, self._whole[ids].nbytes)
            return self._whole[ids][:, top : top + height, left : left + width]
        with named(self.path):
            orientation = tiff_orientation(self._page)
            stored = _before_turning(window, orientation, self.header)
            parts = [plane.read(*stored) for plane in self._planes]
            pixels = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
            self.most_bytes = max(
                [self.most_bytes, pixels.nbytes, *(plane.largest for plane in self._planes)]
            )
            upright = orient(meant(pixels, self._page), orientation)
            return torch.from_numpy(upright.transpose(2, 0, 1).copy())


def _before_turning(
    window: tuple[int, int, int, int], orientation: int, header: Header
) -> tuple[int, int, int, int]:
    """Return where a window of the upright picture lies in the stored one: `orient` backwards."""
    top, left, height, width = window
    if orientation in (3, 4, 7, 8):
        top = header.height - top - height
    if orientation in (2, 3, 6, 7):
        left = header.width - left - width
    return (left, top, width, height) if orientation >= 5 else (top, left, height, width)


def _opened(
    path: Path, stack: contextlib.ExitStack
) -> tuple[tifffile.TiffPage, list[_Plane]] | None:
    """Open a TIFF whose tiles or strips can be read by themselves; None for any other file."""
    if not _is_tiff(path):
        return None
    with contextlib.ExitStack() as opening:
        series, page = opening.enter_context(opened_tiff(path))
        order, shape = height_width_channels(series, path)
        # Rows and columns as the pages have them, and all channels in one page or a page each.
        plain = page.axes in ("YX", "YXS", "SYX") and order[:2] == tuple(
            series.axes.index(axis) for axis in "YX"
        )
        pages = [each for each in series.pages if each is not None]
        apart = len(pages) > 1
        if not plain or len(pages) != len(series.pages) or (apart and len(pages) != shape[2]):
            return None
        if any(number == 0 for number in page.chunks):
            return None
        planes = [_Plane(each, page) for each in pages]
        if planes[0].segment_bytes > SEGMENT_BYTES:
            return None
        stack.push(opening.pop_all())
        return page, planes


def _is_tiff(path: Path) -> bool:
    check_file(path, at_most=2**50, error=DataError)
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class _Plane:
    """One page of a TIFF, read by windows as height x width x its channels."""

    def __init__(self, page: Any, keyframe: tifffile.TiffPage) -> None:
        self.page, self.keyframe = page, keyframe
        self.separate, _, self.height, self.width, self.samples = keyframe.shaped
        self.rows_alone = (
            bool(keyframe.is_final) and not keyframe.is_tiled and len(page.dataoffsets)
        )
        self.largest = 0
        dtype = keyframe.dtype
        assert dtype is not None
        self.stored = dtype.newbyteorder(keyframe.parent.byteorder)
        length, width = (
            (keyframe.tilelength, keyframe.tilewidth)
            if keyframe.is_tiled
            else (min(keyframe.rowsperstrip, self.height), self.width)
        )
        self.length, self.across = int(length), int(width)
        self.segment_bytes = self.length * self.across * self.samples * dtype.itemsize
        if self.rows_alone:
            self.segment_bytes = 0  # nothing is decoded
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._kept_bytes = 0

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return the window, height x width x channels."""
        channels = self.samples * self.separate
        window = np.empty((height, width, channels), self.stored.newbyteorder("="))
        for place in range(self.separate):
            part = window[..., place * self.samples : (place + 1) * self.samples]
            if self.rows_alone:
                self._rows(place, (top, left), part)
            else:
                self._segments(place, (top, left), part)
        return window

    def _rows(self, place: int, corner: tuple[int, int], into: np.ndarray) -> None:
        """Read the rows of a window out of uncompressed samples that lie in one piece."""
        top, left = corner
        height, width = into.shape[:2]
        pixel = self.samples * self.stored.itemsize
        file = self.keyframe.parent.filehandle
        begin = self.page.dataoffsets[0] + place * self.height * self.width * pixel
        for row in range(height):
            file.seek(begin + ((top + row) * self.width + left) * pixel)
            data = file.read(width * pixel)
            into[row] = np.frombuffer(data, self.stored).reshape(width, self.samples)

    def _segments(self, place: int, corner: tuple[int, int], into: np.ndarray) -> None:
        """Fill a window from the tiles or strips that it touches."""
        top, left = corner
        height, width = into.shape[:2]
        across = -(-self.width // self.across)
        down = -(-self.height // self.length)
        for y in range(top // self.length, -(-(top + height) // self.length)):
            for x in range(left // self.across, -(-(left + width) // self.across)):
                segment = self._segment((place * down + y) * across + x)
                first, begin = y * self.length, x * self.across
                rows = slice(max(top, first), min(top + height, first + self.length))
                columns = slice(max(left, begin), min(left + width, begin + self.across))
                into[
                    rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
                ] = segment[
                    rows.start - first : rows.stop - first,
                    columns.start - begin : columns.stop - begin,
                ]

    def _segment(self, index: int) -> np.ndarray:
        """Return a tile or strip, decoded: length x width x channels; the last ones are kept."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        offset, count = self.page.dataoffsets[index], self.page.databytecounts[index]
        data: bytes | None = None
        if count:
            file = self.keyframe.parent.filehandle
            file.seek(offset)
            data = file.read(count)
        tables = {"jpegtables": self.keyframe.jpegtables} if self.keyframe.jpegtables else {}
        decoded, _, shape = self.keyframe.decode(data, index, **tables)
        segment = (
            np.full(shape, self.keyframe.nodata, self.stored.newbyteorder("="))
            if decoded is None
            else np.asarray(decoded)
        )[0]
        self.largest = max(self.largest, segment.nbytes)
        self._kept[index] = segment
        self._kept_bytes += segment.nbytes
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return segment


@contextlib.contextmanager
def opened_together(paths: Sequence[Path]) -> Iterator[list[PictureWindows]]:
    """Open several files for reading by windows."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(PictureWindows(path)) for path in paths]
