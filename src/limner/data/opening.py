"""From a data folder to a data set that is checked and ready to train on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from limner.data.checks import scan, validate
from limner.data.dataset import PairedDataset, read_pair
from limner.data.interpolation import checked_interpolation, looks_like_labels
from limner.data.labelmaps import LabelMaps
from limner.data.labelscan import check_labels
from limner.data.layouts import find_pairs
from limner.data.pairs import Pair
from limner.data.transforms import checked_mode

logger = logging.getLogger(__name__)

_LOOKED_AT = 16  # pairs, on which "auto" decides


def open_dataset(
    root: Path,
    split: str,
    *,
    direction: str | None,
    mode: str,
    size: tuple[int, int],
    load_size: tuple[int, int],
    flip: bool,
    channels: tuple[int, int],
    convert: bool,
    interpolation: tuple[str, str],
    cache_folder: Path | None,
    cache_bytes: int,
    seed: int,
    augment: bool,
    batch_size: int,
    beside: Sequence[PairedDataset] = (),
    labels: LabelMaps | None = None,
) -> PairedDataset:
    """Find the pairs of a split, check them all, decide what is "auto" and open the cache.

    Keywords as in `PairedDataset`; `interpolation` may be "auto" for source and target, and the
    data set's own `interpolation` says what it became (give that to the other splits of a run, so
    that all are alike). `beside` are the data sets already open on the same cache folder: their
    files are kept, and `cache_bytes` bounds all of them together. With `labels` every label map is
    read once, and what was found remembered in `cache_folder`.

    Raises `DataError` or `ConfigError`, each with the cure, before the work starts.
    """
    checked_mode(mode, size=size, load_size=load_size)
    for name in interpolation:
        if name != "auto":
            checked_interpolation(name)
    pairs = find_pairs(root, split, direction=direction)
    fields = scan(pairs)
    validate(
        pairs,
        fields,
        mode=mode,
        size=size,
        channels=channels if labels is None else (None, channels[1]),
        convert=convert,
        batch_size=batch_size,
    )
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
    )
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
    count = min(_LOOKED_AT, len(pairs))
    chosen = [pairs[place * len(pairs) // count] for place in range(count)]
    votes = [tuple(looks_like_labels(image) for image in read_pair(pair)) for pair in chosen]
    decided = []
    for field, name in enumerate(interpolation):
        if name == "auto":
            labels = sum(vote[field] for vote in votes)
            name = "nearest" if 2 * labels > count else "bicubic"
            role = ("source", "target")[field]
            found = f"{labels} of {count} images of the {role} show label colours"
            logger.info("%s: it is resized with %s", found, name)
        decided.append(name)
    return decided[0], decided[1]
