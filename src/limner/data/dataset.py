"""Pairs become samples: decoded, resized, cached, cropped and mirrored by one draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from limner.data.augmentation import AugmentSettings, Moves, draw_moves
from limner.data.dataset_cache import DatasetCache, file_bytes, file_name
from limner.data.decode import Header
from limner.data.labelmaps import LabelMaps, packed, read_label_pair, unpacked
from limner.data.masks import Automatic, fitted_mask, otsu_mask
from limner.data.pair_reading import (
    Resizing,
    Size,
    common_size,
    read_pair,
    read_target,
)
from limner.data.pairs import Half, Pair
from limner.data.pixels import (
    Draw,
    apply,
    as_channels,
    central,
    checked_interpolation,
    checked_mode,
    draw,
    mirrored,
    resize,
    resized_to,
    to_float,
    to_uint16,
)
from limner.data.ranges import Span, resized
from limner.errors import ConfigError, DataError

_DRAWS = 2  # sets the streams of the samples' draws apart from that of the order (order.py)


_WHOLE = 0.999  # a weight of 1, less what rounding may take
_INSTANCE_PLANES = 2  # bytes of an instance id

Spans = tuple[Span | None, Span | None]
"""The stated ranges of source and target; None for that of the files' type."""


class _Sample(TypedDict):
    source: Tensor
    target: Tensor
    name: str
    index: int


class Sample(_Sample, total=False):
    """One pair as the networks take it; with label maps perhaps an instance map.

    `mask`, 1 x H x W, is 1 where pixels count, where the data set has values that stand for none.
    """

    instance: Tensor
    mask: Tensor


class PairedDataset(Dataset):
    """A map-style data set of paired images.

    An item is a dict: `source` and `target`, float32 C x H x W in [-1, 1]; `name`, the pair's; and
    `index`. With `labels` the source is a map of ids, int64 H x W, and where these ask for it there
    is `instance`, likewise; both are resized by nearest alone. Keys are (epoch, index), or a plain
    index, which means epoch 0. What is drawn follows from (seed, epoch, index) alone, so that
    neither the number of workers nor a resumed run changes it. Without `augment` nothing is drawn:
    see `transforms.resized_to` and `central`.

    mode: a key of `transforms.MODES`. size, load_size: (height, width) in pixels. channels,
    interpolation: for source and target. cache: made by `planned_cache`, or None. labels: how
    label maps are read; None where sources are pictures. spans: the stated ranges of source and
    target. resizing: what is done where the sizes of a pair differ (see
    `pair_reading.common_size`). mask: which automatic mask is drawn beside those of files.
    augmentation: what is drawn beside crop and flip with `augment`; None for nothing. With a
    `residence`, which is set after the data set is made, tensors are on its device.

    Raises `ConfigError` for settings that clash, and `DataError`, naming the file, for an image
    that turns out damaged.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        mode: str,
        size: tuple[int, int],
        load_size: tuple[int, int],
        flip: bool,
        channels: tuple[int, int],
        convert: bool,
        interpolation: tuple[str, str],
        cache: DatasetCache | None,
        seed: int,
        augment: bool,
        labels: LabelMaps | None = None,
        spans: Spans = (None, None),
        resizing: Resizing = "multiple",
        mask: Automatic | None = None,
        augmentation: AugmentSettings | None = None,
    ):
        if seed < 0:
            raise ConfigError(f"seed is {seed}: it must be zero or more")
        self.pairs = tuple(pairs)
        self.mode = checked_mode(mode, size=size, load_size=load_size)
        self.size = size
        self.flip = flip
        self.channels = channels
        self.convert = convert
        self.interpolation = tuple(checked_interpolation(name) for name in interpolation)
        self.cache = cache
        self.seed = seed
        self.augment = augment
        self.labels = labels
        self.residence: Residence | None = None
        self.notes: tuple[str, ...] = ()  # what `open_dataset` found that is worth saying
        # Channels of the stack that is cached and drawn from: the fields, joined.
        self._fields = list(channels)
        if labels is not None:
            self._fields = [labels.planes, channels[1]]
            if labels.instances:
                self._fields.append(_INSTANCE_PLANES)
        self.spans = spans
        self.resizing = resizing
        self.mask = mask
        self.augmentation = augmentation or AugmentSettings()
        self._measured = any(span is not None for span in spans)
        self.masked = (
            mask is not None
            or any(pair.mask is not None for pair in self.pairs)
            or any(span is not None and span.nodata is not None for span in spans)
        )
        if self.masked:
            self._fields.append(1)
        self._resized = resized_to(self.mode, size=size, load_size=load_size, augment=augment)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        home = self.residence
        stack = self.prepared(index) if home is None else home.stack(index, self.prepared)
        height, width = stack.shape[-2:]
        size = self.size if self.mode.crop else (height, width)
        moves = None
        try:
            if self.augment:
                rng = np.random.default_rng((_DRAWS, self.seed, epoch, index))
                drawn = draw(rng, height=height, width=width, size=size, flip=self.flip)
                if not self.augmentation.off:
                    moves = draw_moves(rng, self.augmentation, size=size)
            else:
                drawn = central(height=height, width=width, size=size)
        except DataError as error:
            raise DataError(f"{self.pairs[index].source}: {error}") from None
        source, target, *others = (
            self._moved(place, field, drawn, moves)
            for place, field in enumerate(stack.split(self._fields))
        )
        if moves is not None and self.labels is None:
            source = moves.jittered(source)
        sample: Sample = {
            "source": source if self.labels is None else unpacked(source),
            "target": target,
            "name": self.pairs[index].name,
            "index": index,
        }
        if self.masked:
            sample["mask"] = others.pop().to(torch.float32)
        if others:
            sample["instance"] = unpacked(others[0])
        return sample

    def _moved(self, place: int, field: Tensor, drawn: Draw, moves: Moves | None) -> Tensor:
        """Return the field at `place` of the stack as it was drawn; pictures as floats."""
        picture = place == 1 or (place == 0 and self.labels is None)
        mask = self.masked and place == len(self._fields) - 1
        if moves is not None and moves.displaced:
            window = drawn.top, drawn.left, drawn.height, drawn.width
            field = self._float(field) if picture else field
            field = field.to(torch.float32) if mask else field
            field = moves.sampled(field, window, ids=not (picture or mask), outside=not mask)
            if mask:  # a pixel counts if all that it was made of does
                field = (field > _WHOLE).to(torch.float32)
            field = mirrored(field) if drawn.flip else field
        else:
            field = apply(drawn, field)
            field = self._float(field) if picture else field
        return field if moves is None else moves.turned(field)

    def _float(self, image: Tensor) -> Tensor:
        return image.contiguous() if self._measured else to_float(image)

    def prepared(self, index: int) -> Tensor:
        """Return source and target, joined along the channels, as they are before any draw.

        (Cs + Ct) x H x W, uint8, or uint16 where either is: decoded, with the channels asked for,
        and resized; from the cache where it has them. With stated ranges it is float32 in [-1, 1],
        and a last plane of 0 and 1 tells which pixels count. A label map is the bytes of its ids,
        lowest first, and so is an instance map, which comes after the target.
        """
        pair = self.pairs[index]
        if self.cache is None:
            return self._decoded(pair)
        try:
            name = file_name(self._files(pair), self._settings(pair.source_half))
        except OSError:
            return self._decoded(pair)  # which says what is wrong with the file
        stack = self.cache.read(index, name, channels=sum(self._fields))
        if stack is None:
            stack = self._decoded(pair)
            self.cache.write(index, name, stack)
        return stack

    def planned_cache(
        self,
        folder: Path,
        fields: Sequence[tuple[Header, Header]],
        *,
        limit_bytes: int,
        beside: Mapping[str, int] | None = None,
    ) -> DatasetCache:
        """Return a cache that fits this data set; `fields` are the headers `scan` read."""
        names, sizes = [], []
        for pair, (source, target) in zip(self.pairs, fields, strict=True):
            names.append(file_name(self._files(pair), self._settings(pair.source_half)))
            own = (source.height, source.width), (target.height, target.width)
            height, width = self._resized or common_size(*own, self.resizing) or own[0]
            bits = target.bits if self.labels else max(source.bits, target.bits)
            bits = 32 if self._measured else bits
            sizes.append(file_bytes((sum(self._fields), height, width), bits=bits))
        return DatasetCache(
            folder, limit_bytes=limit_bytes, names=names, sizes=sizes, beside=beside
        )

    def _files(self, pair: Pair) -> list[Path]:
        files = [pair.source] if pair.source_half else [*pair.sources, pair.target]
        if self.labels is not None and self.labels.instances and pair.instance is not None:
            files.append(pair.instance)
        if pair.mask is not None:
            files.append(pair.mask)
        return files

    def _settings(self, source_half: Half | None) -> tuple[object, ...]:
        plain: tuple[object, ...]
        plain = source_half, self.channels, self.convert, self._resized, self.interpolation
        if self._measured:
            plain = (*plain, self.spans)
        if self.masked:
            plain = (*plain, "mask", *([] if self.mask is None else [self.mask]))
        if self.resizing != "multiple":
            plain = (*plain, self.resizing)
        return plain if self.labels is None else (*plain, self.labels)

    def _decoded(self, pair: Pair) -> Tensor:
        return self._pictures(pair) if self.labels is None else self._maps(pair, self.labels)

    def _maps(self, pair: Pair, labels: LabelMaps) -> Tensor:
        ids, instance = read_label_pair(pair, labels)
        target = as_channels(
            read_target(pair), self.channels[1], convert=self.convert, path=pair.target
        )
        size, sizes = self._common(pair, ids, target)
        planes = [packed(ids, labels.planes)]
        if instance is not None:
            planes.append(packed(instance, _INSTANCE_PLANES))
        planes = [resize(part, size, interpolation="nearest") for part in planes]
        target, valid = self._side(1, target, pair.target, size)
        source, *rest = (part.to(target.dtype) for part in planes)
        mask = self._mask(pair, [valid], sizes, source=None, target=target)
        return torch.cat([source, target, *rest, *mask])

    def _common(self, pair: Pair, source: Tensor, target: Tensor) -> tuple[Size, set[Size]]:
        """Return the size that both images of a pair come to, and their own sizes."""
        sizes: list[Size] = [(image.shape[-2], image.shape[-1]) for image in (source, target)]
        size = common_size(sizes[0], sizes[1], self.resizing)
        if size is None:
            raise DataError(different_sizes(pair, sizes[0], sizes[1]))
        return self._resized or size, {*sizes, size}

    def _pictures(self, pair: Pair) -> Tensor:
        paths = pair.source, pair.target
        # The channels of several files are no colours, which nothing could convert.
        convert = self.convert and not pair.more, self.convert
        source, target = (
            as_channels(image, channels, convert=may, path=path)
            for image, path, channels, may in zip(
                read_pair(pair, stated=self.spans[0] is not None),
                paths,
                self.channels,
                convert,
                strict=True,
            )
        )
        size, sizes = self._common(pair, source, target)
        source, valid = self._side(0, source, pair.source, size)
        target, counts = self._side(1, target, pair.target, size)
        if source.dtype != target.dtype:
            source, target = to_uint16(source), to_uint16(target)
        mask = self._mask(pair, [valid, counts], sizes, source=source, target=target)
        return torch.cat([source, target, *mask])

    def _side(
        self, side: int, image: Tensor, path: Path, size: Size
    ) -> tuple[Tensor, Tensor | None]:
        """Return an image in its range and size, and which of its pixels count."""
        span, interpolation = self.spans[side], self.interpolation[side]
        if not self._measured:
            return resize(image, size, interpolation=interpolation), None
        scaled, valid = (
            (to_float(image), None) if span is None else span.to_network(image, path=path)
        )
        return resized(scaled, valid, size, interpolation=interpolation)

    def _mask(
        self,
        pair: Pair,
        valid: Sequence[Tensor | None],
        sizes: set[Size],
        *,
        source: Tensor | None,
        target: Tensor,
    ) -> list[Tensor]:
        """Return the plane that tells which pixels count, where there is one."""
        if not self.masked:
            return []
        size: Size = (target.shape[-2], target.shape[-1])
        plane = torch.ones((1, *size), dtype=torch.bool)
        if pair.mask is not None:
            plane &= fitted_mask(pair.mask, size, own=sizes)
        for counts in valid:
            plane = plane if counts is None else plane & counts
        drawn_of = {"otsu": source, "otsu-target": target}.get(self.mask or "")
        if drawn_of is not None:
            plane &= otsu_mask(drawn_of, plane)
        return [plane.to(target.dtype)]


def different_sizes(pair: Pair, source: Size, target: Size) -> str:
    """Return the sentence on a pair whose (height, width) nothing brings to one size."""
    return (
        f"{pair.source} is {source[1]}x{source[0]} and its target {pair.target} is "
        f"{target[1]}x{target[0]}: the two images of a pair must have one size, or one be a whole "
        "multiple of the other; resize one of them, or set data.resize=source (sources to their "
        "targets' size) or data.resize=target"
    )


SHARE = 0.25
"""Part of the device's free memory, before a training begins, that its images may take."""


@dataclass
class Residence:
    """Where a data set's images stay: those that fit, in the order in which they are asked for.

    What is drawn of them (`PairedDataset`) is cut, mirrored and made float there, so that batches
    have the same values as without. Images that no longer fit are copied at each request.
    """

    device: torch.device
    limit_bytes: int
    held_bytes: int = 0
    _held: dict[int, Tensor] = field(default_factory=dict)

    def stack(self, index: int, read: Callable[[int], Tensor]) -> Tensor:
        """Return `read(index)` on the device; read it once if it fits."""
        if index in self._held:
            return self._held[index]
        image = read(index).to(self.device)
        if self.held_bytes + image.nbytes <= self.limit_bytes:
            self._held[index] = image
            self.held_bytes += image.nbytes
        return image


def residence(device: torch.device) -> Residence:
    """Return a residence on a CUDA device within `SHARE` of what is free there."""
    free, _ = torch.cuda.mem_get_info(device)
    return Residence(device, int(free * SHARE))
