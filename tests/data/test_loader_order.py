"""The order of batches: from any start, over any number of processes, one and the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data import EpochBatches, batches_per_epoch
from limner.errors import ConfigError

Keys = list[list[tuple[int, int]]]


def keys(length: int = 10, **given: Any) -> Keys:
    options: dict[str, Any] = {
        "batch_size": 2,
        "seed": 0,
        "shuffle": True,
        "drop_last": False,
        "epoch": 0,
    }
    batches = EpochBatches(length, **(options | given))
    found = list(batches)
    assert len(batches) == len(found)
    return found


@given(
    length=st.integers(1, 40),
    batch_size=st.integers(1, 7),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
    epochs=st.integers(0, 3),
    start=st.integers(0, 60),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_from_any_start_the_rest_of_the_whole(
    length, batch_size, seed, epoch, epochs, start, shuffle, drop_last
):
    options = {"batch_size": batch_size, "seed": seed, "shuffle": shuffle, "drop_last": drop_last}
    if drop_last and length < batch_size:
        with pytest.raises(ConfigError, match="does not fill one batch"):
            keys(length, **options)
        return
    per_epoch = batches_per_epoch(length, batch_size=batch_size, world_size=1, drop_last=drop_last)
    start = min(start, per_epoch)
    whole = keys(length, **options, epoch=epoch, epochs=epochs)
    assert len(whole) == per_epoch * epochs
    assert keys(length, **options, epoch=epoch, epochs=epochs, start_batch=start) == whole[start:]
    for number in range(epochs):
        batches = whole[number * per_epoch : (number + 1) * per_epoch]
        indices = [index for batch in batches for _, index in batch]
        assert {e for batch in batches for e, _ in batch} == {epoch + number}
        assert len(set(indices)) == len(indices)
        if not drop_last:
            assert sorted(indices) == list(range(length))
        if not shuffle:
            assert indices == list(range(len(indices)))


@given(
    length=st.integers(1, 60),
    batch_size=st.integers(1, 5),
    world_size=st.integers(1, 4),
    drop_last=st.booleans(),
    start=st.integers(0, 3),
)
def test_ranks_together_are_one_process_with_larger_batches(
    length, batch_size, world_size, drop_last, start
):
    together = batch_size * world_size
    if drop_last and length < together:
        return
    # Uneven batches are for evaluation, whose order is not shuffled.
    shuffle = drop_last or length % together == 0
    options = {"shuffle": shuffle, "drop_last": drop_last, "epochs": 2}
    per_epoch = batches_per_epoch(
        length, batch_size=batch_size, world_size=world_size, drop_last=drop_last
    )
    options["start_batch"] = min(start, per_epoch)
    one = keys(length, batch_size=together, **options)
    ranks = [
        keys(length, batch_size=batch_size, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]
    if shuffle or length % together == 0:
        assert {len(batches) for batches in ranks} == {len(one)}
        for number, batch in enumerate(one):
            for rank, batches in enumerate(ranks):
                assert batches[number] == batch[rank * batch_size : (rank + 1) * batch_size]
    seen = sorted(key for batches in ranks for batch in batches for key in batch)
    assert seen == sorted(key for batch in one for key in batch)


def test_orders_differ_by_epoch_and_seed_only():
    orders = {
        (seed, epoch): tuple(
            index for batch in keys(50, seed=seed, epoch=epoch) for _, index in batch
        )
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(set(orders.values())) == 9
    assert keys(50, seed=1, epoch=2) == keys(50, seed=1, epoch=0, epochs=3)[50:]


def test_without_end():
    batches = EpochBatches(
        4, batch_size=2, seed=0, shuffle=True, drop_last=True, epoch=5, start_batch=1, epochs=None
    )
    walk = iter(batches)
    assert [next(walk)[0][0] for _ in range(6)] == [5, 6, 6, 7, 7, 8]
    with pytest.raises(TypeError):
        len(batches)


def test_what_cannot_be_batched_is_refused_before_the_start():
    with pytest.raises(ConfigError, match="3 pairs does not fill one batch of 4: lower"):
        keys(3, batch_size=2, world_size=2, drop_last=True)
    with pytest.raises(ConfigError, match="5 pairs do not divide into batches of 4 over 2"):
        keys(5, batch_size=2, world_size=2)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        keys(3, batch_size=0)
    with pytest.raises(ConfigError, match="batch 9 is not in an epoch of 5 batches"):
        keys(10, start_batch=9)
