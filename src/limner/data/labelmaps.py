"""Label maps and instance maps: from files to ids, from ids to what networks take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limner.data.decode import decode, decode_ids
from limner.data.pairs import Half, Pair, odd_width
from limner.data.pixels import resize
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

    Raises:
        DataError: the file is no label map of this coding, or an id or colour has no class; the
            first is named.
    """
    return labels_of(read_codes(path, coding=maps.coding, half=half), maps, path=path)


def labels_of(codes: np.ndarray, maps: LabelMaps, *, path: Path) -> Tensor:
    """Return the ids of a label map's values, H x W, int32; raises as `read_labels`."""
    ids = ids_of(codes, maps)
    wrong = ids < 0
    if wrong.any():
        raise DataError(out_of_range(path, codes, int(codes[wrong][0]), maps))
    return torch.from_numpy(ids)


def read_codes(path: Path, *, coding: str, half: Half | None = None) -> np.ndarray:
    """Read a label map's values, H x W, int32; a colour is red x 65536 + green x 256 + blue.

    Ids may be any type of whole numbers, and grey that is written as red = green = blue; a grey
    map's values are colours where colours are asked for.
    """
    image = decode_ids(path) if coding == "ids" else decode(path)
    codes = codes_of(image, coding=coding, path=path)
    if half is None:
        return codes
    height, width = codes.shape
    if width % 2:
        raise DataError(odd_width(path, width, height))
    return codes[:, : width // 2] if half == "left" else codes[:, width // 2 :]


def codes_of(image: Tensor, *, coding: str, path: Path) -> np.ndarray:
    """Return the values of a decoded label map, C x H x W, as `read_codes` does."""
    if coding == "ids":
        if len(image) > 2 and not is_grey(image):
            raise DataError(
                f"{path} is a colour image where data.labels takes a map of class ids: save ids "
                "as one channel, or name the classes' colours in dataset.yaml and set "
                "data.labels.coding=exact"
            )
        return whole_numbers(image[0], path).numpy().astype(np.int32)
    if len(image) > 4 or image.dtype != torch.uint8:
        raise DataError(
            f"{path} has {len(image)} channels of {8 * image.dtype.itemsize} bits where "
            f"data.labels.coding={coding} takes 8-bit colours: set data.labels.coding=ids if "
            "its values are class ids"
        )
    colour = image[:3] if len(image) > 2 else image[:1].expand(3, -1, -1)
    red, green, blue = (channel.numpy().astype(np.int32) for channel in colour)
    return (red << 16) + (green << 8) + blue


def is_grey(image: Tensor) -> bool:
    """Tell whether an image with three or four channels is grey: red = green = blue everywhere."""
    return torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])


def whole_numbers(values: Tensor, path: Path) -> Tensor:
    """Return samples of any type as int64; raises `DataError` where one is no whole number."""
    if values.is_floating_point():
        wrong = ~(values == values.round())  # NaN, too
        if bool(wrong.any()):
            raise DataError(
                f"{path} holds {float(values[wrong][0])}, which is no id: save ids as whole numbers"
            )
    ids = values.to(torch.int64)
    if bool((ids < 0).any()) or bool((ids >= 2**31).any()):
        raise DataError(f"{path} holds ids below 0 or beyond 2147483647: number them from 0")
    return ids


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
        class_ids = ids[_nearest(parts, palette)]
    else:
        packed = (palette[:, 0] << 16) + (palette[:, 1] << 8) + palette[:, 2]
        # The first of equal colours counts (Cityscapes has several), so equal ones come last first.
        table = dict(zip(packed[::-1].tolist(), ids[::-1].tolist(), strict=True))
        class_ids = np.array([table.get(value, -1) for value in values.tolist()], dtype=np.int32)
    return class_ids[places].reshape(codes.shape)


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
    return instances_of(decode_ids(path), path=path)


def instances_of(image: Tensor, *, path: Path) -> Tensor:
    """Return the ids of a decoded instance map, C x H x W, as `read_instances` does."""
    if len(image) <= 2 and image.dtype in (torch.uint8, torch.uint16):
        return image[0].to(torch.int32)
    channels = [channel.to(torch.int64) for channel in image[:3]]
    if len(image) <= 2:
        channels = [whole_numbers(image[0], path)]
    packed = channels[0]
    for channel in channels[1:]:
        packed = (packed << 16) + channel
    return torch.unique(packed, return_inverse=True)[1].to(torch.int32)


def read_label_pair(pair: Pair, maps: LabelMaps) -> tuple[Tensor, Tensor | None]:
    """Read the label map of a pair and, where `maps` asks for it, its instance map; H x W, int32.

    Raises:
        DataError: a map is lacking, damaged or of another size than the other.
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


def network_input(
    batch: Mapping[str, Tensor],
    *,
    classes: int | None = None,
    void: int | None = None,
    edges: bool = False,
) -> Tensor:
    """Return the sources of a batch as a generator takes them, N x C x H x W floats.

    Pictures (`classes` is None) pass as they are; label maps are expanded, on the device on which
    they lie: see `expand`. The keywords are those of `Config.expansion`.
    """
    if classes is None:
        return batch["source"]
    return expand(batch["source"], batch.get("instance"), classes=classes, void=void, edges=edges)


def expand(
    source: Tensor,
    instance: Tensor | None = None,
    *,
    classes: int,
    void: int | None = None,
    edges: bool = False,
) -> Tensor:
    """Return label maps as float32 N x C x H x W: one-hot, 0 or 1, then the edges of instances.

    Args:
        source: ids, integers N x H x W.
        instance: instance ids, integers N x H x W; needed for `edges`.
        classes: ids 0 to classes - 1 have a channel each, in their order.
        void: an id outside that range that has the channel after them, or None.
        edges: whether the last channel shows `boundaries` of `instance`.

    C is `classes`, one more with `void`, one more with `edges` (the order of pix2pixHD's and
    SPADE's inputs).

    Raises:
        DataError: the shape is another one, `instance` is lacking, or (looked at on the CPU alone,
            since it would hold up other devices) an id has no channel.
    """
    if source.ndim != 3 or source.is_floating_point():
        raise DataError(
            f"label maps are integers N x H x W, this is {source.dtype} of shape "
            f"{tuple(source.shape)}: give ids, not a picture"
        )
    ids = source.to(torch.int64)
    if ids.device.type == "cpu":
        check_ids(ids, classes=classes, void=void)
    count = classes
    if void is not None:
        ids = torch.where(ids == void, classes, ids)
        count += 1
    number, height, width = ids.shape
    shape = (number, count + edges, height, width)
    expanded = torch.zeros(shape, dtype=torch.float32, device=ids.device)
    expanded[:, :count].scatter_(1, ids[:, None], 1.0)
    if edges:
        if instance is None or instance.shape != source.shape:
            raise DataError("instance edges need an instance map of the label map's size beside it")
        expanded[:, -1] = boundaries(instance)
    return expanded


def check_ids(ids: Tensor, *, classes: int, void: int | None = None) -> None:
    """Raise `DataError` for the first of some ids (integers of any shape) that has no channel."""
    wrong = (ids < 0) | (ids >= classes)
    if void is not None:
        wrong &= ids != void
    if bool(wrong.any()):
        raise DataError(
            f"a label map holds the id {int(ids[wrong][0])}, which has no channel: ids are "
            f"0 to {classes - 1}" + ("" if void is None else f", and {void} for void")
        )


def boundaries(instance: Tensor) -> Tensor:
    """Return where instances meet: True for pixels that differ from one of their 4 neighbours.

    Integers of shape ... x H x W give booleans of the same shape (Wang et al. 2018, section 3.3).
    """
    edge = torch.zeros(instance.shape, dtype=torch.bool, device=instance.device)
    across = instance[..., :, 1:] != instance[..., :, :-1]
    down = instance[..., 1:, :] != instance[..., :-1, :]
    edge[..., :, 1:] |= across
    edge[..., :, :-1] |= across
    edge[..., 1:, :] |= down
    edge[..., :-1, :] |= down
    return edge
