"""Nothing in a run changes before all is checked; one process writes; what is loaded is checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import batch, objective_of, small

from limner.api import train
from limner.errors import CheckpointError, LimnerError
from limner.files import lock, read_events
from limner.run import CHECKSUMS, check_run, checkpoint_folder, generator_file, newest
from limner.training.checkpoint import load_checkpoint, read_state, save_checkpoint
from limner.training.state import build_state
from limner.training.step import training_step


@pytest.fixture
def run(pairs: Path, tmp_path: Path) -> Path:
    train(settings(pairs), out=tmp_path / "run", cache_folder=tmp_path / "cache")
    return tmp_path / "run"


def settings(pairs: Path, *overrides: str):
    return small(f"data.root={str(pairs)!r}", "training.epochs=2", "training.steps=2", *overrides)


def contents(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(
    ("override", "allow"),
    [
        ("generator.width=6", ("generator.width",)),  # the weights do not fit
        ("discriminators.0.width=6", ("discriminators",)),
        ("objective.l1=7", ()),
    ],
)
def test_a_refused_resume_changes_nothing(
    run: Path, pairs: Path, tmp_path: Path, override: str, allow: tuple[str, ...]
) -> None:
    before = contents(run)
    with pytest.raises(LimnerError):
        train(
            settings(pairs, override),
            out=run,
            resume=True,
            allow=allow,
            cache_folder=tmp_path / "cache",
        )
    assert contents(run) == before


def test_a_refused_start_leaves_no_folder(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(LimnerError):
        train(settings(pairs, "training.batch_size=99"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_process_writes_at_a_time(run: Path, pairs: Path, tmp_path: Path) -> None:
    more = settings(pairs, "training.steps=4")
    before = contents(run)
    with torch.multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(hold_for_ever, (str(run / ".lock"),))
        with pytest.raises(LimnerError, match="another process"):
            train(
                more,
                out=run,
                resume=True,
                allow=("training.steps",),
                cache_folder=tmp_path / "cache",
            )
        assert contents(run) == before
    train(more, out=run, resume=True, allow=("training.steps",), cache_folder=tmp_path / "cache")
    assert newest(run) == run / "checkpoints" / "00000004"


HELD = []


def hold_for_ever(path: str) -> None:
    held = lock(Path(path))
    held.__enter__()
    HELD.append(held)


def test_a_checkpoint_that_the_log_lost_is_entered(run: Path, pairs: Path, tmp_path: Path) -> None:
    events = [event for event in read_events(run) if event["event"] != "checkpoint"]
    (run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    train(
        settings(pairs, "training.steps=3"),
        out=run,
        resume=True,
        allow=("training.steps",),
        cache_folder=tmp_path / "cache",
    )
    steps = [event["step"] for event in read_events(run) if event["event"] == "checkpoint"]
    assert steps == [2, 3]


def test_coefficients_that_are_allowed_to_change_take_effect(fabric, tmp_path: Path) -> None:
    state = build_state(small(), fabric)
    training_step(state, batch(1), objective_of(state))
    folder = save_checkpoint(state, tmp_path)
    assert folder is not None
    other = build_state(small("training.betas=[0.9,0.99]", "training.weight_decay=0.1"), fabric)
    load_checkpoint(other, folder)
    for network in other.networks.values():
        for group in network.optimizer.param_groups:
            assert group["betas"] == (0.9, 0.99)
            assert group["weight_decay"] == 0.1


def shapes(content: dict) -> None:
    for values in content["optimizers"]["generator"]["state"].values():
        values["exp_avg"] = values["exp_avg"].flatten()[:1]


def not_finite(content: dict) -> None:
    next(iter(content["optimizers"]["generator"]["state"].values()))["exp_avg_sq"].fill_(torch.nan)


def of_another_step(content: dict) -> None:
    content["step"] = 7


def of_the_future(content: dict) -> None:
    content["format"] = 99


def best_of_no_number(content: dict) -> None:
    content["best"] = {"metric": "l1", "value": float("nan"), "step": 1}


def best_of_no_step(content: dict) -> None:
    content["best"] = {"metric": "l1", "value": 0.5}


def losses_of_another_form(content: dict) -> None:
    content["balance"]["losses"] = torch.zeros(3)


def weights_of_no_numbers(content: dict) -> None:
    content["balance"]["weights"] = ["heavy"]


def without_networks(content: dict) -> None:
    content["optimizers"].clear()


@pytest.mark.parametrize(
    "damage",
    [
        *(shapes, not_finite, of_another_step, of_the_future, without_networks),
        *(best_of_no_number, best_of_no_step, losses_of_another_form, weights_of_no_numbers),
    ],
)
def test_a_state_that_is_not_this_training_s_is_refused(fabric, tmp_path: Path, damage) -> None:
    state = build_state(small(), fabric)
    training_step(state, batch(1), objective_of(state))
    folder = save_checkpoint(state, tmp_path)
    assert folder is not None
    content = read_state(folder)
    damage(content)
    torch.save(content, folder / "state.pt")
    (folder / CHECKSUMS).unlink()  # as of a version before: the content itself is looked at
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        load_checkpoint(build_state(small(), fabric), folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"step": -1}', '{"step": "two"}', "null"])
def test_a_best_that_names_no_step_is_refused(run: Path, text: str) -> None:
    (run / "checkpoints" / "best.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"best\.json"):
        checkpoint_folder(run, "best")


def test_hidden_files_do_not_keep_a_run_from_starting(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".DS_Store").write_bytes(b"")
    assert check_run(run, settings(pairs), resume=False) == (None, {})
    (run / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError):
        check_run(run, settings(pairs), resume=False)


def test_weights_that_are_not_finite_are_not_loaded(run: Path) -> None:
    from limner.inference import Translator

    path = generator_file(checkpoint_folder(run))
    network = Translator.load(run, backend="eager").generator
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    next(iter(weights.values())).fill_(torch.inf)
    save_file(weights, path)
    (path.parent / CHECKSUMS).unlink()
    with pytest.raises(LimnerError, match="generator"):
        Translator.load(run, backend="eager")
