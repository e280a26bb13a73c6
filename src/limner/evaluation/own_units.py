"""Per-pixel figures of the numbers themselves: beyond 8 bits, in a stated range, inside a mask.

Where targets have a stated range, 16 bits or a mask, the metrics of `FUNCTIONS` are measured of the
numbers that the generator gives, not of 8-bit pictures, and of pixels that count alone. mae and
rmse are in the data's own unit, the others of the range scaled to [0, 1] (on its log scale, where
it has one), so that the range is the peak of psnr and ssim. All other metrics are measured of 8-bit
pictures of that range, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass
class OwnUnits:
    """The figures of pictures in their own numbers, gathered one picture after another.

    Args:
        metrics: names in `FUNCTIONS` and `IN_UNITS`.
        span: the range in which figures are told.
        unit: in words, what mae and rmse are in.
        masked: whether some pixels do not count.
    """

    metrics: Sequence[str]
    span: Span
    unit: str
    masked: bool = False
    figures: dict[str, dict[str, float] | None] = field(default_factory=dict)
    """By the name of a picture, its figure for each metric; None where no pixel counts."""

    def measure(
        self,
        name: str,
        *,
        values: tuple[Tensor, Tensor],
        scaled: tuple[Tensor, Tensor],
        mask: Tensor | None,
    ) -> None:
        """Measure a picture against its target.

        Args:
            name: the picture's.
            values: target and picture in the data's unit, 1 x C x H x W.
            scaled: the same with the range scaled to [0, 1].
            mask: 1 x 1 x H x W, where pixels count; None for everywhere.
        """
        if mask is not None and not bool(mask.any()):
            self.figures[name] = None
            return
        self.figures[name] = {
            metric: float(FUNCTIONS[metric](*scaled, peak=1.0, mask=mask))
            if metric in FUNCTIONS
            else float(IN_UNITS[metric](*values, mask=mask))
            for metric in self.metrics
        }

    def added(
        self, scores: Scores, *, groups: Mapping[str, str] | None, seed: int, resamples: int
    ) -> Scores:
        """Return scores of other metrics with these figures.

        Pictures without a pixel that counts have no part in means and intervals; among the values
        for each picture they stand as the mean, so that they tell runs apart by nothing.

        Args:
            scores: of the other metrics.
            groups: the group of each name, for intervals over groups.
            seed, resamples: of the intervals.

        Raises:
            DataError: no pixel of any picture counts.
        """
        names = scores.names or tuple(self.figures)
        measured = [name for name in names if self.figures[name] is not None]
        if not measured:
            raise DataError(
                f"no pixel of the {len(names)} pictures counts: correct their masks, data.mask or "
                "data.nodata"
            )
        values, per_image = dict(scores.values), dict(scores.per_image)
        details = dict(scores.details)
        for metric in self.metrics:
            known = {n: each[metric] for n in names if (each := self.figures[n]) is not None}
            figure = mean_figure(
                metric,
                list(known.values()),
                resamples=resamples,
                seed=seed,
                groups=[groups[name] for name in measured] if groups else (),
            )
            values[metric] = figure.value
            per_image[metric] = [known.get(name, figure.value) for name in names]
            details[metric] = figure.details | self._details(metric, len(names) - len(measured))
        of_each = tuple(groups[name] for name in names) if groups else ()
        return Scores(values, per_image, details, names, scores.groups or of_each)

    def _details(self, metric: str, empty: int) -> dict[str, object]:
        in_unit = metric in IN_UNITS
        words = [f"in {self.unit}" if in_unit else "of the range"]
        words += ["inside the mask"] if self.masked else []
        words += [f"{empty} without a pixel that counts left out"] if empty else []
        return {
            **({"unit": self.unit} if in_unit else {"range": [self.span.low, self.span.high]}),
            "inside_mask": self.masked,
            "note": ", ".join(words),
            "weights": [],
        }


def own_units(config: Config, pairs: PairedDataset, metrics: Sequence[str]) -> OwnUnits | None:
    """Return what is to gather a run's figures in its data's own numbers; None where nothing is.

    Args:
        config, pairs: of the run, and what is measured.
        metrics: all that were asked for.
    """
    span = config.data.spans[1]
    if span is None and config.data.type.target == "uint16":
        span = Span(0, 65535)
    elif span is None and pairs.masked:
        span = Span(0, 255)
    own = [name for name in metrics if name in FUNCTIONS or name in IN_UNITS]
    if span is None or not own:
        return None
    return OwnUnits(own, span, config.data.unit.target or "the targets' own", pairs.masked)


def measure_sample(
    own: OwnUnits, name: str, config: Config, picture: Tensor, sample: Sample
) -> None:
    """Measure a run's picture, C x H x W in [-1, 1], against the target of its sample."""
    picture = picture.detach().cpu().clamp(-1, 1)
    if config.data.spans[1] is None and config.data.type.target in (None, "uint8"):
        picture = to_bytes(picture).float() / 127.5 - 1  # as the files have it
    target = sample["target"].cpu()
    own.measure(
        name,
        values=(own.span.to_values(target)[None], own.span.to_values(picture)[None]),
        scaled=((target.double()[None] + 1) / 2, (picture.double()[None] + 1) / 2),
        mask=None if "mask" not in sample else sample["mask"].cpu()[None] > 0,
    )
