"""What a training does while it waits for its workers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import small

from limner.api import train
from limner.data import PairedDataset, batch_workers
from limner.errors import DataError, TrainingError
from limner.files import read_events
from limner.run import newest, step_of
from limner.training import Interrupted, loop
from limner.training.state import State

Read = Callable[[PairedDataset, Any], Any]


def settings(pairs: Path, *overrides: str):
    return small(f"data.root={str(pairs)!r}", "training.epochs=2", *overrides)


def go(pairs: Path, run: Path, *overrides: str, **keywords: Any) -> State:
    return train(
        settings(pairs, "training.workers=2", *overrides),
        out=run,
        cache_folder=run.parent / "cache",
        **keywords,
    )


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch):
    """Replace, in the workers, how a pair of the second epoch is read."""
    read: Read = PairedDataset.__getitem__
    home = os.getpid()

    def replace(other: Callable[[], None]) -> None:
        def altered(self: PairedDataset, key: Any) -> Any:
            if isinstance(key, tuple) and key[0] == 1 and os.getpid() != home:
                other()
            return read(self, key)

        monkeypatch.setattr(PairedDataset, "__getitem__", altered)

    yield replace
    assert torch.multiprocessing.active_children() == []


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def left() -> None:
    os._exit(3)


def out_of_shared_memory() -> None:
    signal.signal(signal.SIGBUS, signal.SIG_DFL)  # pytest's would print where
    os.kill(os.getpid(), signal.SIGBUS)  # what writing to a full /dev/shm ends in


def not_handed_over() -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unable to write to file </torch_1>: No space left on device (28)")

    torch.UntypedStorage._share_fd_cpu_ = fail  # type: ignore[method-assign]


def asleep() -> None:
    time.sleep(3600)


@pytest.mark.parametrize(
    ("end", "named"),
    [
        (killed, "SIGKILL"),
        (left, "exit code 3"),
        (out_of_shared_memory, "/dev/shm"),
        (not_handed_over, "/dev/shm"),
    ],
)
def test_a_worker_that_ends_ends_the_training_in_a_sentence_and_loses_nothing(
    reading, end: Callable[[], None], named: str, pairs: Path, tmp_path: Path, monkeypatch
) -> None:
    run = tmp_path / "run"
    reading(end)
    with pytest.raises(TrainingError) as caught:
        go(pairs, run)
    sentence = str(caught.value)
    assert named in sentence
    assert "\n" not in sentence
    assert "training.workers=0" in sentence
    folder = newest(run)
    assert folder is not None
    # Batches ahead may have been lost with the worker, nothing that was learnt.
    steps = [event["step"] for event in read_events(run) if event["event"] == "train"]
    assert step_of(folder) == max(steps) > 0
    assert read_events(run)[-1]["event"] == "stopped"
    monkeypatch.undo()
    again = train(  # the sentence's own cure
        settings(pairs, "training.workers=0"), out=run, resume=True, cache_folder=tmp_path / "cache"
    )
    assert again.step == 24
    whole = go(pairs, tmp_path / "whole", "training.workers=0")
    for one, other in zip(
        again.generator.plain.state_dict().values(),
        whole.generator.plain.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_a_worker_that_hands_nothing_over_is_given_up(
    reading, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading(asleep)
    monkeypatch.setattr(batch_workers, "WATCH", 0.05)
    monkeypatch.setattr(batch_workers, "PATIENCE", 0.2)
    monkeypatch.setattr(batch_workers, "_FAREWELL", 0.2)
    with pytest.raises(TrainingError, match=r"data\.root"):
        go(pairs, tmp_path / "run")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_wait_that_has_no_end(
    reading, signum: signal.Signals, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    reading(asleep)
    monkeypatch.setattr(batch_workers, "_FAREWELL", 0.2)

    def once_it_waits() -> None:
        done = 0
        while done < 12:  # the first epoch; the second never comes
            done = max((e.get("step", 0) for e in read_events(run)), default=0)
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(os.getpid(), signum)

    helper = threading.Thread(target=once_it_waits, daemon=True)
    helper.start()
    with pytest.raises(Interrupted) as caught:
        go(pairs, run)
    helper.join()
    assert caught.value.exit_code == 128 + signum
    folder = newest(run)
    assert folder is not None
    assert step_of(folder) == 12
    assert read_events(run)[-1]["event"] == "interrupted"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_is_damaged_meanwhile_loses_nothing_that_was_learnt(
    workers: int, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Read = PairedDataset.__getitem__

    def damaged(self: PairedDataset, key: Any) -> Any:
        if isinstance(key, tuple) and key[0] == 1:
            raise DataError("train/3.png is damaged")
        return read(self, key)

    monkeypatch.setattr(PairedDataset, "__getitem__", damaged)
    with pytest.raises(DataError, match=r"3\.png.*--resume"):
        go(pairs, tmp_path / "run", f"training.workers={workers}")
    folder = newest(tmp_path / "run")
    assert folder is not None
    assert step_of(folder) == 12


@pytest.mark.parametrize("before", [True, False])
def test_one_of_several_processes_waits_a_while_for_data_after_a_signal_and_no_longer(
    before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "GRACE", 0.05)
    handler = signal.getsignal(signal.SIGALRM)
    with loop._Signals(alone=False) as signals:
        if before:
            signal.raise_signal(signal.SIGTERM)

        def wait(held: loop._Signals) -> None:
            with held.waiting():
                if not before:
                    signal.raise_signal(signal.SIGTERM)
                signal.pause()  # for data that do not come

        with pytest.raises(loop._Waiting):
            wait(signals)
        assert signals.caught == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGALRM) is handler
    with loop._Signals(alone=False) as signals:
        with signals.waiting():  # the data come in time, and the step after them is not cut off
            signal.raise_signal(signal.SIGTERM)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_rank_that_gives_up_its_wait_says_what_is_kept(tmp_path: Path) -> None:
    error = Interrupted(tmp_path, signal.SIGTERM, 8, waiting=True)
    assert error.exit_code == 143
    assert "step 8" in str(error)
    assert "--resume" in str(error)
