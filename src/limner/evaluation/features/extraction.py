"""Features of a set of images, streamed: never more than a few batches of images in memory.

On the CPU a network sees `CHUNK` consecutive images at a time and computes on one thread; several
chunks are under way at once, in threads or in processes. The same chunks go through the same
arithmetic however many work on them, so the features are the same to the last bit under any batch
size, number of threads and number of processes.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.errors import ConfigError
from limner.evaluation.features import EXTRACTORS, Extractor, exact, feature_cache, stacks
from limner.evaluation.image_sets import Coloured, Images
from limner.networks.cpu_speed import keep_memory, kept_memory

CHUNK = 8
"""Images in a forward pass on the CPU: more gain nothing there and fall out of its caches."""

Advance = Callable[[int], None]
_Features = dict[str, Tensor]
_Result = TypeVar("_Result")


def extract(
    extractors: Mapping[str, Extractor],
    images: Images,
    *,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
    advance: Advance | None = None,
    processes: int = 1,
) -> dict[str, Tensor]:
    """Return the N x D float64 features (on the CPU) of each extractor, in one pass over `images`.

    `images` are uint8 3 x H x W and may differ in size; a batch is split where the size changes.
    `batch_size` is what a GPU sees at once; the CPU takes `CHUNK` images whatever it says.
    `processes` decode and compute beside each other, each on one thread; with
    more than 1, `images` and extractors must be picklable, scripts need the usual
    `if __name__ == "__main__"`, and each process takes some seconds to start. `advance` is
    called with the number of images done since. The extractors must be on `device`.

    Raises:
        ConfigError: a number is below 1, or several processes are to serve another device than
            the CPU.
        DataError: images that cannot be measured.
    """
    if batch_size < 1 or processes < 1:
        wrong = ("batch_size", batch_size) if batch_size < 1 else ("processes", processes)
        raise ConfigError(f"{wrong[0]} is {wrong[1]}: it must be at least 1")
    on_cpu = torch.device(device).type == "cpu"
    if processes > 1 and not on_cpu:
        raise ConfigError(f"processes is {processes}, but one process serves {device}: leave it 1")
    step = CHUNK if on_cpu else batch_size
    starts = range(0, len(images), step)
    processes = min(processes, max(1, len(starts)))
    if not on_cpu:
        parts = (_extracted(extractors, _read(images, s, step), device) for s in starts)
    elif processes > 1:
        parts = _in_processes(extractors, images, starts, processes)
    else:
        parts = in_threads(lambda chunk: _extracted(extractors, chunk, "cpu"), images, starts)
    chunks: dict[str, list[Tensor]] = {name: [] for name in extractors}
    with kept_memory() if on_cpu and processes == 1 else contextlib.nullcontext():
        for start, part in zip(starts, parts, strict=True):
            for name, features in part.items():
                chunks[name].append(features)
            if advance is not None:
                advance(min(step, len(images) - start))
    return {
        name: torch.cat(parts) if parts else torch.empty(0, extractors[name].dimensions)
        for name, parts in chunks.items()
    }


@dataclass(frozen=True)
class FeatureWork:
    """How features come about, the same for both sets.

    `shas` are the SHA-256 of the weights by name. The rest is as in `extract`.
    """

    extractors: Mapping[str, Extractor]
    shas: Mapping[str, str]
    batch_size: int
    device: torch.device | str
    processes: int
    advance: Callable[[int], None]

    def features(self, images: Coloured, *, cache: bool) -> tuple[dict[str, Tensor], set[str]]:
        """Return the features of `images` by extractor, and which of them had been kept."""
        content = feature_cache.contents(images) if cache else ""
        names = {kind: self._key(kind, content) for kind in self.extractors} if content else {}
        features: dict[str, Tensor] = {}
        for kind, name in names.items():
            if (hit := feature_cache.kept(name)) is not None and len(hit[0]) == len(images):
                features[kind] = hit[0]
                images.pictures.remember(hit[1])
        missing = {kind: e for kind, e in self.extractors.items() if kind not in features}
        remembered = set(features)
        if not missing:
            self.advance(len(images))
            return features, remembered
        features |= extract(
            missing,
            images,
            batch_size=self.batch_size,
            device=self.device,
            advance=self.advance,
            processes=self.processes,
        )
        for kind in missing.keys() & names.keys():
            feature_cache.keep(names[kind], features[kind], images.pictures.seen())
        return features, remembered

    def _key(self, kind: str, content: str) -> str:
        extractor = self.extractors[kind]
        device = torch.device(self.device).type
        settings = {
            "extractor": kind,
            "weights": self.shas[EXTRACTORS[kind].weights],
            "preparation": extractor.preparation,
            "dimensions": extractor.dimensions,
            "device": device,
            "chunk": CHUNK if device == "cpu" else self.batch_size,
        }
        return feature_cache.key(content, settings=settings)


def _read(images: Images, start: int, count: int) -> list[Tensor]:
    return [images[index] for index in range(start, min(start + count, len(images)))]


def _extracted(
    extractors: Mapping[str, Extractor], chunk: list[Tensor], device: torch.device | str
) -> _Features:
    """Return the features of a few images, run by run of one size."""
    chunks: dict[str, list[Tensor]] = {name: [] for name in extractors}
    with exact(device):
        for stack in stacks(chunk, len(chunk)):
            batch = stack.to(device)
            for name, extractor in extractors.items():
                chunks[name].append(extractor(batch).cpu().double())
    return {name: torch.cat(parts) for name, parts in chunks.items()}


@contextlib.contextmanager
def _one_thread_each() -> Iterator[int]:
    """Let every thread compute alone, and give the number that there were before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def in_threads(
    work: Callable[[list[Tensor]], _Result], images: Images, starts: range
) -> Iterator[_Result]:
    """Yield `work` of each chunk, in order; images are read here and worked on in threads.

    A chunk begins at each of `starts` and is as long as their step. Each thread computes alone.
    Threads rather than processes, since they share the weights and take no time to start.
    """
    with _one_thread_each() as threads:
        if threads == 1 or len(starts) < 2:
            for start in starts:
                yield work(_read(images, start, starts.step))
            return
        with ThreadPoolExecutor(threads) as pool:
            chunks = (_read(images, start, starts.step) for start in starts)
            tasks = ((lambda chunk=chunk: pool.submit(work, chunk)) for chunk in chunks)
            yield from _windowed(tasks, threads + 1)


def _windowed(tasks: Iterator[Callable[[], Future[Any]]], ahead: int) -> Iterator[Any]:
    """Yield results in order with at most `ahead` tasks started and not yet handed on."""
    waiting: collections.deque[Future[Any]] = collections.deque()
    try:
        for task in tasks:
            waiting.append(task())
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


# What a worker process was started with: it serves one call of `extract` only.
_work: tuple[Mapping[str, Extractor], Images, int]


def _begin(extractors: Mapping[str, Extractor], images: Images, step: int) -> None:
    global _work  # noqa: PLW0603 - a process pool hands its workers their data in no other way
    torch.set_num_threads(1)
    keep_memory()
    _work = (extractors, images, step)


def _chunk_in_worker(start: int) -> tuple[dict[str, NDArray[np.float64]], Any]:
    extractors, images, step = _work
    features = _extracted(extractors, _read(images, start, step), "cpu")
    seen = images.pictures.seen() if isinstance(images, Coloured) else None
    # Arrays, not tensors: those would travel as open files that end with the process.
    return {name: x.numpy() for name, x in features.items()}, seen


def _in_processes(
    extractors: Mapping[str, Extractor], images: Images, starts: range, processes: int
) -> Iterator[_Features]:
    """Yield each chunk's features, decoded and computed in worker processes."""
    import torch.multiprocessing

    # Started afresh: a forked child would inherit the locks of the parent's OpenMP threads.
    context = torch.multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes,
        mp_context=context,
        initializer=_begin,
        initargs=(extractors, images, starts.step),
    ) as pool:
        tasks = ((lambda start=start: pool.submit(_chunk_in_worker, start)) for start in starts)
        for features, seen in _windowed(tasks, 2 * processes):
            if seen is not None and isinstance(images, Coloured):
                images.pictures.remember(seen)
            yield {name: torch.from_numpy(x) for name, x in features.items()}
