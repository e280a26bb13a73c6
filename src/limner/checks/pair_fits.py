"""Every pair of a data set is asked how its two pictures lie on each other, and whose they are.

What source and target tell of each other is learnt from a sample of the set itself, several times
over: each time from the pairs that fit, laid on each other as they were found to fit, so that
pairs at fault do not teach. Then each pair is tried shifted, turned and flipped, and against the
pairs whose coarse layout suits it better than its own partner's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from limner.checks.alignment import (
    Layers,
    Model,
    Moments,
    Place,
    Spectrum,
    agreement,
    certainty,
    common_offset,
    fit,
    likeness,
    moments,
    peak,
    placed,
)
from limner.checks.dense_features import Side, Small, describe, planes, shrink, working_size
from limner.checks.over_processes import over_processes

Pictures: TypeAlias = tuple[NDArray[np.generic], NDArray[np.generic]]
"""Source and target, C x H x W of any type, or 1 x H x W ids."""
Read: TypeAlias = Callable[[int], Pictures | None]
"""Gives a pair's pictures by its number; None for one that cannot be read."""

SAMPLE = 160  # pairs from which is learnt what source and target tell of each other
ROUNDS = 2
_FIRST = 48  # pairs of the sample from which an offset that all share is told
FEWEST = 4  # pairs from which anything can be learnt
_FITS = 3.0  # certainty from which on a pair of the sample teaches
_TURN = 2.5  # degrees: this is tried first, each way
_TURNS = (1.2, 4.0, 6.0, 8.0)  # degrees that are tried the way that suits better
_ASKEW = 0.04  # of what agrees unturned: by less one way does not suit better than the other
_WORTH = 0.7  # of what agrees unflipped at the coarser scales: a flip with less is not followed
_STILL = 0.75  # pixels of the working size: a smaller shift is none
_NONE = -99.0  # the certainty of what was ruled out early
_FLIPS = ("horizontal", "vertical", "both")
_GRID = 16  # places a side of the layouts that are compared all against all
_PARTNERS = 3  # better partners that are looked at closely
_NEAR = 4  # pixels of the working size within which a partner may be shifted


@dataclass(frozen=True)
class PairFit:
    """How the two pictures of a pair fit.

    Certainties are t statistics over 64 blocks of the picture (see `alignment.certainty`): about
    0 where nothing speaks for it.

    Args:
        size: height and width of the target in pixels.
        fits: how surely they tell of each other as they lie.
        score: their correlation as they lie; `best`: in the best of all ways.
        shift: down and right, how far the target lies off, in its pixels; `shifted`: how surely.
        angle: degrees anticlockwise by which the target is turned; `turned`: how surely, against
            the best shift without a turn; `turned_shift`: the shift that goes with it.
        flip: the axis along which the target would fit better, and `flipped`, how surely.
        detail: how much there is to go by: the root of the mean square of both sides' weighted
            combinations.
        partner: the number of the pair whose target fits this source, or None; `exchanged`: how
            much more surely than its own.
    """

    size: tuple[int, int]
    fits: float
    score: float
    best: float
    shift: tuple[float, float]
    shifted: float
    angle: float
    turned: float
    turned_shift: tuple[float, float]
    flip: str
    flipped: float
    detail: float
    partner: int | None = None
    exchanged: float = 0.0


@dataclass(frozen=True)
class Sketched:
    """A pair's fit with the coarse layouts of its two sides; None for one that is not readable."""

    fit: PairFit | None
    source: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    target: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))


@dataclass(frozen=True)
class Comparer:
    """What was learnt of a set: it compares a source with a target. Small, and can be pickled."""

    sides: tuple[Side, Side]
    model: Model

    def layers(self, source: Small, target: Small) -> tuple[Layers, Layers]:
        """Return the weighted combinations of both."""
        return (
            self.model.of_source(planes(source, self.sides[0])),
            self.model.of_target(planes(target, self.sides[1])),
        )

    def sketch(self, pair: tuple[Small, Small]) -> Sketched:
        """Measure a pair by itself."""
        source, target = self.layers(*pair)
        ways = Ways(source, target)
        pixel = max(pair[1].full) / max(pair[1].size)
        best = ways.best
        plain = (
            ways.plain if float(ways.plain.mean()) > float(ways.shifted.mean()) else ways.shifted
        )
        found = PairFit(
            size=pair[1].full,
            fits=certainty(ways.plain),
            score=likeness(source, target),
            best=likeness(placed(source, best), target),
            shift=(ways.shift.shift[0] * pixel, ways.shift.shift[1] * pixel),
            shifted=certainty(ways.shifted - ways.plain),
            angle=ways.turn.angle,
            turned=_NONE if ways.turned is None else certainty(ways.turned - plain),
            turned_shift=(ways.turn.shift[0] * pixel, ways.turn.shift[1] * pixel),
            flip=ways.flip.flip,
            detail=_detail(source) * _detail(target),
            flipped=_NONE if ways.flipped is None else certainty(ways.flipped - plain),
        )
        return Sketched(found, _layout(source), _layout(target))

    def prefers(self, source: Small, own: Small, other: Small) -> float:
        """Say how much more surely another target fits a source than its own, however it lies."""
        layers, target = self.layers(source, own)
        ways = Ways(layers, target)
        best = agreement(placed(layers, ways.best), target)
        target = self.model.of_target(planes(other, self.sides[1]))
        instead = agreement(placed(layers, _nearest(layers, target)), target)
        return certainty(instead - best)


class Ways:
    """The ways in which a target may lie on its source, and how far they agree in each.

    `plain`, `shifted`, `flipped` and `turned` are agreements by blocks, the latter at the places
    `shift`, `flip` and `turn`. What the coarser scales rule out stands as it lies plainly.
    """

    def __init__(self, source: Layers, target: Layers, *, turning: bool = True):
        self._source, self._target, self._spectrum = source, target, Spectrum(target)
        self.plain = agreement(source, target)
        self.shift = Place(peak(self._spectrum.surface(source))[0])
        far = max(abs(along) for along in self.shift.shift) >= _STILL
        self.shifted = self._agreement(self.shift) if far else self.plain
        straight = self._height(Place())
        self.flip = self._best_flip(straight)
        self.flipped = self._agreement(self.flip) if self.flip.flip else None
        self.turn = self._best_turn() if turning else Place()
        self.turned = self._agreement(self.turn) if self.turn.angle else None

    @property
    def best(self) -> Place:
        """The place where most agrees."""
        ways = [(self.plain, Place()), (self.shifted, self.shift)]
        ways += [(self.flipped, self.flip)] if self.flipped is not None else []
        ways += [(self.turned, self.turn)] if self.turned is not None else []
        return max(ways, key=lambda way: float(way[0].mean()))[1]

    @property
    def straight(self) -> Tensor:
        """The agreement without flip and turn, shifted or not."""
        return max(self.plain, self.shifted, key=lambda blocks: float(blocks.mean()))

    def _agreement(self, place: Place) -> Tensor:
        return agreement(placed(self._source, place), self._target)

    def _height(self, place: Place) -> float:
        """Return how far the coarser scales agree at a place, shifted as suits best."""
        return float(self._spectrum.surface(placed(self._source, place, first=1), first=1).max())

    def _shifted(self, place: Place) -> Place:
        shift, _ = peak(self._spectrum.surface(placed(self._source, place)))
        return replace(place, shift=shift)

    def _best_flip(self, straight: float) -> Place:
        """Return the flip, and its shift, that suits best; none where plainly none does."""
        heights = {flip: self._height(Place(flip=flip)) for flip in _FLIPS}
        flip = max(_FLIPS, key=lambda name: heights[name])
        return self._shifted(Place(flip=flip)) if heights[flip] > _WORTH * straight else Place()

    def _turned(self, angle: float) -> float:
        return float(self._spectrum.surface(placed(self._source, Place(angle=angle))).max())

    def _best_turn(self) -> Place:
        """Return the small turn, and its shift, that suits best; an angle of 0 where none does.

        One way round must suit better than the other. Turning blurs, so turns are compared among
        themselves; whether the best is better than none is asked at all scales, by blocks.
        """
        heights = {angle: self._turned(angle) for angle in (-_TURN, _TURN)}
        one, other = heights.values()
        if abs(one - other) < _ASKEW * float(self.straight.sum()):
            return Place()
        way = 1 if other > one else -1
        angles = [way * turn for turn in _TURNS]
        heights |= {angle: self._turned(angle) for angle in angles}
        tried = sorted(heights)
        best = max(tried, key=lambda angle: heights[angle])
        here = tried.index(best)
        if 0 < here < len(tried) - 1:  # between those that were tried: the top of a parabola
            x = tried[here - 1 : here + 2]
            bend, slope, _ = np.polyfit(x, [heights[angle] for angle in x], 2)
            best = min(max(-slope / (2 * bend), x[0]), x[2]) if bend < 0 else best
        return self._shifted(Place(angle=float(best)))


def _detail(layers: Layers) -> float:
    return float(torch.stack([layer.square().mean() for layer in layers]).mean()) ** 0.25


def _nearest(source: Layers, target: Layers) -> Place:
    found = Spectrum(target).surface(source)
    middle = len(found) // 2
    near = found[middle - _NEAR : middle + _NEAR + 1, middle - _NEAR : middle + _NEAR + 1]
    return Place(peak(near)[0])


def _layout(layers: Layers) -> NDArray[np.int8]:
    """Return the coarsest combinations at 16 x 16 places, of unit length in all, as bytes."""
    coarse: Tensor = adaptive_avg_pool2d(layers[-1], _GRID).flatten()
    return (
        (coarse * (300 / (coarse.norm() + 1e-6))).clamp(-127, 127).round().numpy().astype(np.int8)
    )


def learn(pairs: Sequence[tuple[Small, Small]]) -> Comparer:
    """Learn from pairs of a set what its sources tell of its targets, whichever of them fit."""
    sides = (describe([pair[0] for pair in pairs]), describe([pair[1] for pair in pairs]))
    offset = common_offset(
        (planes(source, sides[0]), planes(target, sides[1])) for source, target in pairs[:_FIRST]
    )
    comparer: Comparer | None = None
    for _ in range(1 + ROUNDS):
        lessons = [_lesson(pair, sides, comparer, offset) for pair in pairs]
        good = [told for told, sure in lessons if sure >= _FITS]
        if len(good) < max(3, len(pairs) // 4):
            lessons.sort(key=lambda lesson: -lesson[1])
            good = [told for told, _ in lessons[: (len(pairs) + 1) // 2]]
        comparer = Comparer(sides, fit(good))
    assert comparer is not None
    return comparer


def _lesson(
    pair: tuple[Small, Small],
    sides: tuple[Side, Side],
    comparer: Comparer | None,
    offset: Place,
) -> tuple[Moments, float]:
    """Return a pair's moments with its source laid on its target, and how surely that is right."""
    source, target = planes(pair[0], sides[0]), planes(pair[1], sides[1])
    if comparer is None:
        return moments(placed(source, offset, beyond="border"), target), _FITS
    layers = comparer.model.of_source(source), comparer.model.of_target(target)
    ways = Ways(*layers, turning=False)
    place, blocks = ways.shift, ways.shifted
    if ways.flipped is not None and certainty(ways.flipped - blocks) > _FITS:
        place, blocks = ways.flip, ways.flipped
    return moments(placed(source, place, beyond="border"), target), certainty(blocks)


@dataclass(frozen=True)
class Sketching:
    """The work of one process: a pair is read, made small, and measured."""

    read: Read
    ids: tuple[bool, bool]
    comparer: Comparer

    def __call__(self, number: int) -> Sketched:
        """Return how a pair fits, by its number."""
        pair = small_pair(self.read, number, self.ids)
        return Sketched(None) if pair is None else self.comparer.sketch(pair)


def small_pair(read: Read, number: int, ids: tuple[bool, bool]) -> tuple[Small, Small] | None:
    """Read a pair at its working size, which is its target's."""
    pictures = read(number)
    if pictures is None:
        return None
    source, target = pictures
    size = working_size(target.shape[1], target.shape[2])
    return shrink(source, size, ids=ids[0]), shrink(target, size, ids=ids[1])


def measure_fits(
    read: Read,
    count: int,
    *,
    ids: tuple[bool, bool] = (False, False),
    processes: int | None = 1,
    advance: Callable[[], None] = lambda: None,
) -> list[PairFit | None]:
    """Measure how the two sides of each pair of a set fit each other.

    Args:
        read: gives a pair's pictures by its number.
        count: how many pairs there are.
        ids: whether the sources, the targets are maps of ids.
        processes: how many work; None for one a processor.
        advance: called after each pair.

    Returns:
        For each pair how it fits, None where it could not be read or nothing could be learnt.
    """
    some = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(int)) if count else []
    sample = [pair for number in some if (pair := small_pair(read, int(number), ids)) is not None]
    if len(sample) < FEWEST:
        return [None] * count
    comparer = learn(sample)
    fits: list[PairFit | None] = []
    layouts: tuple[list[NDArray[np.int8]], list[NDArray[np.int8]]] = ([], [])
    sketching = Sketching(read, ids, comparer)
    for sketched in over_processes(sketching, range(count), processes=processes):
        fits.append(sketched.fit)
        layouts[0].append(sketched.source)
        layouts[1].append(sketched.target)
        advance()
    _find_partners(fits, layouts, sketching)
    return fits


def _find_partners(
    fits: list[PairFit | None],
    layouts: tuple[list[NDArray[np.int8]], list[NDArray[np.int8]]],
    sketching: Sketching,
) -> None:
    """Look for targets of other pairs that suit a source better, and note the best in its fit."""
    known = [number for number, found in enumerate(fits) if found is not None]
    if len(known) < 2:
        return
    sources, targets = (np.stack([side[number] for number in known]) for side in layouts)
    middle = targets.mean(0, dtype=np.float32), sources.mean(0, dtype=np.float32)
    suited = targets.astype(np.float16)  # half the memory of float32 while all are compared
    for start in range(0, len(known), 512):
        block = sources[start : start + 512].astype(np.float32) - middle[1]
        likes = _likes(block, suited, middle[0])
        for row, like in enumerate(likes):
            number, own = known[start + row], like[start + row]
            better = np.flatnonzero(like > own)
            better = better[np.argsort(-like[better])][:_PARTNERS]
            _try_partners(number, [known[place] for place in better], fits, sketching)
    for number in known:  # whoever took another's target may have left its own there
        found = fits[number]
        if found is not None and found.partner is not None and found.exchanged >= _FITS:
            _try_partners(found.partner, [number], fits, sketching)


def _likes(
    block: NDArray[np.float32], targets: NDArray[np.float16], middle: NDArray[np.float32]
) -> NDArray[np.float32]:
    parts = [
        block @ (targets[start : start + 4096].astype(np.float32) - middle).T
        for start in range(0, len(targets), 4096)
    ]
    return np.concatenate(parts, axis=1)


def _try_partners(
    number: int, others: Sequence[int], fits: list[PairFit | None], sketching: Sketching
) -> None:
    """Note in a pair's fit which of some other targets suits it better than its own, if any."""
    found = fits[number]
    own = small_pair(sketching.read, number, sketching.ids) if others else None
    if own is None or found is None:
        return
    for other in others:
        pictures = sketching.read(other)
        if pictures is None:
            continue
        target = shrink(pictures[1], own[1].size, ids=sketching.ids[1])
        sure = sketching.comparer.prefers(*own, target)
        if sure > found.exchanged:
            found = replace(found, partner=other, exchanged=sure)
    fits[number] = found
