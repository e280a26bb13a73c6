"""Samples become batches: in an order that follows from (seed, epoch), here or in workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from limner.data.batch_workers import made_ahead, until_exit
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


class BatchLoader:
    """Batches of a data set in the order of a sampler; each pass over it begins anew.

    With workers, processes make them ahead of time (`batch_workers`), without, they are made here.
    """

    def __init__(
        self, dataset: PairedDataset, batches: EpochBatches, *, workers: int, pin_memory: bool
    ):
        self.dataset = dataset
        self.batches = batches
        self.workers = workers
        self.pin_memory = pin_memory

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        if self.workers:
            made = until_exit(made_ahead(self._batch, self.batches, workers=self.workers))
        else:
            made = map(self._batch, self.batches)
        return map(_pinned, made) if self.pin_memory else made

    def _batch(self, keys: Sequence[tuple[int, int]]) -> Batch:
        return collate([self.dataset[key] for key in keys])


def _pinned(batch: Batch) -> Batch:
    return {
        name: value.pin_memory() if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }


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
    own random generator is not touched. `pin_memory` counts only where there is a CUDA device.
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
    pin = pin_memory and torch.cuda.is_available()
    return BatchLoader(dataset, batches, workers=workers, pin_memory=pin)


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
