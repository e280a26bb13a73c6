"""Two folders of files of any type compared in a stated range, and inside masks.

The per-pixel metrics of `own_units` are measured of the numbers that the files hold, unclipped; all
others of 8-bit pictures of the range. Pixels that are not finite or nodata on either side count in
no figure of the former, and are the low end in pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from limner.data import Span, fitted_mask
from limner.data.decode import decode
from limner.errors import DataError
from limner.evaluation.image_sets import matched, name_in
from limner.evaluation.measure import RESAMPLES, SEED, compare_folders
from limner.evaluation.metrics import Scores, chosen
from limner.evaluation.own_units import FUNCTIONS, IN_UNITS, OwnUnits
from limner.networks.pretrained import Progress


def compare_values(
    real: Path,
    fake: Path,
    *,
    metrics: Sequence[str],
    span: Span,
    masks: Path | None = None,
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    seed: int = SEED,
    progress: Progress | None = None,
    bootstrap: int = RESAMPLES,
) -> Scores:
    """Return the `metrics` of the files in `fake` against those of the same names in `real`.

    Args:
        real, fake: folders.
        metrics: names of `metrics.METRICS`.
        span: the range, linear and one for all channels, whose width is the peak of psnr and ssim,
            and what stands for no value.
        masks: a folder of masks of the same names, 0 where pixels do not count; None for none.
        weights, device, progress: as `measure` has them, for the metrics of 8-bit pictures.
        seed, bootstrap: of the intervals.

    Raises:
        DataError: files or masks lack, do not fit or hold no value that counts.
    """
    names = [name for name in chosen(metrics) if name in FUNCTIONS or name in IN_UNITS]
    rest = [name for name in chosen(metrics) if name not in names]
    if span.nodata is None:
        span = Span(span.low, span.high, nodata="nan")
    own = OwnUnits(names, span, "the files' own unit")
    for left, right in matched(real, fake) if names else ():
        name = name_in(fake, right)
        _measure(own, name, left, right, mask=None if masks is None else _mask_of(masks, name))
    scores = Scores({}, {}, {})
    if rest:
        scores = compare_folders(
            real,
            fake,
            metrics=rest,
            weights=weights,
            device=device,
            seed=seed,
            progress=progress,
            bootstrap=bootstrap,
            view=_picture_of(span),
        )
    return own.added(scores, groups=None, seed=seed, resamples=bootstrap) if names else scores


def _mask_of(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(f"{name}.*")) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder} holds no mask of the name of {name!r}: give every picture one")
    return found[0]


def _measure(own: OwnUnits, name: str, left: Path, right: Path, *, mask: Path | None) -> None:
    """Measure two files against each other, where both hold values and the mask lets them count."""
    images = [decode(path) for path in (left, right)]
    if len(images[0]) != len(images[1]):
        raise DataError(
            f"{left} has {len(images[0])} channels and {right} {len(images[1])}: give both as many"
        )
    size = (images[0].shape[-2], images[0].shape[-1])
    counts = torch.ones(1, *size, dtype=torch.bool)
    for image, path in zip(images, (left, right), strict=True):
        valid = own.span.to_network(image, path=path)[1]
        counts = counts if valid is None else counts & valid
    if mask is not None:
        counts &= fitted_mask(mask, size, own={size})
    low, high = own.span.ends[0]
    a, b = (torch.where(counts, image.double(), low)[None] for image in images)
    whole = bool(counts.all())
    own.masked |= not whole
    own.measure(
        name,
        values=(a, b),
        scaled=((a - low) / (high - low), (b - low) / (high - low)),
        mask=None if whole else counts[None],
    )


def _picture_of(span: Span) -> Callable[[Tensor, Path], Tensor]:
    def view(image: Tensor, path: Path) -> Tensor:
        scaled = span.to_network(image, path=path)[0]
        return ((scaled + 1) * 127.5).round().to(torch.uint8)

    return view
