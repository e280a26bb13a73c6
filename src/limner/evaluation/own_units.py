"""Per-pixel figures of the numbers themselves: beyond 8 bits, in a stated range, inside a mask.

Where targets have a stated range, 16 bits or a mask, the metrics of `FUNCTIONS` are measured of the
numbers that the generator gives, not of 8-bit pictures, and of pixels that count alone. mae and
rmse are in the data's own unit, the others of the range scaled to [0, 1] (on its log scale, where
it has one), so that the range is the peak of psnr and ssim. All other metrics are measured of 8-bit
pictures of that range, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from limner.config import Config
from limner.data import PairedDataset, Sample, Span
from limner.errors import DataError
from limner.evaluation.measure import mean_figure
from limner.evaluation.metrics import Scores, per_pixel
from limner.inference import to_bytes

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "l1": per_pixel.l1,
    "psnr": per_pixel.psnr,
    "ssim": per_pixel.ssim,
    "ms-ssim": per_pixel.ms_ssim,
}
"""Measured with the range as peak 1."""
IN_UNITS: dict[str, Callable[..., Tensor]] = {"mae": per_pixel.mae, "rmse": per_pixel.rmse}
"""Measured in the data's unit."""
Figures = dict[str, dict[str, float] | None]
"""By the name of a pair, its figure for each metric; None where no pixel counts."""


def span_of(config: Config, pairs: PairedDataset) -> Span | None:
    """Return the range that a run's figures are told in; None where 8-bit pictures tell them."""
    stated = config.data.spans[1]
    if stated is None and config.data.type.target == "uint16":
        return Span(0, 65535)
    return Span(0, 255) if stated is None and pairs.masked else stated


def in_own_unit(config: Config, pairs: PairedDataset, metrics: Sequence[str]) -> list[str]:
    """Return those of some metrics that are to be measured here for a run."""
    if span_of(config, pairs) is None:
        return []
    return [name for name in metrics if name in FUNCTIONS or name in IN_UNITS]


def figures_of(
    config: Config, span: Span, picture: Tensor, sample: Sample, metrics: Sequence[str]
) -> dict[str, float] | None:
    """Return the figures of one picture, C x H x W in [-1, 1]; None where no pixel counts."""
    target = sample["target"].cpu()
    mask = None if "mask" not in sample else sample["mask"].cpu()[None] > 0
    if mask is not None and not bool(mask.any()):
        return None
    picture = picture.detach().cpu().clamp(-1, 1)
    if config.data.spans[1] is None and config.data.type.target in (None, "uint8"):
        picture = to_bytes(picture).float() / 127.5 - 1  # as the files have it
    scaled = [(image.double()[None] + 1) / 2 for image in (target, picture)]
    values = [span.to_values(image)[None] for image in (target, picture)]
    return {
        name: float(FUNCTIONS[name](*scaled, peak=1.0, mask=mask))
        if name in FUNCTIONS
        else float(IN_UNITS[name](*values, mask=mask))
        for name in metrics
    }


def added(
    scores: Scores,
    figures: Mapping[str, Mapping[str, float] | None],
    metrics: Sequence[str],
    config: Config,
    pairs: PairedDataset,
    *,
    groups: Mapping[str, str] | None,
    seed: int,
    resamples: int,
) -> Scores:
    """Return scores with those `metrics` that `in_own_unit` named, from the pictures' `figures`.

    Pictures without a pixel that counts have no part in means and intervals; among the values for
    each picture they stand as the mean, so that they tell runs apart by nothing.

    Args:
        scores: of the other metrics.
        figures: of every picture by its name.
        metrics: those to add.
        config, pairs: of the run, and what was measured.
        groups: the group of each name, for intervals over groups.
        seed, resamples: of the intervals.

    Raises:
        DataError: no pixel of any picture counts.
    """
    names = scores.names or tuple(figures)
    measured = [name for name in names if figures[name] is not None]
    if not measured:
        raise DataError(
            f"no pixel of the {len(names)} pictures counts: correct their masks, data.mask or "
            "data.nodata"
        )
    values, per_image, details = dict(scores.values), dict(scores.per_image), dict(scores.details)
    for metric in metrics:
        known = {name: each[metric] for name in names if (each := figures[name]) is not None}
        figure = mean_figure(
            metric,
            list(known.values()),
            resamples=resamples,
            seed=seed,
            groups=[groups[name] for name in measured] if groups else (),
        )
        values[metric] = figure.value
        per_image[metric] = [known.get(name, figure.value) for name in names]
        unit = (config.data.unit.target or "the targets' own") if metric in IN_UNITS else None
        details[metric] = {
            **figure.details,
            **({"unit": unit} if unit else {"range": _ends(span_of(config, pairs))}),
            "inside_mask": pairs.masked,
            "note": _note(unit, masked=pairs.masked, empty=len(names) - len(measured)),
            "weights": [],
        }
    return Scores(
        values,
        per_image,
        details,
        names,
        scores.groups or (tuple(groups[name] for name in names) if groups else ()),
    )


def _ends(span: Span | None) -> list[object] | None:
    return None if span is None else [span.low, span.high]


def _note(unit: str | None, *, masked: bool, empty: int) -> str:
    words = [f"in {unit}"] if unit else ["of the range"]
    if masked:
        words.append("inside the mask")
    if empty:
        words.append(f"{empty} without a pixel that counts left out")
    return ", ".join(words)
