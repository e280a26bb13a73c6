"""Batches are the same with any number of workers and from any start; workers end in order."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from limner.data import batch_workers, make_loader
from limner.data.loader import collate
from limner.errors import DataError


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers end by themselves however long a busy machine takes; none is killed."""
    monkeypatch.setattr(batch_workers, "_FAREWELL", 600.0)


def loaded(dataset, **given: Any) -> list[dict[str, Any]]:
    options: dict[str, Any] = {
        "batch_size": 2,
        "epoch": 0,
        "epochs": 2,
        "workers": 0,
        "shuffle": True,
        "drop_last": True,
        "pin_memory": False,
    }
    return list(make_loader(dataset, **(options | given)))


def same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> bool:
    return len(first) == len(second) and all(
        one["name"] == two["name"]
        and all(torch.equal(one[key], two[key]) for key in ("source", "target", "index"))
        for one, two in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(side_by_side, open_plainly, tmp_path, workers):
    root = side_by_side(6)
    expected = loaded(open_plainly(root))
    assert [batch["source"].shape for batch in expected] == [(2, 3, 16, 16)] * 6
    assert same(loaded(open_plainly(root), workers=workers), expected)
    # The cache is filled by the workers, then read by them.
    cached = open_plainly(root, cache=tmp_path / "cache")
    assert same(loaded(cached, workers=workers), expected)
    assert same(loaded(cached, workers=workers, start_batch=2), expected[2:])
    assert same(loaded(cached, workers=workers, epoch=1, epochs=1, start_batch=1), expected[4:])


def test_resuming_at_every_batch_continues_the_run(side_by_side, open_plainly):
    dataset = open_plainly(side_by_side(6))
    expected = loaded(dataset, epochs=3)
    for done in range(10):
        epoch, batch = divmod(done, 3)
        rest = loaded(dataset, epoch=epoch, start_batch=batch, epochs=3 - epoch)
        assert same(rest, expected[done:])


@pytest.mark.parametrize("workers", [0, 1])
def test_torchs_own_generator_is_left_alone(side_by_side, open_plainly, workers):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    loaded(open_plainly(side_by_side(4)), workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_one_sentence_also_from_a_worker(side_by_side, open_plainly, workers):
    root = side_by_side(4)
    path = root / "train/2.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError) as caught:
        loaded(open_plainly(root), workers=workers)
    # The workers are gone even while the traceback is kept.
    assert torch.multiprocessing.active_children() == []
    assert str(caught.value).startswith(f"{path} is damaged or truncated (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_two_sizes_in_a_batch_are_one_sentence(side_by_side, open_plainly, workers):
    root = side_by_side(2)
    wide = side_by_side(1, width=30, name="wide") / "train/0.png"
    wide.rename(root / "train/2.png")
    options = {"batch_size": 3, "shuffle": False, "workers": workers}
    message = r"^pair '0' is 24x24 and pair '2' 30x24: two sizes cannot stand in a batch, so set"
    with pytest.raises(DataError, match=message):
        loaded(open_plainly(root, mode="none"), **options)
    assert loaded(open_plainly(root), **options)[0]["index"].tolist() == [0, 1, 2]


def test_collate_looks_at_both_fields():
    image, wide = torch.zeros(3, 4, 4), torch.zeros(3, 4, 5)
    samples: list[Any] = [
        {"source": image, "target": target, "name": name, "index": 0}
        for name, target in (("a", image), ("b", wide))
    ]
    with pytest.raises(DataError, match=r"pair 'a' is 4x4 and pair 'b' 5x4"):
        collate(samples)


def test_workers_start_once_and_leave_signals_to_the_main_process(
    side_by_side, open_plainly, patient
):
    dataset = open_plainly(side_by_side(4))
    loader = make_loader(
        dataset,
        batch_size=2,
        epoch=0,
        epochs=None,
        workers=1,
        shuffle=True,
        drop_last=True,
        pin_memory=False,
    )
    batches = iter(loader)
    next(batches)
    children = torch.multiprocessing.active_children()
    assert len(children) == 1
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(int(children[0].pid or 0), number)
    for _ in range(20):  # ten epochs
        next(batches)
    assert torch.multiprocessing.active_children() == children
    del batches
    assert children[0].exitcode == 0


def test_workers_whose_batches_were_given_up_end_by_themselves(side_by_side, open_plainly, patient):
    loader = make_loader(
        open_plainly(side_by_side(4)),
        batch_size=2,
        epoch=0,
        epochs=None,
        workers=1,
        shuffle=True,
        drop_last=True,
        pin_memory=False,
    )

    # A reference cycle, as a traceback makes one: its collection starves the worker.
    holder = SimpleNamespace(batches=iter(loader))
    holder.itself = holder
    next(holder.batches)
    (worker,) = torch.multiprocessing.active_children()
    del holder
    gc.collect()
    assert worker.exitcode == 0


def test_leaving_in_the_middle_of_the_batches_does_not_hang(side_by_side):
    program = f"""
import tempfile
# Its finalizer is registered at exit before multiprocessing's hook, so that it runs after it: no
# finalizer helps the workers then.
folder = tempfile.TemporaryDirectory()
from pathlib import Path
from limner.data import make_loader, open_dataset
dataset = open_dataset(
    Path({str(side_by_side(4))!r}), "train", direction=None, mode="none", size=(24, 24),
    load_size=(24, 24), flip=True, channels=(3, 3), convert=False,
    interpolation=("bicubic", "bicubic"), cache_folder=None, cache_bytes=0, seed=0, augment=True,
    batch_size=2,
)
loader = make_loader(
    dataset, batch_size=2, epoch=0, epochs=None, workers=2, shuffle=True, drop_last=True,
    pin_memory=False,
)
batches = iter(loader)
next(batches)
raise SystemExit(3)
"""
    left = subprocess.run([sys.executable, "-c", program], check=False)
    assert left.returncode == 3
