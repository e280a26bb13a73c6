"""The order of batches: it follows from (seed, epoch), from any batch of any epoch on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from limner.errors import ConfigError

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
