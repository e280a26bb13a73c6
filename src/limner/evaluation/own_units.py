"""Errors in the data's own unit, for targets of more than 8 bits or with a stated range.

Everything else is measured of 8-bit pictures of that range, so that a level is a 255th of it; these
errors are of the numbers that the generator gives, and of pixels that count alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from limner.config import Config
from limner.data import PairedDataset, Sample, Span
from limner.evaluation.measure import mean_figure
from limner.evaluation.metrics import Scores

NAMES = ("mae", "rmse")
Errors = dict[str, dict[str, float]]
"""By the name of a pair, its figure for each of `NAMES`."""


def span_of(config: Config, pairs: PairedDataset) -> Span | None:
    """Return the range that a run's errors are told in; None where 8-bit pictures tell them."""
    stated = config.data.spans[1]
    if stated is None and config.data.type.target == "uint16":
        return Span(0, 65535)
    return Span(0, 255) if stated is None and pairs.masked else stated


def in_own_unit(config: Config, pairs: PairedDataset, metrics: Sequence[str]) -> list[str]:
    """Return those of some metrics that are to be measured here for a run."""
    return [name for name in metrics if name in NAMES and span_of(config, pairs) is not None]


def errors_of(span: Span, picture: torch.Tensor, sample: Sample) -> dict[str, float]:
    """Return the errors of one picture, C x H x W in [-1, 1]; 0 where no pixel counts."""
    difference = span.to_values(picture) - span.to_values(sample["target"])
    mask = sample.get("mask")
    if mask is not None:
        difference = difference[(mask.cpu() > 0).expand_as(difference)]
    if not difference.numel():
        return dict.fromkeys(NAMES, 0.0)
    return {
        "mae": float(difference.abs().mean()),
        "rmse": float(difference.square().mean().sqrt()),
    }


def added(
    scores: Scores,
    errors: Mapping[str, Mapping[str, float]],
    metrics: Sequence[str],
    config: Config,
    pairs: PairedDataset,
    *,
    seed: int,
    resamples: int,
) -> Scores:
    """Return scores with those `metrics` that `in_own_unit` named, from the pictures' `errors`."""
    names = scores.names or tuple(errors)
    per_image = {metric: [errors[name][metric] for name in names] for metric in metrics}
    details = {}
    for metric, each in per_image.items():
        figure = mean_figure(metric, each, resamples=resamples, seed=seed)
        details[metric] = {
            **figure.details,
            "unit": config.data.unit.target or "the targets' own",
            "inside_mask": pairs.masked,
            "weights": [],
        }
    return Scores(
        {**scores.values, **{name: sum(each) / len(each) for name, each in per_image.items()}},
        {**scores.per_image, **per_image},
        {**scores.details, **details},
        names,
    )
