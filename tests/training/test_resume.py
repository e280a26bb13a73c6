"""A run that was stopped, in whatever way, ends as if it had not been."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from overriding import with_overrides
from test_checkpoint import equal
from tiny import small

from limner.api import train
from limner.config import read_config
from limner.errors import CheckpointError, ConfigError, TrainingError
from limner.files import read_events
from limner.run import checkpoint_folder, newest
from limner.training.checkpoint import read_state
from limner.training.events import JsonLog, forget_after


def outcome(run: Path) -> tuple[dict, list]:
    """Return the newest state, weights included, and the scalars of the log."""
    folder = checkpoint_folder(run, "newest")
    state = read_state(folder)
    for path in sorted(folder.glob("*.safetensors")):
        state[path.name] = path.read_bytes()
    scalars = [
        {k: v for k, v in event.items() if k not in ("time", "seconds_per_step")}
        for event in read_events(run)
        if event["event"] in ("train", "validation")
    ]
    return state, scalars


SETTINGS = (
    "training.epochs=2",
    "training.samples_every=0.5",
    "training.checkpoint_every=0.25",
    "validation.every=0.5",
    "data.size=64",
    "data.load_size=66",
    "generator.depth=6",  # the least that has dropout
    "training.ema=0.9",
    "objective.instance_noise=0.05",
)


def test_stopped_and_resumed_equals_uninterrupted(pairs: Path, tmp_path: Path) -> None:
    settings = (*SETTINGS, f"data.root={str(pairs)!r}")
    cache = tmp_path / "cache"
    train(small(*settings), out=tmp_path / "whole", cache_folder=cache)
    # 24 steps in all; stopped in the middle of each epoch and between them.
    for steps in (5, 12, 17):
        train(
            small(*settings, f"training.steps={steps}"),
            out=tmp_path / "parts",
            resume=True,
            allow=("training.steps",),
            cache_folder=cache,
        )
        assert read_state(newest(tmp_path / "parts"))["step"] == steps  # type: ignore[arg-type]
    train(
        small(*settings),
        out=tmp_path / "parts",
        resume=True,
        allow=("training.steps",),
        cache_folder=cache,
    )
    whole, scalars = outcome(tmp_path / "whole")
    parts, others = outcome(tmp_path / "parts")
    assert whole["step"] == 24
    # Stopping early validates at its end, so that the parts may know a better step of their own.
    for key in ("best",):
        whole.pop(key), parts.pop(key)
    assert equal(whole, parts)
    kept = {json.dumps(event) for event in others}
    assert all(json.dumps(event) in kept for event in scalars)


def test_a_run_is_not_overwritten_unasked(pairs: Path, tmp_path: Path) -> None:
    config = small(f"data.root={str(pairs)!r}", "training.steps=1")
    train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    before = outcome(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"already holds a run.*--resume"):
        train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    assert equal(before, outcome(tmp_path / "run"))
    other = tmp_path / "photos"
    other.mkdir()
    (other / "holiday.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="holds other files"):
        train(config, out=other, cache_folder=tmp_path / "cache")
    assert [p.name for p in other.iterdir()] == ["holiday.txt"]


def test_resuming_before_the_first_checkpoint_starts(pairs: Path, tmp_path: Path) -> None:
    config = small(f"data.root={str(pairs)!r}", "training.steps=2")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("preset: half-writ")
    state = train(config, out=run, resume=True, cache_folder=tmp_path / "cache")
    assert state.step == 2
    assert read_config(run / "config.yaml").training.steps == 2


def test_other_settings_are_refused_by_name_unless_allowed(pairs: Path, tmp_path: Path) -> None:
    config = small(f"data.root={str(pairs)!r}", "training.steps=2")
    run, cache = tmp_path / "run", tmp_path / "cache"
    train(config, out=run, cache_folder=cache)
    changed = with_overrides(config, ["training.lr=1e-3", "objective.l1=10", "training.steps=3"])
    with pytest.raises(ConfigError) as caught:
        train(changed, out=run, resume=True, allow=("training.steps",), cache_folder=cache)
    for word in ("training.lr was 0.0002 and is 0.001", "objective.l1", "--allow training.lr"):
        assert word in str(caught.value)
    assert "training.steps" not in str(caught.value)
    allow = ("training", "objective.l1")
    state = train(changed, out=run, resume=True, allow=allow, cache_folder=cache)
    assert state.step == 3
    resumed = [event for event in read_events(run) if event["event"] == "resume"]
    assert resumed[0]["changed"]["objective.l1"] == [100.0, 10.0]
    harmless = with_overrides(changed, ["training.workers=1", "training.log_every=7"])
    assert train(harmless, out=run, resume=True, cache_folder=cache).step == 3


def test_other_data_are_refused_unless_allowed(pairs: Path, tmp_path: Path) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(pairs, data)
    config = small(f"data.root={str(data)!r}", "training.steps=2")
    run, cache = tmp_path / "run", tmp_path / "cache"
    train(config, out=run, cache_folder=cache)
    (data / "train" / "3.png").unlink()
    more = with_overrides(config, ["training.steps=3"])
    with pytest.raises(ConfigError, match="12 then, 11 now"):
        train(more, out=run, resume=True, allow=("training.steps",), cache_folder=cache)
    allow = ("training.steps", "data")
    assert train(more, out=run, resume=True, allow=allow, cache_folder=cache).step == 3


def test_numbers_that_are_not_finite_stop_the_run(pairs: Path, tmp_path: Path) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    settings = (f"data.root={str(pairs)!r}", "training.checkpoint_every=0.1")
    train(small(*settings, "training.steps=3"), out=run, cache_folder=cache)
    good = outcome(run)[0]
    with pytest.raises(TrainingError, match=r"nan|inf|not finite"):
        train(
            small(*settings, "training.lr=1e30", "training.steps=9"),
            out=run,
            resume=True,
            allow=("training",),
            cache_folder=cache,
        )
    last = outcome(run)[0]
    assert last["step"] >= good["step"]
    for path in checkpoint_folder(run, "newest").glob("generator.safetensors"):
        from safetensors.torch import load_file

        assert all(torch.isfinite(value).all() for value in load_file(path).values())
    assert read_events(run)[-1]["event"] == "stopped"


def test_the_best_checkpoint_is_the_one_with_the_best_figure(pairs: Path, tmp_path: Path) -> None:
    config = small(
        f"data.root={str(pairs)!r}",
        "training.epochs=3",
        "training.lr=5e-3",
        "validation.every=0.25",
        "validation.metrics=[l1, ssim]",
        "validation.best=ssim",
    )
    run = tmp_path / "run"
    train(config, out=run, cache_folder=tmp_path / "cache")
    events = [event for event in read_events(run) if event["event"] == "validation"]
    assert len(events) == 12
    best = max(events, key=lambda event: event["ssim"])
    assert checkpoint_folder(run, "best").name == f"{best['step']:08d}"
    assert json.loads((run / "checkpoints" / "best.json").read_text())["value"] == best["ssim"]


def test_the_log_forgets_what_will_be_done_again(tmp_path: Path) -> None:
    log = JsonLog(tmp_path)
    log("start", {})
    for step in range(1, 6):
        log("train", {"step": step, "g/l1": float("nan") if step == 2 else 0.5})
    log.close()
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'7\n{"event": "train", "note": "\xc3')  # torn within a letter
    forget_after(tmp_path, 3)
    events = read_events(tmp_path)
    assert [event.get("step") for event in events] == [None, 1, 2, 3]
    assert events[2]["g/l1"] == "nan"


def test_too_few_pairs_for_a_batch_are_an_error(pairs: Path, tmp_path: Path) -> None:
    from limner.errors import DataError

    config = small(f"data.root={str(pairs)!r}", "training.batch_size=8", "training.accumulate=2")
    with pytest.raises(DataError, match=r"12 training pairs .* 16"):
        train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    assert not (tmp_path / "run").exists()
