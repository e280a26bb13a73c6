"""Label maps and instance maps from files: ids as they are, or colours told apart by a palette."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limner.data.checks import odd_width
from limner.data.decode import decode, decode_ids
from limner.data.interpolation import resize
from limner.data.pairs import Half, Pair
from limner.errors import DataError, unknown_name

Colour = tuple[int, int, int]
CODINGS = ("ids", "exact", "nearest")


@dataclass(frozen=True)
class LabelMaps:
    """How the label maps of a data set are read, and which of their ids have a channel.

    `classes`, `void`: as `expand` takes them. `first`: the files' value of class 0; what lies
    below it is void. `coding`: "ids" where pixels are ids (palettes give their indices), "exact"
    where they are `colours` (class after class, void last), "nearest" where these went through a
    lossy format. `instances`: whether samples carry an instance map.
    """

    classes: int
    void: int | None = None
    first: int = 0
    coding: str = "ids"
    colours: tuple[Colour, ...] = ()
    instances: bool = False

    def __post_init__(self) -> None:
        if self.coding not in CODINGS:
            raise unknown_name("data.labels.coding", self.coding, CODINGS)

    @property
    def planes(self) -> int:
        """Bytes that hold one id."""
        return 1 if max(self.classes - 1, self.void or 0) < 256 else 2


def read_labels(path: Path, maps: LabelMaps, *, half: Half | None = None) -> Tensor:
    """Read a label map (or one half of a file) as ids, H x W, int32.

    Raises `DataError`, with the cure, for a file that is no label map of this coding and for the
    first id or colour that has no class.
    """
    codes = read_codes(path, coding=maps.coding, half=half)
    ids = ids_of(codes, maps)
    wrong = ids < 0
    if wrong.any():
        raise DataError(out_of_range(path, codes, int(codes[wrong][0]), maps))
    return torch.from_numpy(ids)


def read_codes(path: Path, *, coding: str, half: Half | None = None) -> np.ndarray:
    """Read a label map's values, H x W, int32; a colour is red x 65536 + green x 256 + blue."""
    if coding == "ids":
        image = decode_ids(path)
        if len(image) > 2:
            raise DataError(
                f"{path} is a colour image where data.labels takes a map of class ids: save ids "
                "as one channel, or name the classes' colours in dataset.yaml and set "
                "data.labels.coding=exact"
            )
        codes = image[0].numpy().astype(np.int32)
    else:
        image = decode(path)
        if len(image) not in (3, 4) or image.dtype != torch.uint8:
            raise DataError(
                f"{path} has {len(image)} channels of {8 * image.dtype.itemsize} bits where "
                f"data.labels.coding={coding} takes 8-bit colours: set data.labels.coding=ids if "
                "its values are class ids"
            )
        red, green, blue = (channel.numpy().astype(np.int32) for channel in image[:3])
        codes = (red << 16) + (green << 8) + blue
    if half is None:
        return codes
    height, width = codes.shape
    if width % 2:
        raise DataError(odd_width(path, width, height))
    return codes[:, : width // 2] if half == "left" else codes[:, width // 2 :]


def ids_of(codes: np.ndarray, maps: LabelMaps) -> np.ndarray:
    """Return the ids of codes, int32 of the same shape; -1 where a code has no class."""
    void = -1 if maps.void is None else maps.void
    if maps.coding == "ids":
        ids = codes - maps.first
        known = (ids >= 0) & (ids < maps.classes)
        is_void = (codes < maps.first) | (codes == void)
        return np.where(known, ids, np.where(is_void, void, -1)).astype(np.int32)
    ids = np.arange(len(maps.colours), dtype=np.int32)
    ids[maps.classes :] = void
    values, places = np.unique(codes, return_inverse=True)
    palette = np.array(maps.colours, dtype=np.int32).reshape(-1, 3)
    if maps.coding == "nearest":
        parts = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1)
        found = ids[_nearest(parts, palette)]
    else:
        packed = (palette[:, 0] << 16) + (palette[:, 1] << 8) + palette[:, 2]
        # The first of equal colours counts (Cityscapes has several), so equal ones come last first.
        table = dict(zip(packed[::-1].tolist(), ids[::-1].tolist(), strict=True))
        found = np.array([table.get(value, -1) for value in values.tolist()], dtype=np.int32)
    return found[places].reshape(codes.shape)


def _nearest(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return the index of the palette's colour nearest to each of N x 3, in Euclid's distance."""
    nearest = [
        ((part[:, None] - palette) ** 2).sum(axis=2).argmin(axis=1)
        for part in np.array_split(colours, len(colours) // 4096 + 1)
    ]
    return np.concatenate(nearest)


def out_of_range(path: Path, codes: np.ndarray, code: int, maps: LabelMaps) -> str:
    """Return the sentence on a value or colour without a class: file, value, count, position."""
    places = np.argwhere(codes == code)
    row, column = places[0]
    many = f"{len(places)} pixel{'' if len(places) == 1 else 's'}"
    where = f"in {many}, the first at column {column}, row {row}"
    if maps.coding == "exact":
        colour = (code >> 16, code >> 8 & 255, code & 255)
        return (
            f"{path} holds the colour {colour} {where}, which no class has: add it to the colours, "
            "or set data.labels.coding=nearest if the file went through a lossy format"
        )
    last = maps.first + maps.classes - 1
    void = ""
    if maps.void is not None:
        void = f", void below {maps.first}" if maps.first else f", void {maps.void}"
    return (
        f"{path} holds the value {code} {where}, which is no class: they are {maps.first} to "
        f"{last}{void}; correct the map, or set data.labels.classes or data.labels.void"
    )


def read_instances(path: Path) -> Tensor:
    """Read an instance map as ids, H x W, int32: 8 or 16 bits as they are, colours as one number.

    Of colours and of more than 16 bits only the difference counts: they are numbered anew.
    """
    image = decode_ids(path)
    if len(image) <= 2:
        return image[0].to(torch.int32)
    red, green, blue = (channel.to(torch.int64) for channel in image[:3])
    packed = (red << 32) + (green << 16) + blue
    return torch.unique(packed, return_inverse=True)[1].to(torch.int32)


def read_label_pair(pair: Pair, maps: LabelMaps) -> tuple[Tensor, Tensor | None]:
    """Read the label map of a pair and, where `maps` asks for it, its instance map; H x W, int32.

    Raises `DataError` where a map is lacking, damaged or of another size than the other.
    """
    ids = read_labels(pair.source, maps, half=pair.source_half)
    if not maps.instances:
        return ids, None
    if pair.instance is None:
        raise DataError(no_instances(pair))
    instance = read_instances(pair.instance)
    if instance.shape != ids.shape:
        raise DataError(two_sizes(pair, ids.shape, instance.shape))
    return ids, instance


def two_sizes(pair: Pair, labels: Sequence[int], instance: Sequence[int]) -> str:
    """Return the sentence on a label map and its instance map of other (height, width)."""
    return (
        f"{pair.source} is {labels[1]}x{labels[0]} and its instance map {pair.instance} is "
        f"{instance[1]}x{instance[0]}: they must have one size, so make one of them anew"
    )


def no_instances(pair: Pair) -> str:
    """Return the sentence on a label map without an instance map."""
    return (
        f"{pair.source} has no instance map where data.labels.edges asks for one: put it beside "
        "the label maps, or set data.labels.edges=false"
    )


def packed(ids: Tensor, planes: int) -> Tensor:
    """Return ids H x W as bytes, planes x H x W uint8, lowest byte first."""
    return torch.stack([(ids >> (8 * plane) & 255).to(torch.uint8) for plane in range(planes)])


def unpacked(planes: Tensor) -> Tensor:
    """Return the ids, H x W int64, of which `planes` are the bytes; the inverse of `packed`."""
    return sum(plane.to(torch.int64) << (8 * k) for k, plane in enumerate(planes))  # pyright: ignore[reportReturnType]


def resized_ids(ids: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ids, H x W below 65536, to (height, width) by nearest; H x W int64."""
    return unpacked(resize(packed(ids, 2), size, interpolation="nearest"))


def coloured(ids: Tensor, colours: Sequence[Colour], *, void: int | None = None) -> Tensor:
    """Return ids ... x H x W in colours, uint8 ... x 3 x H x W; void has the last of `colours`."""
    palette = torch.tensor(colours, dtype=torch.uint8, device=ids.device)
    places = ids.to(torch.int64)
    if void is not None:
        places = torch.where(places == void, len(colours) - 1, places)
    return palette[places.clamp(0, len(colours) - 1)].movedim(-1, -3)
