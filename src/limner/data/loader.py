"""Samples become batches, in this process or in workers."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import weakref
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limner.data.dataset import PairedDataset, Sample
from limner.data.order import EpochBatches
from limner.errors import DataError

Batch = dict[str, Any]
"""`source` and `target` N x C x H x W, `name` a list of N, `index` N integers.

With label maps `source` is N x H x W, and so is `instance` where there is one.
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
        for field in ("source", "target", "instance")
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
