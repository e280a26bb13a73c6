"""A picture translated in tiles: no seams, memory bounded, exact where norms can be held.

The picture is thought padded to the network's stride, as the untiled one is, and cut into tiles
whose sides are multiples of that stride. Each is translated within a window that is larger by a
halo, of which nothing is kept. Windows end where the picture ends: there the network's own padding
is at work, as it is untiled. With a halo of the network's reach and the norms' statistics held
(`tile_norms`), each tile is what the whole picture would have there, up to rounding.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limner.config import Config
from limner.errors import ConfigError
from limner.inference.backends import Runtime
from limner.inference.reach import Reach, bytes_a_pixel, reach_of
from limner.inference.source_windows import SourceWindow, SourceWindows
from limner.inference.tile_norms import Box, Gathered, HeldNorms, Moments
from limner.inference.translator import Translator
from limner.networks import FeatureEncoder, SPADEGenerator

Mode = Literal["exact", "fast"]
_PROBE = 256  # pixels a side, at least, of what memory is measured on
_LONGEST = 4096  # pixels a side of a tile: what a kill costs at most is a row of these
_COPIES = 48  # bytes a sample of copies on the way into and out of the network
_SAMPLED = 512  # pixels a side of a window of the sample from which fast statistics are taken
_READER = 2**27  # bytes that reading and writing take besides


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut; all numbers are pixels of the padded picture, multiples of its stride.

    `height` and `width` are the padded picture's, `top` and `left` where the picture lies in it.
    """

    height: int
    width: int
    top: int
    left: int
    tile_height: int
    tile_width: int
    halo: int

    @property
    def rows(self) -> list[tuple[int, int]]:
        """The first row of each row of tiles, and the first below it."""
        return _cuts(self.height, self.tile_height)

    @property
    def columns(self) -> list[tuple[int, int]]:
        """The same of columns."""
        return _cuts(self.width, self.tile_width)

    @property
    def whole(self) -> bool:
        """Whether one tile is all of the picture: norms then see what they do untiled."""
        return len(self.rows) == len(self.columns) == 1

    @property
    def overhead(self) -> float:
        """How many pixels are computed for each one of the picture."""
        rows, columns = (
            sum(min(end + self.halo, length) - max(begin - self.halo, 0) for begin, end in cuts)
            for cuts, length in ((self.rows, self.height), (self.columns, self.width))
        )
        return rows * columns / (self.height * self.width)

    def window(self, tile: Box) -> Box:
        """Return a tile with its halo, as far as the padded picture goes."""
        top, left, bottom, right = tile
        return (
            max(top - self.halo, 0),
            max(left - self.halo, 0),
            min(bottom + self.halo, self.height),
            min(right + self.halo, self.width),
        )


def _cuts(length: int, step: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + step, length)) for begin in range(0, length, step)]


@dataclass(frozen=True)
class Needs:
    """What a run's generator takes: how far it sees, bytes a pixel, and how its passes cost.

    `shares` are the parts of a pass that are done when each norm that spans the picture is reached.
    """

    reach: Reach
    pixel_bytes: float
    shares: tuple[float, ...]
    edges: bool

    def halo(self, mode: Mode) -> int:
        """Return the halo: all that is seen for exact tiles, a third of it for fast ones.

        Where norms are held fast tiles lose nothing by it but the far ends of what is seen, where
        weights are least; where norms stay as they are there is nothing to save.
        """
        multiple, pixels = self.reach.multiple, self.reach.pixels + self.edges
        pixels = -(-pixels // 3) if mode == "fast" and self.reach.whole else pixels
        return -(-pixels // multiple) * multiple

    def passes(self, mode: Mode) -> float:
        """Return how many times the network works on all tiles, parts of passes counted so."""
        return 1 + (sum(self.shares) if mode == "exact" else 0)

    def sentence(self, tiling: Tiling, mode: Mode) -> str:
        """Say how a picture is cut, what that costs, and how true it is."""
        size = f"{tiling.tile_width}x{tiling.tile_height} and {tiling.halo} pixels around them"
        cost = f"{self.passes(mode) * tiling.overhead:.1f} times the arithmetic of one pass untiled"
        if tiling.whole:
            return "in one tile, as untiled"
        if not self.reach.whole:
            return f"in tiles of {size}, exact: {cost}"
        if mode == "exact":
            count = len(self.shares)
            return (
                f"in tiles of {size}, exact: {cost}, for {count} passes gather the statistics of "
                f"{count} norms"
            )
        return (
            f"in tiles of {size}, fast: {cost}; norms take their statistics from a sample, so "
            "that colours may differ a little from those of --tiles exact, which costs "
            f"{self.passes('exact') / self.passes('fast'):.1f} times as much"
        )


def check_tiles(translator: Translator, mode: Mode) -> None:
    """Refuse what tiles cannot do for a run, before work starts.

    Raises:
        ConfigError: with what to do instead.
    """
    config = translator.config
    if isinstance(translator.encoder, FeatureEncoder):
        raise ConfigError(
            "this run's generator takes the mean features of whole instances, which tiles do not "
            "have: give --tiles off, and --size for smaller pictures"
        )
    if mode == "exact" and config.inference.dropout:
        raise ConfigError(
            "this run keeps dropout on, whose values no tile shares with the whole picture: give "
            "--tiles fast, or --dropout false"
        )
    closed = isinstance(translator.generator, Runtime)
    if closed and (config.generator.code or reach_of(config).whole):
        raise ConfigError(
            f"the back end {translator.backend} does not let this run's norms keep the statistics "
            "of the whole picture: give --backend folded, or --tiles off"
        )


def needs_of(translator: Translator) -> Needs:
    """Measure what a run's generator takes, by one small picture."""
    config = translator.config
    reach = reach_of(config)
    side = -(-_PROBE // reach.multiple) * reach.multiple
    probe = _blank(config, side)
    norms = HeldNorms(translator.generator, own_statistics=_own_statistics(config))
    with norms.in_place():
        if isinstance(translator.generator, Runtime):
            pixel_bytes = 4096.0  # nobody sees what a runtime takes: as a wide network would
        else:
            pixel_bytes = bytes_a_pixel(lambda: _run(translator, probe), side * side)
        # Reading and writing take several copies in float64, before and after the network's own.
        sides = config.data.channels if config.data.labels is None else (1, config.data.channels[1])
        pixel_bytes = max(pixel_bytes, _COPIES * max(sides)) + 4 * max(sides)
        # A norm's place among all convolutions tells the share of the pass before it.
        done = _shares(translator, probe, norms) if reach.whole else ()
    edges = bool(config.data.labels is not None and config.uses_instances)
    return Needs(reach, pixel_bytes, done, edges)


def _shares(translator: Translator, probe: SourceWindow, norms: HeldNorms) -> tuple[float, ...]:
    from time import process_time

    times: list[float] = []
    hooks = [
        norm.register_forward_pre_hook(lambda *_: times.append(process_time()))
        for norm in norms.norms
    ]
    begin = process_time()
    _run(translator, probe)
    whole = max(process_time() - begin, 1e-9)
    for hook in hooks:
        hook.remove()
    return tuple((moment - begin) / whole for moment in times)


def _own_statistics(config: Config) -> bool:
    return config.inference.statistics == "batch"


def _blank(config: Config, side: int) -> SourceWindow:
    if config.data.labels is None:
        return SourceWindow(torch.zeros(1, config.data.channels[0], side, side))
    ids = torch.zeros(1, side, side, dtype=torch.int64)
    return SourceWindow(ids, ids if config.uses_instances else None)


def _run(
    translator: Translator, window: SourceWindow, code: Tensor | None = None, name: str = ""
) -> Tensor:
    names = [name] * len(window.source)
    return translator(window.source, window.instance, code=code, names=names)


def padded_size(source: SourceWindows, multiple: int) -> tuple[int, int]:
    """Return the (height, width) of the picture, padded to the network's stride."""
    return source.height + -source.height % multiple, source.width + -source.width % multiple


def tiling_of(source: SourceWindows, needs: Needs, *, mode: Mode, memory: int) -> Tiling:
    """Return the tiling that computes least beside the picture within so many bytes.

    Raises:
        ConfigError: not even the smallest tile fits; names what would.
    """
    multiple, halo = needs.reach.multiple, needs.halo(mode)
    height, width = padded_size(source, multiple)
    channels = source.config.data.channels[1]
    room = memory - _READER - source.held_bytes
    best: tuple[float, int, int] | None = None
    for down in range(multiple, min(height, max(_LONGEST, multiple)) + 1, multiple):
        band = down * width * channels * 4  # a row of tiles waits to be written
        tall = min(height, down + 2 * halo)
        wide = int((room - band) / (needs.pixel_bytes * tall))
        across = width if wide >= width else (wide - 2 * halo) // multiple * multiple
        across = min(across, max(_LONGEST, multiple), width)
        if across >= multiple:
            tiling = Tiling(height, width, 0, 0, down, across, halo)
            if best is None or tiling.overhead < best[0]:
                best = tiling.overhead, down, across
    if best is None:
        wanted = _least(source, needs, "exact"), _least(source, needs, "fast")
        lack = wanted[0] if mode == "exact" else wanted[1]
        fast = "--tiles fast, " if mode == "exact" and wanted[1] <= memory else ""
        raise ConfigError(
            f"{source.files[0].path} needs {lack / 2**20:,.0f} MiB of memory even for the "
            f"smallest tiles ({multiple} pixels and {halo} around them), and {memory / 2**20:,.0f} "
            f"MiB may be taken: give more with --memory, {fast}or --tiles off with a smaller --size"
        )
    top, left = (height - source.height) // 2, (width - source.width) // 2
    return Tiling(height, width, top, left, best[1], best[2], halo)


def _least(source: SourceWindows, needs: Needs, mode: Mode) -> float:
    """Return the bytes that the smallest tiles of a picture take."""
    multiple, halo = needs.reach.multiple, needs.halo(mode)
    height, width = padded_size(source, multiple)
    smallest = min(height, multiple + 2 * halo) * min(width, multiple + 2 * halo)
    band = multiple * width * source.config.data.channels[1] * 4
    return smallest * needs.pixel_bytes + band + _READER + source.held_bytes


class Tiles:
    """A picture on its way through a generator, tile by tile.

    Args:
        translator: the run's.
        source: the picture, open by windows.
        tiling: how it is cut.
        mode: "exact" gathers the statistics of norms over the whole picture in passes of their own;
            "fast" takes them from windows all over it, as many as `memory` has room for.
        needs: what the generator takes.
        memory: bytes.
        code: a style code, 1 x L, or None.
        name: of the picture, which draws its dropout.
    """

    def __init__(
        self,
        translator: Translator,
        source: SourceWindows,
        tiling: Tiling,
        *,
        mode: Mode,
        needs: Needs,
        memory: int,
        code: Tensor | None = None,
        name: str = "",
    ) -> None:
        self.translator, self.source, self.tiling = translator, source, tiling
        self.mode: Mode = mode
        self._needs, self._code, self._name = needs, code, name
        self._room = memory - _READER - source.held_bytes
        self.largest = 0
        """Pixels of the largest window that the network was given."""
        self._norms = HeldNorms(
            translator.generator, own_statistics=_own_statistics(translator.config)
        )
        self._spade = [
            module
            for module in translator.generator.modules()
            if isinstance(module, SPADEGenerator) and module.latent
        ]

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Let the generator work on tiles within the block; it is as before afterwards."""
        with self._norms.in_place():
            if self._needs.reach.whole:  # the norms show in which order they work
                side = -(-_PROBE // self._needs.reach.multiple) * self._needs.reach.multiple
                _run(self.translator, _blank(self.translator.config, side), self._code)
                for norm in self._norms.norms:
                    norm.moments = None
            try:
                yield
            finally:
                for module in self._spade:
                    module.placed = None

    def statistics(
        self, known: list[Moments], *, progress: Callable[[int, int], None]
    ) -> Iterator[Moments]:
        """Yield the statistics of each norm in turn, those `known` taken as given.

        Args:
            known: those of the first norms, found before.
            progress: called with tiles done and tiles in all.
        """
        norms = self._norms.norms
        for norm, moments in zip(norms, known, strict=False):
            norm.held = moments
        if len(known) == len(norms) or self.tiling.whole:
            return
        if self.mode == "fast":
            for norm in norms:  # a sample finds all at once, those known among them
                norm.held = None
            sample, margin = self._sample()
            height, width = sample.source.shape[-2:]
            counted = (margin, margin, height - margin, width - margin)
            self._norms.place(counted, height, width)
            with self._placed((0, 0, 1, 1), whole=True), self._together():
                _run(self.translator, sample, self._code, self._name)
            for number, norm in enumerate(norms):
                norm.held = norm.moments if number >= len(known) else known[number]
                assert norm.held is not None
                if number >= len(known):
                    yield norm.held
            return
        boxes = list(itertools.product(self.tiling.rows, self.tiling.columns))
        for number, norm in enumerate(norms[len(known) :], start=len(known)):
            norm.gathering = True
            for done, ((top, bottom), (left, right)) in enumerate(boxes):
                with contextlib.suppress(Gathered):
                    self._window((top, left, bottom, right))
                progress(number * len(boxes) + done + 1, len(norms) * len(boxes))
            norm.gathering, norm.held = False, norm.moments
            assert norm.held is not None
            yield norm.held

    def row(self, number: int) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """Yield each tile of a row, cut to the picture: first column, C x H x W, what counts."""
        top, bottom = self.tiling.rows[number]
        for left, right in self.tiling.columns:
            tile, counts = self._window((top, left, bottom, right))
            yield max(left - self.tiling.left, 0), tile, counts

    def rows_of(self, number: int) -> tuple[int, int]:
        """Return the first row of the picture in a row of tiles, and the first below it."""
        (top, bottom), begin = self.tiling.rows[number], self.tiling.top
        return max(top - begin, 0), min(bottom - begin, self.source.height)

    def _window(self, tile: Box) -> tuple[Tensor, Tensor | None]:
        """Return the picture of a tile, C x H x W on the CPU, and which of its pixels count."""
        top, left, bottom, right = self.tiling.window(tile)
        window = self.source.read(
            *(top - self.tiling.top, left - self.tiling.left),
            *(bottom - self.tiling.top, right - self.tiling.left),
        )
        self.largest = max(self.largest, (bottom - top) * (right - left))
        counted = (tile[0] - top, tile[1] - left, tile[2] - top, tile[3] - left)
        self._norms.place(counted, bottom - top, right - left)
        name = f"{self._name} {tile[0]} {tile[1]}"
        with self._placed((top, left, bottom, right)):
            picture = _run(self.translator, window, self._code, name)[0]
        rows, columns = (
            slice(max(begin, offset) - first, min(end, offset + length) - first)
            for begin, end, first, offset, length in (
                (tile[0], tile[2], top, self.tiling.top, self.source.height),
                (tile[1], tile[3], left, self.tiling.left, self.source.width),
            )
        )
        counts = None if window.counts is None else window.counts[..., rows, columns]
        return picture[..., rows, columns].float().cpu(), counts

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """Let the translator give the generator all windows at once within the block."""
        alone, self.translator.alone = self.translator.alone, False
        try:
            yield
        finally:
            self.translator.alone = alone

    @contextlib.contextmanager
    def _placed(self, window: Box, *, whole: bool = False) -> Iterator[None]:
        """Tell a generator that begins with a style code which part of its map is asked for."""
        for module in self._spade:
            module.placed = None if whole else (window, (self.tiling.height, self.tiling.width))
        yield

    def _sample(self) -> tuple[SourceWindow, int]:
        """Return windows spread evenly over the picture, as many as memory has room for, or all of
        it where that fits; and the margin of each that the borders of windows reach.

        They are of the picture's own scale: of a reduced copy the norms would see other textures.
        """
        tiling, multiple = self.tiling, self._needs.reach.multiple
        pixels = int(self._room / self._needs.pixel_bytes)
        sides = [tiling.height, tiling.width]
        if tiling.height * tiling.width <= pixels:
            return self._at(0, 0, *sides), 0
        side = max(multiple, min(_SAMPLED, math.isqrt(pixels)) // multiple * multiple)
        sides = [min(side, each) for each in sides]
        count = max(1, pixels // math.prod(sides))
        down = max(1, min(count, round(math.sqrt(count * tiling.height / tiling.width))))
        places = itertools.product(
            _spread(tiling.height - sides[0], down), _spread(tiling.width - sides[1], count // down)
        )
        windows = [self._at(top, left, *sides) for top, left in places]
        parts = ([getattr(one, name) for one in windows] for name in ("source", "instance"))
        source, instance = (None if one[0] is None else torch.cat(one) for one in parts)
        assert source is not None
        return SourceWindow(source, instance), min(sides) // 8

    def _at(self, top: int, left: int, height: int, width: int) -> SourceWindow:
        """Read a window of the padded picture."""
        top, left = top - self.tiling.top, left - self.tiling.left
        return self.source.read(top, left, top + height, left + width)


def _spread(length: int, count: int) -> list[int]:
    """Return so many places from 0 to `length`, the ends among them; the middle for one."""
    if count == 1:
        return [length // 2]
    return sorted({round(k * length / (count - 1)) for k in range(count)})
