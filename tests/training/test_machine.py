"""What a training asks of its machine, and says where it lacks it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import small, tiny

from limner.api import train
from limner.errors import OutOfMemoryError, TrainingError
from limner.files import read_events
from limner.training import loop, machine
from limner.training.state import State


def go(pairs: Path, run: Path, *overrides: str, **keywords: Any) -> State:
    config = small(f"data.root={str(pairs)!r}", "training.epochs=2", *overrides)
    return train(config, out=run, cache_folder=run.parent / "cache", **keywords)


LACKS = [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_a_lack_of_memory_names_what_was_tried_and_a_cure_that_works(
    error: BaseException, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pairs at once are too many here; the sentence's own words go around it."""
    step = loop.training_step

    def hungry(state: State, batch: dict[str, torch.Tensor], *rest: Any, **keywords: Any):
        if state.config.training.batch_size > 1 and state.step == 3:
            raise error
        return step(state, batch, *rest, **keywords)

    monkeypatch.setattr(loop, "training_step", hungry)
    run = tmp_path / "run"
    with pytest.raises(OutOfMemoryError, match="batches of 2 at 32x32") as caught:
        go(pairs, run, "training.batch_size=2", "training.checkpoint_every=0.5")
    sentence = str(caught.value)
    # Without a CUDA device nothing is known of its memory.
    assert "GiB" in sentence or isinstance(error, torch.cuda.OutOfMemoryError)
    assert read_events(run)[-1]["event"] == "stopped"
    words = sentence.partition("repeat with ")[2].partition("; or")[0].split()
    assert words[0] == "--resume"
    given: dict[str, list[str]] = {"--set": [], "--allow": []}
    for flag, value in zip(words[1::2], words[2::2], strict=True):
        given[flag].append(value)
    state = go(pairs, run, *given["--set"], resume=True, allow=tuple(given["--allow"]))
    assert state.step > 3
    assert state.config.training.batch_size == 1


def test_advice_on_memory_is_what_the_networks_can_follow(tmp_path: Path) -> None:
    advice = machine._smaller(tiny("spade"), tmp_path / "none")
    assert any("generator.activation_checkpointing=true" in way for way in advice)
    assert any("generator.width" in way for way in advice)
    assert not any("activation_checkpointing" in way for way in machine._smaller(small(), tmp_path))


def test_memory_that_a_limit_leaves_is_told() -> None:
    import resource

    from limner.errors import free_memory

    free = free_memory()
    assert free is not None
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, limits[1]))
    try:
        assert 0 <= (free_memory() or 0) < 2**29  # other threads may give memory back meanwhile
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize(("able", "told"), [(False, True), (True, False)])
def test_numbers_that_the_processor_imitates_are_told_before_the_first_step(
    able: bool, told: bool, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "computes_in", lambda numbers: able)
    run = tmp_path / "run"
    go(pairs, run, "training.precision=bf16-mixed", "training.steps=1")
    events = read_events(run)
    first = next(i for i, event in enumerate(events) if event["event"] == "train")
    notes = [e["text"] for e in events[:first] if e["event"] == "note" and "bfloat16" in e["text"]]
    assert len(notes) == told
    assert all("training.precision=32-true" in note for note in notes)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:2715"),
        torch.distributed.DistNetworkError("failed to recv, got 0 bytes"),
        torch.distributed.DistBackendError("NCCL communicator was aborted on rank 1"),
    ],
)
def test_a_process_that_is_lost_is_told_by_the_others(error: RuntimeError, tmp_path: Path) -> None:
    with (
        pytest.raises(TrainingError, match="--resume") as caught,
        machine.lost_processes(2, tmp_path),
    ):
        raise error
    assert caught.value.__cause__ is error
    with pytest.raises(RuntimeError) as alone, machine.lost_processes(1, tmp_path):
        raise error
    assert alone.value is error


def test_other_faults_are_not_taken_for_a_lost_process(tmp_path: Path) -> None:
    error = RuntimeError("shapes differ")
    with pytest.raises(RuntimeError) as caught, machine.lost_processes(2, tmp_path):
        raise error
    assert caught.value is error
