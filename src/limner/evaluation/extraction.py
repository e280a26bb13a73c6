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
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner import memory
from limner.errors import ConfigError
from limner.evaluation.features import Extractor, exact, stacks
from limner.evaluation.pictures import Coloured, Images

CHUNK = 8
"""Images in a forward pass on the CPU: more gain nothing there and fall out of its caches."""

Advance = Callable[[int], None]
_Found = dict[str, Tensor]
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
    `if __name__ == "__main__"`, and each process takes some seconds to start. `advance` is told of
    every so many images done. The extractors must be on `device`.

    Raises `ConfigError` for numbers below 1 and for several processes on another device than the
    CPU, `DataError` for images that cannot be measured.
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
        parts = (_features(extractors, _read(images, s, step), device) for s in starts)
    elif processes > 1:
        parts = _in_processes(extractors, images, starts, processes)
    else:
        parts = in_threads(lambda chunk: _features(extractors, chunk, "cpu"), images, starts)
    found: dict[str, list[Tensor]] = {name: [] for name in extractors}
    with memory.kept() if on_cpu and processes == 1 else contextlib.nullcontext():
        for start, part in zip(starts, parts, strict=True):
            for name, features in part.items():
                found[name].append(features)
            if advance is not None:
                advance(min(step, len(images) - start))
    return {
        name: torch.cat(parts) if parts else torch.empty(0, extractors[name].dimensions)
        for name, parts in found.items()
    }


def _read(images: Images, start: int, count: int) -> list[Tensor]:
    return [images[index] for index in range(start, min(start + count, len(images)))]


def _features(
    extractors: Mapping[str, Extractor], chunk: list[Tensor], device: torch.device | str
) -> _Found:
    """Return the features of a few images, run by run of one size."""
    found: dict[str, list[Tensor]] = {name: [] for name in extractors}
    with exact(device):
        for stack in stacks(chunk, len(chunk)):
            batch = stack.to(device)
            for name, extractor in extractors.items():
                found[name].append(extractor(batch).cpu().double())
    return {name: torch.cat(parts) for name, parts in found.items()}


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
    memory.keep()
    _work = (extractors, images, step)


def _chunk_in_worker(start: int) -> tuple[dict[str, NDArray[np.float64]], Any]:
    extractors, images, step = _work
    found = _features(extractors, _read(images, start, step), "cpu")
    seen = images.pictures.seen() if isinstance(images, Coloured) else None
    # Arrays, not tensors: those would travel as open files that end with the process.
    return {name: x.numpy() for name, x in found.items()}, seen


def _in_processes(
    extractors: Mapping[str, Extractor], images: Images, starts: range, processes: int
) -> Iterator[_Found]:
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
        for found, seen in _windowed(tasks, 2 * processes):
            if seen is not None and isinstance(images, Coloured):
                images.pictures.remember(seen)
            yield {name: torch.from_numpy(x) for name, x in found.items()}
