"""Samples become batches: in an order that follows from (seed, epoch), here or in workers."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import signal
import weakref
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from limner.data.dataset import PairedDataset, Sample
from limner.errors import ConfigError, DataError

_ORDER = 1  # sets the stream of the order apart from those of the samples' draws (dataset.py)


def batches_per_epoch(length: int, *, batch_size: int, world_size: int, drop_last: bool) -> int:
    """Return the batches that an epoch of `length` samples has over `world_size` processes."""
    together = batch_size * world_size
    return length // together if drop_last else -(-length // together)


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Yield batches of keys (epoch, index) from `start_batch` of `epoch` on.

    It runs through `epochs` epochs, the one it starts in included, or without end if that is None,
    so that workers need to start once only. The order of an epoch follows from (seed, epoch). With
    several processes batch k is, over all ranks, the batch k of one process with batches of
    `batch_size * world_size`: rank r has items r * batch_size to (r + 1) * batch_size of it.

    Raises `ConfigError` where an epoch has no batch at all, or where processes would get batches of
    different sizes in a shuffled (training) order.
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        drop_last: bool,
        epoch: int,
        start_batch: int = 0,
        epochs: int | None = 1,
        rank: int = 0,
        world_size: int = 1,
    ):
        together = batch_size * world_size
        if batch_size < 1:
            raise ConfigError(f"training.batch_size is {batch_size}: it must be 1 or more")
        if length < 1 or (drop_last and length < together):
            raise ConfigError(
                f"a data set of {length} pairs does not fill one batch of {together}: lower "
                "training.batch_size or add pairs"
            )
        if shuffle and world_size > 1 and not drop_last and length % together:
            raise ConfigError(
                f"{length} pairs do not divide into batches of {together} over {world_size} "
                "processes, which would wait for each other: let the last batch be dropped"
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = epoch
        self.start_batch = start_batch
        self.epochs = epochs
        self.rank = rank
        self.together = together
        self.per_epoch = batches_per_epoch(
            length, batch_size=batch_size, world_size=world_size, drop_last=drop_last
        )
        if not 0 <= start_batch <= self.per_epoch:
            raise ConfigError(f"batch {start_batch} is not in an epoch of {self.per_epoch} batches")

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        last = None if self.epochs is None else self.epoch + self.epochs
        start = self.start_batch
        for epoch in itertools.count(self.epoch):
            if epoch == last:
                return
            order = self._order(epoch)
            for batch in range(start, self.per_epoch):
                first = batch * self.together + self.rank * self.batch_size
                end = min(first + self.batch_size, (batch + 1) * self.together)
                keys = [(epoch, int(index)) for index in order[first:end]]
                if keys:  # the last, incomplete batch may have nothing left for this rank
                    yield keys
            start = 0

    def __len__(self) -> int:
        if self.epochs is None:
            raise TypeError("batches without end have no length")
        if self.epochs == 0:
            return 0
        rest = self.length - (self.per_epoch - 1) * self.together
        lacking = int(rest <= self.rank * self.batch_size)  # this rank has no part in the last one
        per_epoch = self.per_epoch - lacking
        return per_epoch * self.epochs - min(self.start_batch, per_epoch)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.length)
        return np.random.default_rng((_ORDER, self.seed, epoch)).permutation(self.length)


Batch = dict[str, Any]
"""`source` and `target` N x C x H x W, `name` a list of N, `index` N integers.

With label maps `source` is N x H x W, and so is `instance` where there is one. `mask`,
N x 1 x H x W, is 1 where pixels count; it is there where some values stand for none.
"""


@dataclass(frozen=True)
class _Failure:
    """A `DataError` on its way out of a worker; torch would bury its sentence in a traceback."""

    message: str


class _Guarded(Dataset):
    def __init__(self, dataset: PairedDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Sample | _Failure:
        try:
            return self.dataset[key]
        except DataError as error:
            return _Failure(str(error))


class BatchLoader(DataLoader):
    """A `DataLoader` that raises the `DataError` of a worker as it was raised there."""

    def __init__(self, dataset: Dataset, **options: Any):
        # Shared with the workers: 0 while their batches are wanted.
        self._dismissed = torch.zeros(1, dtype=torch.uint8).share_memory_()
        start = functools.partial(_start_worker, dismissed=self._dismissed)
        super().__init__(dataset, worker_init_fn=start, **options)

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._dismissed.zero_()
        batches = _unwrapped(super().__iter__())
        weakref.finalize(batches, self._dismissed.fill_, 1)
        _LIVE.add(batches)
        return batches


def _unwrapped(batches: Iterator[Batch | _Failure]) -> Generator[Batch, None, None]:
    failure = None
    for batch in batches:
        if isinstance(batch, _Failure):
            failure = batch
            break
        yield batch
    # Ends the workers now. Were the iterator kept in the traceback, the collection of that cycle
    # would take the queues before the iterator, whose workers would then never hear of the end.
    del batches
    if failure is not None:
        raise DataError(failure.message)


# Iterators that may have workers. At exit multiprocessing sends SIGTERM to workers that still run
# and waits for them; ours ignore it while their batches are wanted, so they are dismissed before.
_LIVE: weakref.WeakSet[Generator[Batch, None, None]] = weakref.WeakSet()


@atexit.register
def _dismiss_workers() -> None:
    for batches in list(_LIVE):
        with contextlib.suppress(ValueError):  # in use by another thread
            batches.close()


def make_loader(
    dataset: PairedDataset,
    *,
    batch_size: int,
    epoch: int,
    start_batch: int = 0,
    epochs: int | None = 1,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    shuffle: bool,
    drop_last: bool,
    pin_memory: bool,
) -> BatchLoader:
    """Return a loader of batches from `start_batch` of `epoch` on, through `epochs` epochs.

    One loader with `epochs=None` (without end) or the number that is left serves a whole training:
    its workers start once. The order is that of `EpochBatches` under the data set's seed; torch's
    own random generator is not touched. Workers leave Ctrl-C to the main process and run one
    thread each. `pin_memory` counts only where there is a CUDA device.
    """
    batches = EpochBatches(
        len(dataset),
        batch_size=batch_size,
        seed=dataset.seed,
        shuffle=shuffle,
        drop_last=drop_last,
        epoch=epoch,
        start_batch=start_batch,
        epochs=epochs,
        rank=rank,
        world_size=world_size,
    )
    return BatchLoader(
        _Guarded(dataset),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collate_guarded,
        pin_memory=pin_memory and torch.cuda.is_available(),
        # DataLoader draws a seed for its workers; from this, not from the generator of the run.
        generator=torch.Generator().manual_seed(0),
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Join samples into a batch; raises `DataError` where two have different sizes."""
    first = samples[0]
    for sample in samples:
        for field in ("source", "target"):
            if sample[field].shape != first[field].shape:
                raise DataError(
                    f"pair {first['name']!r} is {_size(first[field])} and pair {sample['name']!r} "
                    f"{_size(sample[field])}: two sizes cannot stand in a batch, so set "
                    "training.batch_size=1, or data.mode to one that resizes or crops"
                )
    batch: Batch = {
        field: torch.stack([sample[field] for sample in samples])  # pyright: ignore[reportTypedDictNotRequiredAccess]
        for field in ("source", "target", "instance", "mask")
        if field in first
    }
    batch["name"] = [sample["name"] for sample in samples]
    batch["index"] = torch.tensor([sample["index"] for sample in samples])
    return batch


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"


def _collate_guarded(samples: Sequence[Sample | _Failure]) -> Batch | _Failure:
    sound: list[Sample] = []
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
        sound.append(sample)
    try:
        return collate(sound)
    except DataError as error:
        return _Failure(str(error))


def _start_worker(_: int, *, dismissed: Tensor) -> None:
    # Ctrl-C and a supervisor's SIGTERM may go to the whole process group; the main process
    # decides what they mean, and its workers end when it tells them or is gone. It does tell them
    # by SIGTERM where nothing else reaches them, but not before it has given up their batches.
    def leave(*_: object) -> None:
        if dismissed.item():
            os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave)
    torch.set_num_threads(1)
