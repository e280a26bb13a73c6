"""Checkpoints: whole or not at all, newest and best kept, nothing in them runs."""

from __future__ import annotations

import pickle
import resource
from pathlib import Path

import pytest
import torch
from tiny import batch, objective_of, small

from limner.errors import CheckpointError, TrainingError
from limner.run import checkpoint_folder, newest
from limner.training.checkpoint import load_checkpoint, read_state, save_checkpoint
from limner.training.state import State, build_state
from limner.training.step import training_step


def stepped(state: State, count: int) -> State:
    for number in range(count):
        training_step(state, batch(1, seed=state.step + number), objective_of(state))
    return state


def equal(one: object, other: object) -> bool:
    """Compare nested states bit by bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(v, other[k]) for k, v in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "radam"])
def test_what_is_written_is_read_back_bit_by_bit(optimizer: str, fabric, tmp_path: Path) -> None:
    config = small(
        f"training.optimizer={optimizer}", "training.ema=0.9", "generator.norm=batch", "seed=3"
    )
    state = stepped(build_state(config, fabric), 3)
    state.best = {"metric": "l1", "value": 0.25, "step": 2}
    folder = save_checkpoint(state, tmp_path)
    assert folder is not None
    other = build_state(config.model_copy(update={"seed": 4}), fabric)
    load_checkpoint(other, folder)
    assert (other.step, other.best) == (3, state.best)
    assert state.ema is not None
    assert other.ema is not None
    assert equal(state.ema.state_dict(), other.ema.state_dict())
    for name, player in state.networks.items():
        assert equal(player.plain.state_dict(), other.networks[name].plain.state_dict()), name
        assert equal(player.optimizer.state_dict(), other.networks[name].optimizer.state_dict()), (
            name
        )


def test_newest_and_best_are_kept(fabric, tmp_path: Path) -> None:
    state = build_state(small(), fabric)
    for step in range(1, 6):
        stepped(state, 1)
        if step == 2:
            state.best = {"metric": "l1", "value": 0.1, "step": 2}
        save_checkpoint(state, tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "00000002",
        "00000005",
        "best.json",
    ]
    assert checkpoint_folder(tmp_path, "best").name == "00000002"
    assert checkpoint_folder(tmp_path, "newest").name == "00000005"
    assert checkpoint_folder(tmp_path, "2").name == "00000002"
    with pytest.raises(CheckpointError, match="newest or one of 2, 5"):
        checkpoint_folder(tmp_path, "4")


def test_a_full_disk_leaves_the_checkpoint_before(fabric, tmp_path: Path) -> None:
    state = stepped(build_state(small(), fabric), 1)
    first = save_checkpoint(state, tmp_path)
    assert first is not None
    stepped(state, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(TrainingError, match=r"disk is full.*step 2.*--resume"):
            save_checkpoint(state, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["00000001"]
    other = build_state(small(), fabric)
    load_checkpoint(other, first)
    assert other.step == 1


def test_weights_that_are_not_finite_are_not_written(fabric, tmp_path: Path) -> None:
    state = stepped(build_state(small(), fabric), 1)
    save_checkpoint(state, tmp_path)
    stepped(state, 1)
    with torch.no_grad():
        next(state.generator.plain.parameters())[0] = float("nan")
    with pytest.raises(TrainingError, match="not finite at step 2"):
        save_checkpoint(state, tmp_path)
    assert newest(tmp_path) == tmp_path / "checkpoints" / "00000001"


def test_a_half_written_folder_is_no_checkpoint(fabric, tmp_path: Path) -> None:
    state = stepped(build_state(small(), fabric), 1)
    save_checkpoint(state, tmp_path)
    torn = tmp_path / "checkpoints" / ".00000002.writing"
    torn.mkdir()
    (torn / "generator.safetensors").write_bytes(b"half")
    assert newest(tmp_path) == tmp_path / "checkpoints" / "00000001"
    stepped(state, 1)
    folder = save_checkpoint(state, tmp_path)
    assert folder is not None
    assert not torn.exists()
    assert read_state(folder)["step"] == 2


class Harmful:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("harmed"),))


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Harmful()}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(tmp_path)
    (tmp_path / "state.pt").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(tmp_path)
    assert not (tmp_path / "harmed").exists()


def test_a_damaged_or_foreign_file_is_named(fabric, tmp_path: Path) -> None:
    state = stepped(build_state(small(), fabric), 1)
    folder = save_checkpoint(state, tmp_path)
    assert folder is not None
    other = build_state(small("generator.width=8"), fabric)
    with pytest.raises(CheckpointError, match=r"generator\.safetensors does not fit"):
        load_checkpoint(other, folder)
    path = folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"generator\.safetensors is damaged"):
        load_checkpoint(state, folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"generator\.safetensors is missing"):
        load_checkpoint(state, folder)
