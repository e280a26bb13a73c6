"""Checkpoints that are read while a training removes them, and that are not what was written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import batch, objective_of, small
from tiny_runs import draw_data, make_run

from limner.api import train
from limner.errors import CheckpointError
from limner.evaluation.evaluate import evaluate
from limner.export import export_run
from limner.inference import Translator
from limner.reporting.run_page import write_report
from limner.run import CHECKSUMS, checkpoint_folder, newest, read_checkpoint
from limner.training.checkpoint import load_checkpoint, read_state, save_checkpoint
from limner.training.state import build_state
from limner.training.step import training_step

PRUNING = """
import json, shutil, sys
from pathlib import Path
from limner.files import write_text
from limner.training.checkpoint import prune

run = Path(sys.argv[1])
root = run / "checkpoints"
first = next(root.glob("0*"))
kept = root.parent / "kept"
shutil.copytree(first, kept)
print("begun", flush=True)
step = 0
while not (run / "enough").exists():
    step += 1
    shutil.copytree(kept, root / ".next")
    (root / ".next").rename(root / f"{step:08d}")
    write_text(root / "best.json", json.dumps({"metric": "l1", "value": 1.0, "step": step}))
    prune(run, keep={step})
"""


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run whose only checkpoint is another one all the time, as a training leaves it."""
    run = make_run(tmp_path_factory.mktemp("pruned") / "run")
    writer = subprocess.Popen(
        [sys.executable, "-c", PRUNING, str(run)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "begun\n"
    yield run
    assert writer.poll() is None, "the writer must have worked all the time"
    (run / "enough").write_text("")
    assert writer.wait() == 0
    writer.stdout.close()


@pytest.mark.parametrize("which", ["best", "newest"])
def test_a_run_is_loaded_while_its_checkpoints_are_pruned(pruned: Path, which: str) -> None:
    seen = {Translator.load(pruned, checkpoint=which).checkpoint for _ in range(25)}
    assert len(seen) > 2  # they were replaced meanwhile


def test_a_run_is_measured_exported_and_told_while_its_checkpoints_are_pruned(
    pruned: Path, tmp_path: Path
) -> None:
    data = draw_data(tmp_path / "data", test=2)
    for number in range(2):
        found = evaluate(pruned, data, metrics=["l1"], split="test", progress=None)
        assert found.provenance["generator"]["file"].endswith(".safetensors")
        export_run(pruned, out=tmp_path / f"{number}.pt", form="torchscript")
        write_report(pruned)


def test_what_is_removed_for_good_is_not_looked_for_for_ever(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")

    tries = []

    def counted(folder: Path) -> None:
        tries.append(folder.name)
        (folder.rename(folder.with_name(f"{int(folder.name) + 1:08d}")) / "x").touch()
        raise CheckpointError("is missing")

    with pytest.raises(CheckpointError, match="faster"):
        read_checkpoint(run, "newest", counted)
    assert 10 < len(tries) < 1000
    with pytest.raises(CheckpointError, match="is missing"):
        read_checkpoint(run, "newest", in_place)


def in_place(folder: Path) -> None:
    raise CheckpointError("is missing")


def test_a_best_of_which_nothing_is_left_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = run / "checkpoints" / "best.json"
    path.write_text(json.dumps({"metric": "l1", "value": 1.0, "step": 9}))
    with pytest.raises(CheckpointError, match=r"best\.json"):
        Translator.load(run)
    path.unlink()  # the sentence's cure
    assert Translator.load(run).checkpoint == "00000000"


@pytest.fixture
def two(pairs: Path, tmp_path: Path) -> Path:
    """A run with checkpoints of steps 2 and 4, of which 2 is the best."""
    run = tmp_path / "run"
    config = small(f"data.root={str(pairs)!r}", "training.epochs=2", "training.ema=0.9")
    state = train(
        config.model_copy(update={"training": config.training.model_copy(update={"steps": 2})}),
        out=run,
        cache_folder=tmp_path / "cache",
    )
    state.best = {"metric": "l1", "value": 0.1, "step": 2}
    for number in (2, 3):
        training_step(state, batch(1, seed=number), objective_of(state))
    save_checkpoint(state, run)
    return run


def flip(path: Path, *, at: float) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["generator.safetensors", "discriminator_0.safetensors",
                                  "generator_ema.safetensors", "state.pt"])  # fmt: skip
@pytest.mark.parametrize("at", [0.3, 0.99])
def test_a_flipped_bit_is_named_with_the_checkpoint_to_take(
    fabric, two: Path, pairs: Path, tmp_path: Path, name: str, at: float
) -> None:
    folder = newest(two)
    assert folder is not None
    flip(folder / name, at=at)
    config = small(
        f"data.root={str(pairs)!r}", "training.epochs=2", "training.ema=0.9", "training.steps=5"
    )
    again = {"out": two, "resume": True, "allow": ("training.steps",)}
    with pytest.raises(CheckpointError) as caught:
        train(config, **again, cache_folder=tmp_path / "cache")
    sentence = str(caught.value)
    assert str(folder / name) in sentence
    assert "step 2" in sentence
    assert f"remove {folder}" in sentence
    shutil.rmtree(folder)  # the sentence's cure
    assert train(config, **again, cache_folder=tmp_path / "cache").step == 5


def test_a_checkpoint_that_is_damaged_too_is_not_recommended(two: Path, fabric) -> None:
    folder, other = checkpoint_folder(two, "4"), checkpoint_folder(two, "2")
    flip(folder / "generator_ema.safetensors", at=0.9)
    with pytest.raises(CheckpointError, match="--checkpoint 2"):
        Translator.load(two, checkpoint="newest")
    Translator.load(two, checkpoint="2")
    flip(other / "state.pt", at=0.9)
    with pytest.raises(CheckpointError) as caught:
        Translator.load(two, checkpoint="newest")
    assert "--checkpoint" not in str(caught.value)


def test_an_average_that_was_lost_is_not_replaced_in_silence(two: Path) -> None:
    (checkpoint_folder(two, "4") / "generator_ema.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"generator_ema\.safetensors is missing"):
        Translator.load(two, checkpoint="4")


def test_checkpoints_of_before_have_no_checksums_and_load(fabric, tmp_path: Path) -> None:
    state = build_state(small(), fabric)
    training_step(state, batch(1), objective_of(state))
    folder = save_checkpoint(state, tmp_path)
    assert folder is not None
    (folder / CHECKSUMS).unlink()
    other = build_state(small(), fabric)
    load_checkpoint(other, folder)
    assert other.step == 1


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_checksums_that_are_none_are_refused(fabric, tmp_path: Path, text: str) -> None:
    folder = save_checkpoint(build_state(small(), fabric), tmp_path)
    assert folder is not None
    (folder / CHECKSUMS).write_text(text)
    with pytest.raises(CheckpointError, match=CHECKSUMS):
        read_state(folder)


def test_several_threads_read_at_once(pruned: Path) -> None:
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(6):
                Translator.load(pruned)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert failures == []
