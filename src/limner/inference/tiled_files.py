"""Large pictures from file to file: written tile by tile into a TIFF, gone on with after a stop.

The unfinished file lies hidden beside the result, and with it a journal: the tiling and what the
result depends on, the statistics of norms, and each row of tiles that is on the disk. The same
command goes on where a stopped one was, to the same bytes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
import torch
from torch import Tensor

from limner.data import probe
from limner.data.decode import PIXELS
from limner.errors import ConfigError, DataError, DiskError, LimnerError, free_memory
from limner.files import TEMPORARY, AppendedFile, disk_errors, fsync_folder, lock, read_text
from limner.inference.carried_tags import Carried, carried_from
from limner.inference.source_windows import Side, opened_source
from limner.inference.tile_norms import Moments
from limner.inference.tiles import (
    Mode,
    Needs,
    Tiles,
    Tiling,
    check_tiles,
    needs_of,
    tiling_of,
)
from limner.inference.translate_files import file_values, written_nodata
from limner.inference.translator import Translator

_TILE = 256  # pixels a side of the file's own tiles
_SHARE = 0.8  # of free memory that may be taken
_SMALL = 2**21  # pixels that are translated whole without a look at what they take
_CLASSIC = 2**32 - 2**25  # bytes beyond which a TIFF needs long offsets

Progress = Callable[[str, int, int], None]
"""Called with what is under way, steps done and steps in all."""


def memory_for(wanted: int | None) -> int:
    """Return how many bytes may be taken: `wanted`, or most of what is free."""
    free = free_memory()
    if wanted is not None:
        return wanted
    return 2**31 if free is None else int(free * _SHARE)


def tiled_sources(
    translator: Translator,
    sources: Sequence[Path],
    *,
    tiles: Literal["exact", "fast", "off", "auto"],
    size: str,
    memory: int,
) -> tuple[dict[Path, Mode], Needs | None]:
    """Return which sources are translated in tiles and how, and what the generator takes for it.

    "auto" leaves those whole that fit into `memory` and takes tiles for the others: exact ones
    where norms are held anyway, fast ones where they span the picture.

    Raises:
        ConfigError: this run or this `size` goes not with tiles.
        DataError: a picture is too large to be translated whole; names what to give.
    """
    config = translator.config
    resizes = config.data.mode in ("resize_crop", "resize")
    own = size == "original" or (size == "trained" and not resizes)
    if tiles in ("exact", "fast"):
        if not own:
            raise ConfigError(
                f"--tiles {tiles} translates pictures in their own size: give --size original"
            )
        check_tiles(translator, tiles)
        return dict.fromkeys(sources, tiles), needs_of(translator)
    if tiles == "off" or not own:
        advice = "give --tiles fast" if own else "give --tiles fast with --size original"
        for source in sources:
            _check_whole(source, advice)
        return {}, None
    found: dict[Path, Mode] = {}
    needs: Needs | None = None
    for source in sources:
        read = probe(source, windows=True)
        pixels = read.height * read.width * config.data.factor**2
        if pixels <= _SMALL:
            continue
        needs = needs or needs_of(translator)
        if pixels * needs.pixel_bytes > memory or read.height * read.width > PIXELS:
            found[source] = mode = "fast" if needs.reach.whole else "exact"
            check_tiles(translator, mode)
    return found, needs


def _check_whole(source: Path, advice: str) -> None:
    try:
        probe(source)
    except DataError as error:
        probe(source, windows=True)
        raise DataError(f"{str(error).rpartition(': ')[0]}: {advice}") from error


def translate_in_tiles(
    translator: Translator,
    source: Path,
    result: Path,
    *,
    mode: Mode,
    needs: Needs,
    memory: int,
    side: Side | None = None,
    instances: Path | None = None,
    style: Tensor | None = None,
    code: Tensor | None = None,
    wanted_type: str | None = None,
    truncate: bool = False,
    more: Sequence[Path] = (),
    mask: Path | None = None,
    progress: Progress = lambda what, done, total: None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Tiles:
    """Translate one file into a tiled TIFF, in its own size and within so much memory.

    Where the same was begun and stopped before, it goes on. The arguments are those of
    `translate_file` and of `Tiles`; `progress` and `tell` are told what is under way.

    Returns:
        The tiles, which tell how they were cut.

    Raises:
        DataError: the picture cannot be read by windows. ConfigError: `memory` is too little.
        LockedError: another process writes the same result. DiskError: the disk is full or fails.
    """
    config = translator.config
    if style is not None:
        code = translator.code_of(style)
    opened = opened_source(config, source, side=side, more=more, mask=mask, instances=instances)
    with opened as windows:
        told = carried_from(source)
        own = windows.files[0].header
        across = windows.width // config.data.factor
        told = told.resized((own.height, across), (windows.height, windows.width))
        told = Carried({}, told.resolution) if side is not None else told
        told = replace(told, nodata=written_nodata(config, wanted_type))
        tiling = tiling_of(windows, needs, mode=mode, memory=memory)
        facts = {
            "version": version("limner"),
            "tiling": asdict(tiling),
            "mode": mode,
            "files": [_identity(one.path) for one in windows._all()],
            "run": [translator.backend, dict(translator.weights), translator.seed],
            "settings": hashlib.sha256(config.model_dump_json().encode()).hexdigest(),
            "output": [wanted_type, truncate, side],
            "code": None if code is None else [float(one) for one in code.flatten()],
        }
        channels = config.data.channels[1]
        shape = (channels, windows.height, windows.width)
        one = torch.zeros(channels, 1, 1)
        dtype = file_values(config, one, wanted=wanted_type, truncate=truncate).dtype
        with Unfinished(result, facts, shape=shape, dtype=dtype, carried=told) as file:
            tiling = Tiling(**file.facts["tiling"])
            size = f"{source} ({windows.width}x{windows.height})"
            tell(f"{size} is translated {needs.sentence(tiling, mode)}")
            if file.moments or file.rows:
                tell(f"{size} goes on: {len(file.rows)} of {len(tiling.rows)} rows of tiles stand")
            tiles = Tiles(
                translator,
                windows,
                tiling,
                mode=mode,
                needs=needs,
                memory=memory,
                code=code,
                name=source.stem,
            )
            with tiles.at_work():
                _fill(tiles, file, wanted_type=wanted_type, truncate=truncate, progress=progress)
            file.publish()
        return tiles


def _fill(
    tiles: Tiles,
    file: Unfinished,
    *,
    wanted_type: str | None,
    truncate: bool,
    progress: Progress,
) -> None:
    """Find the statistics that lack, then write the rows of tiles that lack."""
    for moments in tiles.statistics(
        file.moments, progress=lambda done, total: progress("statistics", done, total)
    ):
        file.note_moments(moments)
    config = tiles.translator.config
    rows, across = len(tiles.tiling.rows), len(tiles.tiling.columns)
    for number in range(rows):
        if number in file.rows:
            continue
        top, bottom = tiles.rows_of(number)
        band: np.ndarray | None = None
        for place, (left, picture, counts) in enumerate(tiles.row(number)):
            values = file_values(
                config, picture, wanted=wanted_type, counts=counts, truncate=truncate
            )
            if band is None:
                band = np.empty((len(values), bottom - top, tiles.source.width), values.dtype)
            band[:, :, left : left + values.shape[2]] = values
            progress("tiles", number * across + place + 1, rows * across)
        if band is not None and band.size:
            file.write(top, band)
        file.note_row(number)


def _identity(path: Path) -> list[Any]:
    state = path.stat()
    return [str(path.absolute()), state.st_size, state.st_mtime_ns]


class Unfinished:
    """A tiled TIFF on its way, with its journal; use it as a context and `publish` at the end.

    Args:
        result: what it becomes.
        facts: what the bytes of the result depend on; a journal of other facts is started anew,
            but for the tiling, which stays that of the journal.
        shape: channels, height and width.
        dtype: of the samples.
        carried: the tags that go with it.
    """

    def __init__(
        self,
        result: Path,
        facts: dict[str, Any],
        *,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        carried: Carried,
    ) -> None:
        self.result, self.facts, self.shape, self.dtype = result, facts, shape, dtype
        digest = hashlib.sha256(os.fsencode(result.name)).hexdigest()[:16]
        hidden = result.with_name(f"{TEMPORARY}tiles-{digest}")
        self.path, self._journal = hidden.with_suffix(".tif"), hidden.with_suffix(".jsonl")
        self._lock = hidden.with_suffix(".lock")
        self._carried = carried
        self.moments: list[Moments] = []
        self.rows: set[int] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Unfinished:
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock(self._lock))
            stack.enter_context(disk_errors(self.result))
            if not self._goes_on():
                self._begin()
            with tifffile.TiffFile(self.path) as file:
                page = file.pages[0]
                self._offsets = list(page.dataoffsets)
                self._across = -(-self.shape[2] // _TILE)
                self._down = -(-self.shape[1] // _TILE)
            self._file = stack.enter_context(self.path.open("r+b"))
            self._log = AppendedFile(self._journal)
            stack.callback(self._log.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def _apart(self) -> bool:
        """Whether each channel lies by itself: more than one, and no colours."""
        return self.shape[0] > 1 and not self._colour

    @property
    def _colour(self) -> bool:
        return self.shape[0] == 3 and self.dtype in (np.uint8, np.uint16)

    def _goes_on(self) -> bool:
        """Whether there is an unfinished file of the same facts; read what it holds."""
        try:
            lines = read_text(self._journal, at_most=2**30).splitlines()
            first, *rest = (json.loads(line) for line in lines if _is_json(line))
            same = {**first, "tiling": None} == {**self.facts, "tiling": None}
            ours, theirs = self.facts["tiling"], first["tiling"]
            alike = all(ours[key] == theirs[key] for key in ("height", "width", "top", "left"))
        except (OSError, LimnerError, ValueError, KeyError, TypeError, AttributeError):
            return False
        if not (same and alike and self.path.is_file()):
            return False
        self.facts = first
        for line in rest:
            if "count" in line:
                mean, variance = (
                    torch.tensor(line[key], dtype=torch.float64) for key in ("mean", "variance")
                )
                self.moments.append(Moments(line["count"], mean, variance))
            elif "row" in line:
                self.rows.add(line["row"])
        return True

    def _begin(self) -> None:
        """Make the file, empty, and its journal."""
        for path in (self._journal, self.path):
            path.unlink(missing_ok=True)
        check_room(self.result, self.shape, self.dtype)
        channels, height, width = self.shape
        shape = (height, width)
        if self._apart:
            shape = (channels, height, width)
        elif channels > 1:
            shape = (height, width, channels)
        tifffile.imwrite(
            self.path,
            shape=shape,
            dtype=self.dtype,
            tile=(_TILE, _TILE),
            bigtiff=channels * height * width * self.dtype.itemsize > _CLASSIC,
            photometric="rgb" if self._colour else "minisblack",
            planarconfig="separate" if self._apart else None,
            **self._carried.for_tiff,
        )
        journal = AppendedFile(self._journal)
        journal.add_line(json.dumps(self.facts))
        journal.sync()
        journal.close()

    def write(self, top: int, band: np.ndarray) -> None:
        """Write whole rows of the picture, C x rows x width, from row `top` on."""
        with disk_errors(self.result):
            self._write(top, band)

    def _write(self, top: int, band: np.ndarray) -> None:
        planes = list(band) if self._apart else [band.transpose(1, 2, 0)]
        rows = band.shape[1]
        for number, plane in enumerate(planes):
            pixel = self.dtype.itemsize * (1 if self._apart else self.shape[0])
            for down in range(top // _TILE, -(-(top + rows) // _TILE)):
                first = max(top, down * _TILE)
                last = min(top + rows, (down + 1) * _TILE)
                for across in range(self._across):
                    left = across * _TILE
                    part = plane[first - top : last - top, left : left + _TILE]
                    lack = [(0, 0), (0, _TILE - part.shape[1]), (0, 0)][: part.ndim]
                    part = np.pad(part, lack, mode="edge")
                    index = (number * self._down + down) * self._across + across
                    place = self._offsets[index] + (first - down * _TILE) * _TILE * pixel
                    self._file.seek(place)
                    self._file.write(np.ascontiguousarray(part, self.dtype).data)

    def note_moments(self, moments: Moments) -> None:
        """Keep the statistics of the next norm."""
        mean, variance = moments.mean.tolist(), moments.variance.tolist()
        self._note({"count": moments.count, "mean": mean, "variance": variance})

    def note_row(self, number: int) -> None:
        """Make sure that a row of tiles is on the disk, and keep that it is."""
        with disk_errors(self.result):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._note({"row": number})

    def _note(self, line: dict[str, Any]) -> None:
        self._log.add_line(json.dumps(line))
        self._log.sync()

    def publish(self) -> None:
        """Let the finished file take its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.path.replace(self.result)
        self._journal.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)
        fsync_folder(self.result.parent)


def _is_json(line: str) -> bool:
    """Whether a line is whole: a kill may have torn the last one."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def check_room(result: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
    """Look before work starts whether a TIFF of (channels, height, width) fits on the disk.

    Raises:
        DiskError: it does not.
    """
    channels, height, width = shape
    tiles = -(-height // _TILE) * -(-width // _TILE)
    wanted = channels * tiles * _TILE**2 * dtype.itemsize
    free = shutil.disk_usage(result.parent).free
    if wanted > free:
        lack = f"{wanted / 2**30:.1f} GiB are needed and {free / 2**30:.1f} GiB are free"
        raise DiskError(result, OSError(errno.ENOSPC, lack))
