"""Value ranges: which numbers of a file are -1 and 1 to the networks, and the way back.

Where a side has no stated range, its 8 or 16 bit files count from 0 to the end of their type (see
`limner.data.to_float`). A stated one is the same for all files, whatever their type; what lies
beyond it is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from limner.data.decode import Header
from limner.data.pixels import resize
from limner.errors import ConfigError, DataError

Scale = Literal["linear", "log"]
Ends = float | tuple[float, ...]
SAMPLES = 2**24  # values that percentiles are taken of, spread evenly over all images
_UNSIGNED = {torch.uint8: 255, torch.uint16: 65535}
_WIDEST = ("uint8", "uint16", "int16", "int32", "float32")  # what a set of files is said to hold


@dataclass(frozen=True)
class Span:
    """What a side's values mean: `low` is -1 to the networks and `high` is 1.

    Both are one number for all channels, or one for each. On a log scale equal factors are equal
    steps. `nodata` is a value that stands for none ("nan": numbers that are not finite alone).

    Raises:
        ConfigError: the range is empty, or a log scale does not begin above 0.
    """

    low: Ends
    high: Ends
    scale: Scale = "linear"
    nodata: float | Literal["nan"] | None = None

    def __post_init__(self) -> None:
        for low, high in self.ends:
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(f"data.range is [{low}, {high}]: give the lower end first")
            if self.scale == "log" and low <= 0:
                raise ConfigError(
                    f"data.range begins at {low}, of which there is no logarithm: give a range "
                    "above 0, or data.scale=linear"
                )

    @property
    def ends(self) -> list[tuple[float, float]]:
        """The low and the high end: one pair for all channels, or one for each."""
        sides = [side if isinstance(side, tuple) else (side,) for side in (self.low, self.high)]
        return list(zip(*sides, strict=True))

    def to_network(self, image: Tensor, *, path: Path) -> tuple[Tensor, Tensor | None]:
        """Return samples of any type as float32 in [-1, 1], and which of them count.

        What does not count is -1, like the low end; the second is None where `nodata` is off.

        Raises:
            DataError: there are numbers that are not finite, and `nodata` is off; names `path`.
        """
        values = image.to(torch.float64)
        valid = torch.isfinite(values)
        if self.nodata is None:
            if not bool(valid.all()):
                raise DataError(not_finite(path))
        elif self.nodata != "nan":
            valid &= values != self.nodata
        low, high = self._ends_of(len(image), path)
        values = self._scaled(torch.minimum(torch.maximum(values.nan_to_num(), low), high))
        low, high = self._scaled(low), self._scaled(high)
        scaled = ((values - low) / (high - low) * 2 - 1).to(torch.float32)
        if self.nodata is None:
            return scaled, None
        return torch.where(valid, scaled, -1.0), valid.all(dim=0, keepdim=True)

    def to_values(self, picture: Tensor) -> Tensor:
        """Return a picture C x H x W in [-1, 1] in the data's own unit, float64."""
        low, high = (self._scaled(end) for end in self._ends_of(len(picture), None))
        values = low + (picture.detach().cpu().double().clamp(-1, 1) + 1) / 2 * (high - low)
        return values.exp() if self.scale == "log" else values

    def _ends_of(self, channels: int, path: Path | None) -> tuple[Tensor, Tensor]:
        """Return both ends for an image of so many channels, (C or 1) x 1 x 1 float64 each."""
        ends = torch.tensor(self.ends, dtype=torch.float64)
        if len(ends) not in (1, channels):
            raise DataError(
                f"{path or 'a picture'} has {channels} channels, and data.range states "
                f"{len(ends)} ranges: give one, or one for each channel"
            )
        low, high = ends[:, :, None, None].unbind(dim=1)
        return low, high

    def _scaled(self, values: Tensor) -> Tensor:
        return values.log() if self.scale == "log" else values


def resized(
    scaled: Tensor, valid: Tensor | None, size: tuple[int, int], *, interpolation: str
) -> tuple[Tensor, Tensor | None]:
    """Resize what `Span.to_network` gave; pixels that do not count take no part in any mean."""
    if valid is None:
        return resize(scaled, size, interpolation=interpolation).clamp_(-1, 1), None
    if interpolation == "nearest":
        weight = resize(valid.to(torch.uint8), size, interpolation="nearest")
        return resize(scaled, size, interpolation="nearest"), weight.bool()
    # Bilinear weights are never negative, so that the quotient is a mean of valid pixels alone.
    weight = resize(valid.to(torch.float32), size, interpolation="bilinear")
    total = resize((scaled + 1) * valid, size, interpolation="bilinear")
    counts = weight >= 0.5
    return torch.where(counts, total / weight.clamp(min=1e-6) - 1, -1.0), counts


def not_finite(path: Path) -> str:
    """Return the sentence on numbers that are not finite where nothing says what they are."""
    return f"{path} holds numbers that are not finite: set data.nodata=nan to leave such pixels out"


def type_problem(dtype: torch.dtype, span: Span | None, *, role: str, path: Path) -> str | None:
    """Return why samples need a stated range, or None where they do not or have one."""
    if span is not None or dtype in _UNSIGNED:
        return None
    return (
        f"{path} holds samples of type {str(dtype).removeprefix('torch.')}, which have no range of "
        f"their own: set data.range.{role}=[LOW, HIGH] in their unit, or "
        f"data.range.{role}={{percentiles: [0.1, 99.9]}} for that of the training set"
    )


def stored_type(headers: Sequence[Header]) -> str:
    """Return the one type that holds what the files of a side hold."""
    names = {str(header.dtype).removeprefix("torch.") for header in headers}
    if len(names) == 1:
        (name,) = names
        return name if name in _WIDEST else "float32"
    return "uint16" if names <= {"uint8", "uint16"} else "float32"


def percentile_ranges(
    images: Iterable[Tensor],
    count: int,
    percentiles: tuple[float, float],
    *,
    nodata: float | str | None,
    per_channel: bool = False,
) -> list[tuple[float, float]]:
    """Return the percentiles of the values of `count` images, those that do not count left out.

    Of large sets evenly spread samples are taken, `SAMPLES` in all, the same every time.

    Args:
        images: C x H x W of any type.
        count: how many there are.
        percentiles: the shares in percent below the two ends.
        nodata: as `Span` has it.
        per_channel: whether each channel has a range of its own; else there is one in all.

    Raises:
        DataError: nothing is left, all values are one, or images differ in their channels.
    """
    share = max(1, SAMPLES // max(1, count))
    parts: list[list[np.ndarray]] = []
    for image in images:
        planes = image if per_channel else image[None]
        if not parts:
            parts = [[] for _ in planes]
        if len(parts) != len(planes):
            raise DataError(
                f"images have {len(parts)} and {len(planes)} channels, so that channels have no "
                "ranges of their own: leave per_channel out of data.range"
            )
        for part, plane in zip(parts, planes, strict=True):
            values = plane.flatten()
            values = values[:: max(1, len(values) * len(planes) // share)].double()
            values = values[torch.isfinite(values)]
            if isinstance(nodata, int | float):
                values = values[values != nodata]
            part.append(values.numpy())
    return [_percentiles(part, percentiles) for part in parts or [[]]]


def _percentiles(parts: list[np.ndarray], percentiles: tuple[float, float]) -> tuple[float, float]:
    values = np.concatenate(parts) if parts else np.empty(0)
    if not len(values):
        raise DataError("no image holds a value that counts: correct data.nodata")
    low, high = (float(value) for value in np.percentile(values, percentiles))
    if low >= high:
        raise DataError(
            f"the percentiles {list(percentiles)} of the data are one value, {low}: state "
            "data.range as [low, high]"
        )
    return low, high


def narrow_range(images: Sequence[Tensor], role: str, span: Span | None = None) -> str | None:
    """Return a sentence where images use under a quarter of their range, or None.

    The range is `span`, or that of the type of 8 or 16 bit images. Of 16 bits a ten-thousandth of
    the values at either end is left out where it alone reaches far: a dead pixel fills no range.
    """
    kept = [values for image in images if len(values := _countable(image, span))]
    limits = {_UNSIGNED.get(image.dtype) for image in images}
    if not kept or (span is None and (len(limits) != 1 or None in limits)):
        return None
    values = np.concatenate(kept)
    whole = span or Span(0, limits.pop() or 0)
    first, last = min(low for low, _ in whole.ends), max(high for _, high in whole.ends)
    low, high = float(values.min()), float(values.max())
    far = ""
    if span is None and last > 255 and _share(whole, low, high) >= 0.25:
        low, high = (float(value) for value in np.percentile(values, (0.01, 99.99)))
        far = " but for a ten-thousandth"
    if low == high or _share(whole, low, high) >= 0.25:
        return None
    cure = "(or the range of the device) " if span is None else ""
    return (
        f"the {role} images use {low:g} to {high:g} of {first:g} to {last:g}{far}, so that most of "
        f"the networks' range stays empty: --set data.range.{role}=[{low:.9g},{high:.9g}] {cure}"
        "uses all of it"
    )


def _share(span: Span, low: float, high: float) -> float:
    """Return which share of a range, as networks see it, lies between two values."""
    lowest, highest = min(one for one, _ in span.ends), max(one for _, one in span.ends)
    whole = Span(lowest, highest, span.scale)
    image = torch.tensor([[[low, high]]], dtype=torch.float64)
    seen = whole.to_network(image, path=Path())[0].flatten()
    return float(seen[1] - seen[0]) / 2


def _countable(image: Tensor, span: Span | None) -> np.ndarray:
    """Return the values that count of an image, some 65,000 spread evenly and its ends."""
    values = image.flatten().double()
    values = values[torch.isfinite(values)]
    if span is not None and isinstance(span.nodata, int | float):
        values = values[values != span.nodata]
    if not len(values):
        return np.empty(0)
    some = values[:: max(1, len(values) // 2**16)]
    return torch.cat([some, values.min()[None], values.max()[None]]).numpy()


def nodata_fits(nodata: float, dtype: str) -> bool:
    """Tell whether a type of whole numbers holds a value that stands for none."""
    bounds = np.iinfo(dtype)
    return float(nodata).is_integer() and bounds.min <= nodata <= bounds.max


def to_file_values(
    picture: Tensor,
    span: Span | None,
    *,
    stored: str,
    wanted: str | None = None,
    counts: Tensor | None = None,
) -> np.ndarray:
    """Return a picture C x H x W in [-1, 1] as a file of a type holds it.

    Args:
        picture: what a generator made.
        span: the range of its side; None for that of the type.
        stored: the type of the target's files (see `stored_type`).
        wanted: uint8, uint16, int16 or float32; uint8 of a stated range is a preview, that range
            from 0 to 255; other types hold the data's own values, rounded and clipped where they
            are whole numbers. None for `stored`.
        counts: which pixels count, 1 x H x W; the others become `nodata` where the type can hold
            it, and the range's low end elsewhere.
    """
    if counts is not None:
        picture = torch.where(counts.to(picture.device).bool(), picture, -1.0)
    dtype = wanted or stored
    nothing = None if span is None or wanted == "uint8" else span.nodata
    if span is None:
        limit = 65535 if stored == "uint16" else 255
        if dtype in ("uint8", "uint16"):
            limit = 65535 if dtype == "uint16" else 255
        span = Span(0, limit)
    elif wanted == "uint8":
        span = Span(0, 255)
    values = span.to_values(picture).numpy()
    if dtype == "float32":
        samples, fits = values.astype(np.float32), nothing is not None
    else:
        bounds = np.iinfo(dtype)
        samples = np.rint(values).clip(bounds.min, bounds.max).astype(dtype)
        fits = isinstance(nothing, int | float) and nodata_fits(nothing, dtype)
    if counts is not None and fits:
        holes = ~counts.cpu().numpy().astype(bool)
        samples[np.broadcast_to(holes, samples.shape)] = float(nothing or 0)
    return samples
