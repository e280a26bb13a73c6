"""Every header is read once before the work starts; what cannot train is an error there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from limner.data.channels import channel_problem
from limner.data.decode import Header, probe
from limner.data.pairs import Pair
from limner.data.transforms import MODES
from limner.errors import DataError

Fields = tuple[Header, Header]
"""The headers of a pair's source and target."""


def scan(pairs: Sequence[Pair], *, threads: int = 4) -> list[Fields]:
    """Read the headers of all pairs; of images side by side, each half has its own.

    Raises `DataError` for files that cannot be read and for side-by-side images of odd width.
    """
    with ThreadPoolExecutor(threads) as pool:
        sources = list(pool.map(probe, (pair.source for pair in pairs)))
        apart = [pair.target for pair in pairs if pair.source_half is None]
        targets = iter(list(pool.map(probe, apart)))
    _raise_first(
        odd_width(pair.source, found.width, found.height)
        for pair, found in zip(pairs, sources, strict=True)
        if pair.source_half is not None and found.width % 2
    )
    fields = []
    for pair, source in zip(pairs, sources, strict=True):
        if pair.source_half is None:
            fields.append((source, next(targets)))
        else:
            half = source._replace(width=source.width // 2)
            fields.append((half, half))
    return fields


def validate(
    pairs: Sequence[Pair],
    fields: Sequence[Fields],
    *,
    mode: str,
    size: tuple[int, int],
    channels: tuple[int | None, int],
    convert: bool,
    batch_size: int,
) -> None:
    """Raise `DataError` for what would fail in training, from the headers that `scan` read.

    Channels of None are not looked at: those of label maps, of which every value is checked.

    Channels that differ from those asked for, source and target of different sizes, images smaller
    than the crop, and two sizes in a batch where nothing makes them one. Sizes in messages are
    width x height, as image viewers give them.
    """
    both = list(zip(pairs, fields, strict=True))
    _raise_first(
        channel_problem(header.channels, wanted, convert=convert, path=path)
        for pair, headers in both
        for header, wanted, path in zip(headers, channels, (pair.source, pair.target), strict=True)
        if wanted is not None
    )
    _raise_first(
        f"{pair.source} is {_size(source)} and its target {pair.target} is {_size(target)}: the "
        "two images of a pair must have one size, so resize one of them"
        for pair, (source, target) in both
        if _size(source) != _size(target)
    )
    if mode == "crop":
        _raise_first(
            f"{pair.source} is {_size(source)}, smaller than the crop of {size[1]}x{size[0]}: "
            "lower data.size, or set data.mode to one that resizes"
            for pair, (source, _) in both
            if source.height < size[0] or source.width < size[1]
        )
    if not MODES[mode].resize and not MODES[mode].crop and batch_size > 1:
        first, (expected, _) = both[0]
        _raise_first(
            f"{pair.source} is {_size(source)} and {first.source} is {_size(expected)}: two sizes "
            "cannot stand in a batch, so set training.batch_size=1, or data.mode to one that "
            "resizes or crops"
            for pair, (source, _) in both
            if _size(source) != _size(expected)
        )


def odd_width(path: Path, width: int, height: int) -> str:
    """Return the sentence on an image of odd width that should hold two."""
    return f"{path} is {width}x{height}: side-by-side pairs need an even width"


def _size(header: Header) -> str:
    return f"{header.width}x{header.height}"


def _raise_first(problems: Iterable[str | None]) -> None:
    found = [problem for problem in problems if problem is not None]
    if found:
        more = f" ({len(found) - 1} more like it)" if len(found) > 1 else ""
        raise DataError(found[0] + more)
