"""Two folders of files of any type compared in a stated range, and inside masks.

The per-pixel metrics of `own_units` are measured of the numbers that the files hold, unclipped; all
others of 8-bit pictures of the range. Pixels that are not finite or nodata on either side count in
no figure of the former, and are the low end in pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.data import Span, fitted_mask
from limner.data.decode import decode
from limner.errors import ConfigError, DataError
from limner.evaluation.image_sets import matched, name_in
from limner.evaluation.measure import RESAMPLES, SEED, compare_folders, mean_figure
from limner.evaluation.metrics import Scores, chosen
from limner.evaluation.own_units import FUNCTIONS, IN_UNITS


def compare_values(
    real: Path,
    fake: Path,
    *,
    metrics: Sequence[str],
    span: Span,
    masks: Path | None = None,
    seed: int = SEED,
    bootstrap: int = RESAMPLES,
    **settings: Any,
) -> Scores:
    """Return the `metrics` of the files in `fake` against those of the same names in `real`.

    Args:
        real, fake: folders.
        metrics: names of `metrics.METRICS`.
        span: the range, linear and one for all channels, whose width is the peak of psnr and ssim,
            and what stands for no value.
        masks: a folder of masks of the same names, 0 where pixels do not count; None for none.
        seed, bootstrap: of the intervals.
        settings: as `measure.compare_folders` has them, for the metrics of pictures.

    Raises:
        DataError, ConfigError: files or masks lack, do not fit or hold no value that counts.
    """
    own = [name for name in chosen(metrics) if name in FUNCTIONS or name in IN_UNITS]
    rest = [name for name in chosen(metrics) if name not in own]
    if span.nodata is None:
        span = Span(span.low, span.high, nodata="nan")
    figures: dict[str, dict[str, float]] = {}
    outside = False
    empty = 0
    for left, right in matched(real, fake) if own else ():
        name = name_in(fake, right)
        mask = None if masks is None else _mask_of(masks, name)
        found, all_count = _figures(left, right, mask, span, own)
        outside |= not all_count
        if found is None:
            empty += 1
        else:
            figures[name] = found
    if own and not figures:
        raise DataError(f"no pixel of the files in {real} and {fake} counts: correct the masks")
    scores = Scores({}, {}, {})
    if rest:
        scores = compare_folders(
            real, fake, metrics=rest, seed=seed, view=_picture_of(span), **settings
        )
        if empty and scores.per_image:
            raise ConfigError(
                f"{empty} files hold no value that counts, and {', '.join(scores.per_image)} are "
                "of every file: leave these files or these metrics out"
            )
    names = tuple(figures) or scores.names
    order = [scores.names.index(name) for name in names] if scores.names else []
    per_image = {
        metric: [each[k] for k in order] for metric, each in scores.per_image.items() if order
    }
    values, details = dict(scores.values), dict(scores.details)
    for metric in own:
        per_image[metric] = [figures[name][metric] for name in names]
        figure = mean_figure(metric, per_image[metric], resamples=bootstrap, seed=seed)
        values[metric] = figure.value
        own_unit = metric in IN_UNITS
        words = ["in the files' own unit" if own_unit else f"range {span.low} to {span.high}"]
        words += ["inside the mask"] if outside else []
        words += [f"{empty} without a pixel that counts left out"] if empty else []
        details[metric] = {
            **figure.details,
            "range": [span.low, span.high],
            "inside_mask": outside,
            "note": ", ".join(words),
            "weights": [],
        }
    return Scores(values, per_image, details, names)


def _mask_of(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(f"{name}.*")) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder} holds no mask of the name of {name!r}: give every picture one")
    return found[0]


def _figures(
    left: Path, right: Path, mask: Path | None, span: Span, metrics: Sequence[str]
) -> tuple[dict[str, float] | None, bool]:
    """Return the figures of two files, None where no pixel counts, and whether all pixels do."""
    images = [decode(path) for path in (left, right)]
    if len(images[0]) != len(images[1]):
        raise DataError(
            f"{left} has {len(images[0])} channels and {right} {len(images[1])}: give both as many"
        )
    counts = torch.ones(1, *images[0].shape[-2:], dtype=torch.bool)
    for image, path in zip(images, (left, right), strict=True):
        valid = span.to_network(image, path=path)[1]
        counts = counts if valid is None else counts & valid
    if mask is not None:
        size = (images[0].shape[-2], images[0].shape[-1])
        counts &= fitted_mask(mask, size, own={size})
    if not bool(counts.any()):
        return None, False
    low, high = span.ends[0]
    values = [torch.where(counts, image.double(), low)[None] for image in images]
    scaled = [(image - low) / (high - low) for image in values]
    whole = bool(counts.all())
    weight = None if whole else counts[None]
    return {
        name: float(FUNCTIONS[name](*scaled, peak=1.0, mask=weight))
        if name in FUNCTIONS
        else float(IN_UNITS[name](*values, mask=weight))
        for name in metrics
    }, whole


def _picture_of(span: Span) -> Callable[[Tensor, Path], Tensor]:
    def view(image: Tensor, path: Path) -> Tensor:
        scaled = span.to_network(image, path=path)[0]
        return ((scaled + 1) * 127.5).round().to(torch.uint8)

    return view
