"""How one picture lies on another of a different kind: shifted, turned, flipped, or not at all.

At every scale, canonical correlation analysis (Hotelling 1936) of the set's own pairs finds those
combinations of source planes and target planes that tell of each other. Two pictures then fit at
a shift as far as these combinations agree there; the weights rho / (1 - rho^2) are those of the
log-likelihood ratio of two Gaussian variables with correlation rho. All shifts are tried at once
by FFT. Whether another position fits truly better is asked of 64 blocks of the picture: what is
real is seen in most of them, a coincidence in a few.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, affine_grid, grid_sample

from limner.checks.dense_features import SCALES, less_local_mean

REACH = 24  # pixels of the working size up to which shifts are tried, each way
_VARIATES = 4  # pairs of combinations that are kept at each scale
_RIDGE = 0.02  # share of the mean variance that is added to each, so that rare planes stay small
_CLIP = 4.0  # standard deviations: what is further out counts no more
_MOST = 0.95  # correlation beyond which a pair of combinations gains no weight
_BLOCKS = 8  # a side

Moments = list[tuple[Tensor, Tensor, Tensor]]
"""At each scale: covariances of source with source, target with target, source with target."""
Layers = list[Tensor]
"""Weighted combinations at each scale, finest first: V x H x W."""


@dataclass(frozen=True)
class Place:
    """How a target lies on its source: flipped, then turned, then shifted.

    `shift`: down and right, in pixels of the finest scale. `angle`: degrees anticlockwise.
    `flip`: "", or the axis: "horizontal" exchanges left and right, "vertical" top and bottom,
    "both" is half a turn.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0
    flip: str = ""


@dataclass(frozen=True)
class Model:
    """What of a source tells of a target: at each scale P x V for each side, and V weights."""

    sources: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    correlations: tuple[Tensor, ...]

    def of_source(self, planes: Sequence[Tensor]) -> Layers:
        """Return a source's combinations, weighted."""
        return self._layers(planes, self.sources)

    def of_target(self, planes: Sequence[Tensor]) -> Layers:
        """Return a target's combinations, weighted."""
        return self._layers(planes, self.targets)

    def _layers(self, planes: Sequence[Tensor], mixes: Sequence[Tensor]) -> Layers:
        found = []
        for shown, mix, correlation in zip(planes, mixes, self.correlations, strict=True):
            mixed = (mix.T @ shown.flatten(1)).unflatten(1, shown.shape[1:])
            mixed = less_local_mean(mixed).clamp_(-_CLIP, _CLIP)
            weight = (correlation / (1 - correlation**2)).sqrt()
            found.append(mixed * weight[:, None, None])
        return found


def moments(source: Sequence[Tensor], target: Sequence[Tensor]) -> Moments:
    """Return the covariances of a pair's planes at each scale, less their local means."""
    found = []
    for one, other in zip(source, target, strict=True):
        a, b = less_local_mean(one).flatten(1), less_local_mean(other).flatten(1)
        count = a.shape[1]
        found.append((a @ a.T / count, b @ b.T / count, a @ b.T / count))
    return found


def fit(pairs: Iterable[Moments]) -> Model:
    """Find what of the sources tells of the targets, from the moments of some pairs."""
    sums: Moments = []
    for one in pairs:
        if not sums:
            sums = [(a.double(), b.double(), c.double()) for a, b, c in one]
        else:
            sums = [(a + p, b + q, c + r) for (a, b, c), (p, q, r) in zip(sums, one, strict=True)]
    mixes = [_canonical(*of_scale) for of_scale in sums]
    return Model(
        tuple(one for one, _, _ in mixes),
        tuple(other for _, other, _ in mixes),
        tuple(correlation for _, _, correlation in mixes),
    )


def _canonical(ss: Tensor, tt: Tensor, st: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    whites = [_whitening(own) for own in (ss, tt)]
    left, correlations, right = torch.linalg.svd(whites[0].T @ st @ whites[1])
    count = min(_VARIATES, len(correlations))
    return (
        (whites[0] @ left[:, :count]).float(),
        (whites[1] @ right[:count].T).float(),
        correlations[:count].clamp(1e-4, _MOST).float(),
    )


def _whitening(own: Tensor) -> Tensor:
    """Return what makes planes of this covariance independent and of variance 1, P x P."""
    ridge = _RIDGE * own.diagonal().mean() + 1e-9
    values, vectors = torch.linalg.eigh(own + ridge * torch.eye(len(own), dtype=own.dtype))
    return vectors / values.sqrt()


def common_offset(pairs: Iterable[tuple[Sequence[Tensor], Sequence[Tensor]]]) -> Place:
    """Return the shift at which the planes of pairs tell most of each other, over all pairs.

    A model is fitted at every shift of the second scale: one that is fitted where pairs do not lie
    on each other learns to find them there.
    """
    sums: list[Tensor] = []
    size, reach, shape = (0, 0), REACH >> 1, torch.Size()
    for source, target in pairs:
        one, other = less_local_mean(source[1]), less_local_mean(target[1])
        if not sums:
            shape = one.shape[1:]
            size = (_fast(shape[0] + reach), _fast(shape[1] + reach))
        if one.shape[1:] != shape:
            continue
        crossed = torch.einsum(
            "phw,qhw->pqhw", torch.fft.rfft2(one, s=size).conj(), torch.fft.rfft2(other, s=size)
        )
        found = [one.flatten(1) @ one.flatten(1).T, other.flatten(1) @ other.flatten(1).T, crossed]
        sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
    if not sums:
        return Place()
    shifts = torch.arange(-reach, reach + 1)
    seen = (1 - shifts.abs() / shape[0])[:, None] * (1 - shifts.abs() / shape[1])
    crossed = torch.fft.irfft2(sums[2], s=size)[..., shifts, :][..., shifts] / seen
    one, other = (_whitening(own.double()).float() for own in sums[:2])
    white = torch.einsum("pv,pqyx,qw->yxvw", one, crossed, other)
    told = -torch.log1p(-(torch.linalg.svdvals(white).clamp(max=_MOST) ** 2)).sum(2)
    shift, _ = peak(told)
    return Place((2 * shift[0], 2 * shift[1]))


class Spectrum:
    """A target's layers in the frequency domain, so that many sources are tried on it."""

    def __init__(self, target: Layers):
        self._shapes = [layer.shape[1:] for layer in target]
        self._sizes = [
            (_fast(height + (REACH >> scale)), _fast(width + (REACH >> scale)))
            for scale, (height, width) in enumerate(self._shapes)
        ]
        self._layers = [
            torch.fft.rfft2(layer, s=size) for layer, size in zip(target, self._sizes, strict=True)
        ]

    def surface(self, source: Layers, *, first: int = 0) -> Tensor:
        """Return the agreement at every shift, from scale `first` on: (2 REACH / 2^first + 1)^2.

        The value at [REACH + y, REACH + x] is that of a target y lower and x to the right.
        """
        whole: Tensor | None = None
        for scale in range(SCALES - 1, first - 1, -1):
            reach, (height, width) = REACH >> scale, self._shapes[scale]
            spectrum = torch.fft.rfft2(source[scale], s=self._sizes[scale])
            product = (spectrum.conj() * self._layers[scale]).sum(0)
            every = torch.fft.irfft2(product, s=self._sizes[scale])
            shifts = torch.arange(-reach, reach + 1)
            seen = (1 - shifts.abs() / height)[:, None] * (1 - shifts.abs() / width)
            here = every[shifts][:, shifts] / seen
            if whole is not None:
                finer = _refining(len(whole))
                here = here + finer @ whole @ finer.T
            whole = here
        assert whole is not None
        return whole


def _fast(length: int) -> int:
    """Return a length that FFT is fast at: a multiple of 8 without large factors."""
    length = -(-length // 8) * 8
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 8


@functools.cache
def _refining(count: int) -> Tensor:
    """Return the matrix that doubles the resolution of `count` values (Catmull-Rom)."""
    matrix = torch.zeros(2 * count - 1, count)
    for place in range(2 * count - 1):
        if place % 2 == 0:
            matrix[place, place // 2] = 1
            continue
        for offset, weight in ((-1, -1 / 16), (0, 9 / 16), (1, 9 / 16), (2, -1 / 16)):
            matrix[place, min(max(place // 2 + offset, 0), count - 1)] += weight
    return matrix


def peak(found: Tensor) -> tuple[tuple[float, float], float]:
    """Return where a surface is highest, between its samples, and how high."""
    count = found.shape[1]
    best = int(found.argmax())
    row, column = divmod(best, count)
    middle = count // 2
    shift = []
    for place, line in ((row, found[:, column]), (column, found[row])):
        offset = 0.0
        if 0 < place < count - 1:
            before, at, after = (float(line[place + step]) for step in (-1, 0, 1))
            bend = before - 2 * at + after
            if bend < 0:
                offset = min(max(0.5 * (before - after) / bend, -0.5), 0.5)
        shift.append(place + offset - middle)
    return (shift[0], shift[1]), float(found.flatten()[best])


def placed(layers: Layers, place: Place, *, first: int = 0, beyond: str = "zeros") -> Layers:
    """Return a source's layers from scale `first` on as they lie in a target at a place.

    `beyond` the source's edge all is 0 ("zeros"), or as at the edge ("border").
    """
    found = list(layers[:first])
    for scale in range(first, len(layers)):
        layer = layers[scale]
        if place.flip in ("horizontal", "both"):
            layer = layer.flip(2)
        if place.flip in ("vertical", "both"):
            layer = layer.flip(1)
        if place.angle or any(place.shift):
            layer = _moved(layer, place, scale, beyond)
        found.append(layer)
    return found


def _moved(layer: Tensor, place: Place, scale: int, beyond: str) -> Tensor:
    height, width = layer.shape[1:]
    turn = math.radians(place.angle)
    down, right = (along / 2**scale for along in place.shift)
    cos, sin = math.cos(turn), math.sin(turn)
    # A place of the result, less the shift, turned back, is the place in the layer.
    theta = torch.tensor(
        [
            [cos, -sin * height / width, 0.0],
            [sin * width / height, cos, 0.0],
        ]
    )
    offset = torch.tensor([2 * right / width, 2 * down / height])
    theta[:, 2] = -(theta[:, :2] @ offset)
    grid = affine_grid(theta[None], [1, 1, height, width], align_corners=False)
    return grid_sample(layer[None], grid, padding_mode=beyond, align_corners=False)[0]


def agreement(source: Layers, target: Layers) -> Tensor:
    """Return how far two pictures agree in each block: the sum over scales, BLOCKS^2 values."""
    found = torch.zeros(_BLOCKS, _BLOCKS)
    for one, other in zip(source, target, strict=True):
        product = (one * other).sum(0)
        found = found + adaptive_avg_pool2d(product[None], _BLOCKS)[0] * product.numel()
    return found.flatten() / _BLOCKS**2


def certainty(blocks: Tensor) -> float:
    """Return the t statistic of blocks' mean against none: how surely it is above zero."""
    spread = float(blocks.std()) / math.sqrt(len(blocks))
    return float(blocks.mean()) / spread if spread > 1e-12 else 0.0


def likeness(source: Layers, target: Layers) -> float:
    """Return the correlation of all layers of two pictures, -1 to 1."""
    both = sum(float((one * other).sum()) for one, other in zip(source, target, strict=True))
    own = sum(float((one * one).sum()) for one in source)
    others = sum(float((other * other).sum()) for other in target)
    return both / math.sqrt(own * others) if own * others > 0 else 0.0
