"""A source of a run by windows: pictures or label maps, their masks, grown beyond their borders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from limner.config import Config
from limner.data import LabelMaps, Pair, instance_beside, resized_ids
from limner.data.labelmaps import codes_of, instances_of, labels_of, no_instances, two_sizes
from limner.data.masks import counted, other_size
from limner.data.pair_reading import joined
from limner.data.pairs import odd_width
from limner.data.windows import PictureWindows, opened_together
from limner.errors import ConfigError, DataError
from limner.inference.translate_files import maps_of, network_values
from limner.inference.translator import BORDERS

_MARGIN = 4  # pixels that bicubic interpolation looks beyond a window's border, and one more

Side = Literal["left", "right"]


@dataclass(frozen=True)
class SourceWindow:
    """What a generator takes of a window: 1 x C x H x W, or ids and instances, 1 x H x W.

    `counts`, 1 x H x W, tells which pixels count; None where all do.
    """

    source: Tensor
    instance: Tensor | None = None
    counts: Tensor | None = None


class SourceWindows:
    """The files of one source, open for reading by windows, in the size of the translation.

    `height` and `width` are those of the translation; windows may reach beyond them: pictures are
    continued by reflection, label maps by their last pixels, as in `pad_to_multiple`.
    """

    def __init__(
        self,
        config: Config,
        files: Sequence[PictureWindows],
        *,
        side: Side | None = None,
        instance: PictureWindows | None = None,
        mask: PictureWindows | None = None,
    ) -> None:
        self.config, self.files, self.maps = config, files, maps_of(config)
        self.instance, self.mask = instance, mask
        first = files[0].header
        height, width, self._left = first.height, first.width, 0
        if side is not None:
            if width % 2:
                raise DataError(odd_width(files[0].path, width, height))
            width //= 2
            self._left = 0 if side == "left" else width
        for other in (instance, mask):
            if other is None or (own := (other.header.height, other.header.width)) == (
                height,
                width,
            ):
                continue
            if other is mask:
                raise DataError(other_size(other.path, own, (height, width)))
            pair = Pair(files[0].path.stem, files[0].path, files[0].path, instance=other.path)
            raise DataError(two_sizes(pair, (height, width), own))
        self._factor = config.data.factor
        self._own = height, width
        self.height, self.width = height * self._factor, width * self._factor

    @property
    def border(self) -> str:
        """How windows are continued beyond the picture: a name in `BORDERS`."""
        return "reflect" if self.maps is None else "repeat"

    @property
    def most_bytes(self) -> int:
        """The most that was decoded of a file at once."""
        return max(file.most_bytes for file in self._all())

    @property
    def held_bytes(self) -> int:
        """What files take that cannot be read by windows: they are decoded whole."""
        return sum(
            file.header.channels * file.header.height * file.header.width * file.header.bits // 8
            for file in self._all()
            if file.in_memory
        )

    def _all(self) -> list[PictureWindows]:
        return [*self.files, *(one for one in (self.instance, self.mask) if one is not None)]

    def read(self, top: int, left: int, bottom: int, right: int) -> SourceWindow:
        """Return a window; rows and columns below 0 and beyond the picture are its continuation."""
        grow = BORDERS[self.border]
        rows = grow(torch.arange(top, bottom), self.height)
        columns = grow(torch.arange(left, right), self.width)
        first, begin = int(rows.min()), int(columns.min())
        inside = self._inside(first, begin, int(rows.max()) + 1, int(columns.max()) + 1)
        at = (rows - first)[:, None], (columns - begin)[None, :]
        parts = (inside.source, inside.instance, inside.counts)
        return SourceWindow(*(None if one is None else one[..., at[0], at[1]] for one in parts))  # pyright: ignore[reportArgumentType]

    def _inside(self, top: int, left: int, bottom: int, right: int) -> SourceWindow:
        """Return a window that lies within the picture."""
        factor = self._factor
        margin = _MARGIN if factor > 1 else 0
        height, width = self._own
        first, begin = max(0, top // factor - margin), max(0, left // factor - margin)
        last = min(height, -(-bottom // factor) + margin)
        end = min(width, -(-right // factor) + margin)
        beside = (first, begin, last - first, end - begin)  # a half has masks of its own
        place = (first, begin + self._left, last - first, end - begin)
        size = (place[2] * factor, place[3] * factor)
        given = instance = None
        if self.mask is not None:
            given = counted(self.mask.read_ids(*beside))
            given = given.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        if self.maps is None:
            window = self._pictures(place, size, given)
        else:
            if self.instance is not None:
                instance = instances_of(self.instance.read_ids(*beside), path=self.instance.path)
                instance = resized_ids(instance, size)[None]
            ids = resized_ids(self._labels(self.maps, place), size)
            window = SourceWindow(ids[None], instance, given)
        rows = slice(top - first * factor, bottom - first * factor)
        columns = slice(left - begin * factor, right - begin * factor)
        parts = (window.source, window.instance, window.counts)
        return SourceWindow(*(None if one is None else one[..., rows, columns] for one in parts))  # pyright: ignore[reportArgumentType]

    def _pictures(
        self, place: tuple[int, int, int, int], size: tuple[int, int], given: Tensor | None
    ) -> SourceWindow:
        paths = [file.path for file in self.files]
        image = joined(
            [file.read(*place) for file in self.files],
            paths,
            stated=self.config.data.spans[0] is not None,
        )
        scaled, counts = network_values(
            self.config, image, size, path=paths[0], alone=len(paths) == 1
        )
        if given is not None:
            counts = given if counts is None else counts & given
        return SourceWindow(scaled[None], None, counts)

    def _labels(self, maps: LabelMaps, place: tuple[int, int, int, int]) -> Tensor:
        file = self.files[0]
        image = file.read_ids(*place) if maps.coding == "ids" else file.read(*place)
        codes = codes_of(image, coding=maps.coding, path=file.path)
        return labels_of(codes, maps, path=file.path)


@contextlib.contextmanager
def opened_source(
    config: Config,
    source: Path,
    *,
    side: Side | None = None,
    more: Sequence[Path] = (),
    mask: Path | None = None,
    instances: Path | None = None,
) -> Iterator[SourceWindows]:
    """Open a source by windows; the arguments are those of `translate_file`.

    Raises:
        ConfigError: its masks are drawn from whole pictures.
        DataError: a file cannot be used, or not by windows.
    """
    if config.data.mask == "otsu":
        raise ConfigError(
            "data.mask=otsu draws masks of whole pictures, which tiles do not have: give --tiles "
            "off, or the masks' folder to a run trained with data.mask=null"
        )
    maps = maps_of(config)
    instance = None
    if maps is not None and maps.instances:
        if instances is not None and not instances.is_dir():
            raise DataError(
                f"--instances {instances} is no folder: give the one that holds the instance maps"
            )
        instance = instance_beside(source, instances)
        if instance is None:
            raise DataError(no_instances(Pair(source.stem, source, source)))
    beside = [one for one in (instance, mask) if one is not None]
    with opened_together([source, *more, *beside]) as files:
        own = files[: 1 + len(more)]
        rest = iter(files[1 + len(more) :])
        yield SourceWindows(
            config,
            own,
            side=side,
            instance=None if instance is None else next(rest),
            mask=None if mask is None else next(rest),
        )
