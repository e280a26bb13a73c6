"""The files of a pair become two images: several sources one, and two sizes one size."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from limner.data.decode import Header, decode, probe
from limner.data.pairs import Pair, odd_width
from limner.data.pixels import to_uint16
from limner.errors import DataError

Resizing = Literal["multiple", "source", "target", "off"]
"""What is done where the sizes of a pair differ: see `common_size`."""
Size = tuple[int, int]


def read_pair(pair: Pair, *, stated: bool = False) -> tuple[Tensor, Tensor]:
    """Decode the source and the target of a pair, each C x H x W of its own type.

    The channels of several sources stand one after the other, in a type that holds all of them:
    see `read_sources`.

    Raises:
        DataError: a file cannot be read, sources differ in size, or a side-by-side image has an
            odd width.
    """
    image = read_sources(pair.sources, stated=stated)
    if pair.source_half is None:
        return image, decode(pair.target)
    _, height, width = image.shape
    if width % 2:
        raise DataError(odd_width(pair.source, width, height))
    left, right = image[..., : width // 2], image[..., width // 2 :]
    return (left, right) if pair.source_half == "left" else (right, left)


def read_target(pair: Pair) -> Tensor:
    """Decode the target of a pair alone, C x H x W; raises as `read_pair`."""
    return decode(pair.target) if pair.source_half is None else read_pair(pair)[1]


def read_sources(paths: Sequence[Path], *, stated: bool = False) -> Tensor:
    """Decode the files of a source and join their channels; raises as `read_pair`.

    Where some are of 8 and others of 16 bits, those of 8 are spread over 16, as the range of their
    type has it; with a `stated` range values stay as they are.
    """
    return joined([decode(path) for path in paths], paths, stated=stated)


def joined(images: Sequence[Tensor], paths: Sequence[Path], *, stated: bool) -> Tensor:
    """Join the channels of a source's decoded files as `read_sources` does."""
    for image, path in zip(images, paths, strict=True):
        if image.shape[-2:] != images[0].shape[-2:]:
            raise DataError(_unequal(paths[0], _of(images[0]), path, _of(image)))
    types = {image.dtype for image in images}
    if len(types) == 1:
        return torch.cat(list(images)) if len(images) > 1 else images[0]
    if types == {torch.uint8, torch.uint16} and not stated:
        return torch.cat([to_uint16(image) for image in images])
    return torch.cat([image.double() for image in images])


def probe_sources(pairs: Sequence[Pair], pool: Executor) -> list[Header]:
    """Return the header of each pair's source, its files taken together.

    Raises:
        DataError: a file cannot be read, or files of one source differ in size.
    """
    found = iter(pool.map(probe, [path for pair in pairs for path in pair.sources]))
    return [_joined([(path, next(found)) for path in pair.sources]) for pair in pairs]


def _joined(files: Sequence[tuple[Path, Header]]) -> Header:
    (first_path, first), *others = files
    for path, read in others:
        if (read.height, read.width) != (first.height, first.width):
            size, other = (first.height, first.width), (read.height, read.width)
            raise DataError(_unequal(first_path, size, path, other))
    types = {read.dtype for _, read in files}
    if len(types) > 1:
        first = first._replace(
            dtype=torch.uint16 if types == {torch.uint8, torch.uint16} else torch.float64
        )
    return first._replace(channels=sum(read.channels for _, read in files))


def _unequal(path: Path, size: Size, other_path: Path, other: Size) -> str:
    return (
        f"{path} is {size[1]}x{size[0]} and {other_path} is {other[1]}x{other[0]}: the sources of "
        "a pair become the channels of one picture, so resize one of them"
    )


def _of(image: Tensor) -> Size:
    return int(image.shape[-2]), int(image.shape[-1])


def common_size(source: Size, target: Size, resizing: str) -> Size | None:
    """Return the (height, width) that both images of a pair are brought to; None for no such size.

    Images of one size keep it. Else "multiple" enlarges the smaller one where the larger is the
    same whole multiple of it both ways (super-resolution), "source" brings every source to its
    target's size, "target" every target to its source's, and "off" none.
    """
    if source == target or resizing == "target":
        return source
    if resizing == "source":
        return target
    small, large = sorted((source, target))
    factor = large[0] // small[0]
    whole = factor > 1 and large == (small[0] * factor, small[1] * factor)
    return large if resizing == "multiple" and whole else None


def factor_of(sizes: Sequence[tuple[Size, Size]]) -> int:
    """Return how many times larger all targets are than their sources; 1 where that differs."""
    factors = {
        target[0] // source[0]
        if target == tuple(side * (target[0] // source[0]) for side in source)
        else 0
        for source, target in sizes
    }
    return factors.pop() if len(factors) == 1 and min(factors) > 1 else 1
