"""From a data folder to a data set that is checked and ready to train on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from limner.data.augmentation import AugmentSettings
from limner.data.data_settings import DataSettings, Percentiles
from limner.data.dataset import PairedDataset, Spans, different_sizes
from limner.data.dataset_cache import FileMemory
from limner.data.decode import Header, decode, probe
from limner.data.labelmaps import LabelMaps
from limner.data.labels import check_labels
from limner.data.layouts import find_pairs
from limner.data.masks import Automatic
from limner.data.pair_reading import (
    Resizing,
    common_size,
    factor_of,
    probe_sources,
    read_pair,
)
from limner.data.pairs import Pair, files_of, left_out, odd_width, spread
from limner.data.pixels import (
    MODES,
    channel_problem,
    checked_interpolation,
    checked_mode,
    is_convertible,
    looks_like_ids,
    looks_like_labels,
)
from limner.data.ranges import (
    narrow_range,
    not_finite,
    percentile_ranges,
    stored_type,
    type_problem,
)
from limner.errors import DataError

logger = logging.getLogger(__name__)

_LOOKED_AT = 16  # pairs, on which "auto" decides


def open_dataset(
    root: Path,
    split: str = "train",
    *,
    direction: str | None = None,
    mode: str = "resize",
    size: tuple[int, int] = (256, 256),
    load_size: tuple[int, int] | None = None,
    flip: bool = False,
    channels: tuple[int, int] = (3, 3),
    convert: bool = False,
    interpolation: tuple[str, str] = ("auto", "auto"),
    cache_folder: Path | None = None,
    cache_bytes: int = 0,
    seed: int = 0,
    augment: bool = False,
    batch_size: int = 1,
    beside: Sequence[PairedDataset] = (),
    labels: LabelMaps | None = None,
    spans: Spans = (None, None),
    resizing: Resizing = "multiple",
    mask: Automatic | None = None,
    augmentation: AugmentSettings | None = None,
) -> PairedDataset:
    """Find the pairs of a split, check them all, decide what is "auto" and open the cache.

    Args:
        root, split, direction: the data set, as `find_pairs` takes them.
        mode, size, flip, channels, convert, seed, augment, spans, resizing, mask,
            augmentation: as `PairedDataset` has them.
        load_size: (height, width) before cropping; `size` if None.
        interpolation: for source and target; the data set's own `interpolation` says what "auto"
            became (give that to the other splits of a run, so that all are alike).
        cache_folder, cache_bytes: where decoded pictures are kept, and how much of them; None for
            no cache.
        batch_size: a batch holds pictures of one size, which is checked where it is over 1.
        beside: the data sets already open on the same cache folder: their files are kept, and
            `cache_bytes` bounds all of them together.
        labels: how label maps are read; every one is read once, and what it holds remembered in
            `cache_folder`. None where sources are pictures.

    Raises:
        DataError, ConfigError: pairs or settings that cannot be used, each with the cure, before
            the work starts.
    """
    load_size = size if load_size is None else load_size
    checked_mode(mode, size=size, load_size=load_size)
    for name in interpolation:
        if name != "auto":
            checked_interpolation(name)
    pairs = find_pairs(root, split, direction=direction)
    fields = scan(pairs)
    # In training alone: what a run was trained on stays usable.
    ids = augment and labels is None and spans[0] is None
    if ids and all(source.channels == 1 for source, _ in fields):
        _check_no_ids(pairs)  # before channels are advised that train on black
    validate(
        pairs,
        fields,
        mode=mode,
        size=size,
        channels=channels if labels is None else (None, channels[1]),
        convert=convert,
        batch_size=batch_size,
        spans=spans,
        resizing=resizing,
    )
    if ids and any(source.channels == 3 for source, _ in fields):
        _check_no_ids(pairs)
    _check_finite(pairs, fields, spans, memory=cache_folder)
    if labels is not None:
        check_labels(pairs, labels, memory=cache_folder)
        interpolation = ("nearest", interpolation[1])
    dataset = PairedDataset(
        pairs,
        mode=mode,
        size=size,
        load_size=load_size,
        flip=flip,
        channels=channels,
        convert=convert,
        interpolation=decide_interpolation(pairs, interpolation),
        cache=None,
        seed=seed,
        augment=augment,
        labels=labels,
        spans=spans,
        resizing=resizing,
        mask=mask,
        augmentation=augmentation,
    )
    others = left_out(path for pair in pairs for path in files_of(pair))
    dataset.notes = () if others is None else (others,)
    if cache_folder is not None:
        claims = {}
        for other in beside:
            if other.cache is not None:
                claims |= other.cache.claims
        dataset.cache = dataset.planned_cache(
            cache_folder, fields, limit_bytes=cache_bytes, beside=claims
        )
    return dataset


def decide_interpolation(pairs: Sequence[Pair], interpolation: tuple[str, str]) -> tuple[str, str]:
    """Replace "auto" for source and target by nearest or bicubic.

    Nearest where most of up to 16 pairs, spread over the data set, show label colours, else
    bicubic. What was found is logged.
    """
    if "auto" not in interpolation:
        return interpolation
    chosen = spread(pairs, _LOOKED_AT)
    count = len(chosen)
    votes = [tuple(looks_like_labels(image) for image in read_pair(pair)) for pair in chosen]
    decided = []
    for field, name in enumerate(interpolation):
        if name == "auto":
            labels = sum(vote[field] for vote in votes)
            name = "nearest" if 2 * labels > count else "bicubic"
            role = ("source", "target")[field]
            what = f"{labels} of {count} images of the {role} show label colours"
            logger.info("%s: it is resized with %s", what, name)
        decided.append(name)
    return decided[0], decided[1]


def _check_finite(
    pairs: Sequence[Pair],
    fields: Sequence[tuple[Header, Header]],
    spans: Spans,
    *,
    memory: Path | None,
) -> None:
    """Find numbers that are not finite before the work starts, where nothing says what they are."""
    paths = [
        path
        for pair, headers in zip(pairs, fields, strict=True)
        for read, span, files in zip(headers, spans, (pair.sources, [pair.target]), strict=True)
        if span is not None and span.nodata is None and read.dtype.is_floating_point
        for path in files
    ]
    known = FileMemory(memory, "finite", paths)
    unread = [path for path in paths if known.get(path) is None]
    with ThreadPoolExecutor(4) as pool:
        finite = pool.map(lambda path: bool(torch.isfinite(decode(path)).all()), unread)
        for path, sound in zip(unread, finite, strict=True):
            known.put(path, sound)
    known.save()
    _raise_first(not_finite(path) for path in paths if not known.get(path))


@dataclass(frozen=True)
class RangeFacts:
    """What a training set tells of its values: settings by their keys, and notes to be said."""

    settings: dict[str, object]
    notes: tuple[str, ...]


def derive_ranges(pairs: Sequence[Pair], data: DataSettings) -> RangeFacts:
    """Resolve what the training set decides of `data.range`, `data.type` and `data.factor`.

    Raises:
        DataError: a file cannot be read, or percentiles tell no range.
    """
    fields = scan(pairs)
    roles = ["target"] if data.labels is not None else ["source", "target"]
    settings: dict[str, object] = {}
    notes: list[str] = []
    chosen = spread(pairs, _LOOKED_AT)
    for role in roles:
        side = ("source", "target").index(role)
        ends = getattr(data.range, role)
        stored = stored_type([headers[side] for headers in fields])
        if stored != "uint8":
            settings[f"data.type.{role}"] = stored
        if isinstance(ends, Percentiles):
            images = (read_pair(pair, stated=True)[side] for pair in pairs)
            several = side == 0 and any(pair.more for pair in pairs)
            found = percentile_ranges(
                images,
                len(pairs),
                ends.percentiles,
                nodata=data.nodata,
                per_channel=several if ends.per_channel is None else ends.per_channel,
            )
            settings[f"data.range.{role}"] = found[0] if len(found) == 1 else found
            told = ", ".join(f"[{low:g}, {high:g}]" for low, high in found)
            notes.append(
                f"the {role} range is {told}, the percentiles {list(ends.percentiles)} of the "
                f"training set{'' if len(found) == 1 else ' for each channel'}"
            )
        elif sentence := narrow_range(
            [read_pair(pair, stated=ends != "type")[side] for pair in chosen],
            role,
            data.spans[side],
        ):
            notes.append(sentence)
    sizes = [
        ((source.height, source.width), (target.height, target.width)) for source, target in fields
    ]
    differing = [(source, target) for source, target in sizes if source != target]
    if (factor := factor_of(sizes)) > 1:
        settings["data.factor"] = factor
    if differing:
        (height, width), (other, another) = differing[0]
        notes.append(
            f"{len(differing)} of {len(sizes)} pairs have two sizes (the first {width}x{height} and"
            f" {another}x{other}): one is resized to the other as data.resize={data.resize} says"
        )
    return RangeFacts(settings, tuple(notes))


def scan(pairs: Sequence[Pair], *, threads: int = 4) -> list[tuple[Header, Header]]:
    """Read the headers of all pairs; of images side by side, each half has its own.

    Raises `DataError` for files that cannot be read and for side-by-side images of odd width.
    """
    with ThreadPoolExecutor(threads) as pool:
        sources = probe_sources(pairs, pool)
        apart = [pair.target for pair in pairs if pair.source_half is None]
        targets = iter(list(pool.map(probe, apart)))
    _raise_first(
        f"{pair.source} is {_size(read)}, no wider than high: an image of this folder holds source "
        "and target side by side; put the partners in two folders (train/source, train/target), "
        "or list the image in a manifest with its side, if its halves are meant"
        for pair, read in zip(pairs, sources, strict=True)
        if pair.source_half is not None and not pair.declared and read.width <= read.height
    )
    _raise_first(
        odd_width(pair.source, read.width, read.height)
        for pair, read in zip(pairs, sources, strict=True)
        if pair.source_half is not None and read.width % 2
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
    fields: Sequence[tuple[Header, Header]],
    *,
    mode: str,
    size: tuple[int, int],
    channels: tuple[int | None, int],
    convert: bool,
    batch_size: int,
    spans: Spans = (None, None),
    resizing: Resizing = "multiple",
) -> None:
    """Raise `DataError` for what would fail in training, from the headers that `scan` read.

    Channels of None are not looked at: those of label maps, of which every value is checked.

    Channels that differ from those asked for, source and target of different sizes, images smaller
    than the crop, and two sizes in a batch where nothing makes them one. Sizes in messages are
    width x height, as image viewers give them.
    """
    both = list(zip(pairs, fields, strict=True))
    if channels[0] is None:
        _raise_first(
            f"{pair.source} is one of {len(pair.sources)} sources of a pair, and a label map is "
            "one file: leave data.labels out, or list one source"
            for pair in pairs
            if pair.more
        )
    cure = _channels_cure(fields, channels, convert=convert)
    _raise_first(
        channel_problem(
            read.channels,
            wanted,
            convert=convert and not (side == 0 and pair.more),
            path=path,
            cure=cure,
        )
        for pair, headers in both
        for side, (read, wanted, path) in enumerate(
            zip(headers, channels, (pair.source, pair.target), strict=True)
        )
        if wanted is not None
    )
    _raise_first(
        type_problem(read.dtype, span, role=role, path=path)
        for pair, headers in both
        for read, span, role, path, wanted in zip(
            headers, spans, ("source", "target"), (pair.source, pair.target), channels, strict=True
        )
        if wanted is not None
    )
    _raise_first(
        different_sizes(pair, (source.height, source.width), (target.height, target.width))
        for pair, (source, target) in both
        if _together(source, target, resizing) is None
    )
    _check_masks(both, resizing)
    whole = [_together(source, target, resizing) or source for source, target in fields]
    if mode == "crop":
        _raise_first(
            f"{pair.source} is {_size(image)}, smaller than the crop of {size[1]}x{size[0]}: "
            "lower data.size, or set data.mode to one that resizes"
            for pair, image in zip(pairs, whole, strict=True)
            if image.height < size[0] or image.width < size[1]
        )
    if not MODES[mode].resize and not MODES[mode].crop and batch_size > 1:
        _raise_first(
            f"{pair.source} is {_size(image)} and {pairs[0].source} is {_size(whole[0])}: two "
            "sizes cannot stand in a batch, so set training.batch_size=1, or data.mode to one that "
            "resizes or crops"
            for pair, image in zip(pairs, whole, strict=True)
            if _size(image) != _size(whole[0])
        )


def _together(source: Header, target: Header, resizing: Resizing) -> Header | None:
    """Return a header with the size that both images of a pair come to; None for no such size."""
    sizes = [(read.height, read.width) for read in (source, target)]
    size = common_size(sizes[0], sizes[1], resizing)
    return None if size is None else source._replace(height=size[0], width=size[1])


def _check_masks(both: Sequence[tuple[Pair, tuple[Header, Header]]], resizing: Resizing) -> None:
    if all(pair.mask is None for pair, _ in both):
        return
    _raise_first(
        f"{pair.source} has no mask, and other pairs have one: give every pair one, or none"
        for pair, _ in both
        if pair.mask is None
    )
    with ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(probe, (pair.mask or pair.source for pair, _ in both)))
    _raise_first(
        f"{pair.mask} is {_size(mask)} and its pair {pair.source} is {_size(source)}: a mask must "
        "have the pair's size, so make it anew"
        for (pair, (source, target)), mask in zip(both, masks, strict=True)
        if _size(mask)
        not in {_size(one) for one in (source, target, _together(source, target, resizing)) if one}
    )


def _channels_cure(
    fields: Sequence[tuple[Header, Header]], channels: tuple[int | None, int], *, convert: bool
) -> str:
    """Return what helps the whole data set, so that following it leads to no second complaint."""
    counts = [sorted({headers[side].channels for headers in fields}) for side in (0, 1)]
    convertible = all(
        is_convertible(count, wanted)
        for side, wanted in zip(counts, channels, strict=True)
        if wanted is not None
        for count in side
        if count != wanted
    )
    advice = []
    mixed = [
        f"the {role}s have {' and '.join(map(str, side))} channels"
        for role, side, wanted in zip(("source", "target"), counts, channels, strict=True)
        if wanted is not None and len(side) > 1
    ]
    if not mixed:
        first, second = (
            side[0] if wanted is not None else (channels[1] if len(counts[1]) > 1 else counts[1][0])
            for side, wanted in zip(counts, channels, strict=True)
        )
        advice.append(f"set data.channels={first if first == second else [first, second]}")
    if convertible and not convert:
        advice.append("data.convert=true to convert images" if advice else "set data.convert=true")
    elif mixed:
        advice.append("save them anew with the same channels each")
    return ", or ".join(advice) + (f" ({' and '.join(mixed)})" if mixed else "")


def _check_no_ids(pairs: Sequence[Pair]) -> None:
    """Refuse sources that are maps of class ids: as pictures they would be nearly black.

    Raises:
        DataError: they hold a few small numbers in flat areas, and no range is stated for them.
    """
    chosen = spread(pairs, _LOOKED_AT)
    values: set[int] = set()
    for pair in chosen:
        image = read_pair(pair)[0]
        if not looks_like_ids(image):
            return
        values.update(image[0].unique().tolist())
    ids = sorted(values - {255})
    if len(ids) < 2 or 2 * len(ids) <= ids[-1]:  # greys of a drawing stand further apart
        return
    raise DataError(
        f"{chosen[0].source} and the other sources hold whole numbers from {ids[0]} to {ids[-1]} "
        "in flat areas, as class ids do: set data.labels={} to take them as label maps, or "
        f"data.range.source=[{ids[0]}, {max(values)}] to take them as grey pictures"
    )


def _size(header: Header) -> str:
    return f"{header.width}x{header.height}"


def _raise_first(problems: Iterable[str | None]) -> None:
    sentences = [problem for problem in problems if problem is not None]
    if sentences:
        more = f" ({len(sentences) - 1} more like it)" if len(sentences) > 1 else ""
        raise DataError(sentences[0] + more)
