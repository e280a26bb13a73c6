"""Cells: trained, measured on their way and at the end, skipped when done, refused when changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_cells import carry_out, tiny_plan, tiny_task

from limner.errors import CheckpointError, ConfigError
from limner.experiments.cell import Stage, is_done, measured, steps_done, train_and_measure
from limner.experiments.epochs import read_times
from limner.experiments.planning import Plan
from limner.experiments.record import open_record, read_record
from limner.experiments.running import run_cells
from limner.files import TEMPORARY, read_events


@pytest.fixture(scope="module")
def early(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    """The table base, measured at 1 and at 8 steps."""
    out = tmp_path_factory.mktemp("early")
    plan = tiny_plan("base", drawn, {"training.epochs": 1})
    carry_out(plan, out)
    return plan, out


def values(run: Path, folder: str) -> dict:
    found = json.loads((run / "evaluation" / folder / "results.json").read_text())
    return {"step": int(found["checkpoint"]), **found["scores"]["values"]}


def test_a_training_is_measured_on_its_way_and_at_its_end(
    early: tuple[Plan, Path], drawn: Path, tmp_path: Path
) -> None:
    plan, out = early
    (job,) = plan.jobs()
    run = job.folder(out)
    assert [m.step for m in job.plan.measurements] == [1, 8]
    first, last = (values(run, m.folder("test")) for m in job.plan.measurements)
    assert (first["step"], last["step"]) == (1, 8)
    assert first["l1"] != last["l1"]
    # The way there is the shorter training: a run of one step by itself gives the same figures.
    short = tiny_plan("base", drawn, {"training.epochs": 1})
    task = tiny_task(short.jobs()[0], short, tmp_path)
    task.config["training"]["steps"] = 1
    train_and_measure(replace(task, stages=(Stage(1, "test"),)))
    assert values(Path(task.run), "test") == first
    # And the end is that of a training that was not interrupted for it.
    task = tiny_task(short.jobs()[0], short, tmp_path / "whole")
    train_and_measure(replace(task, stages=task.stages[-1:]))
    assert values(Path(task.run), "test") == last


def test_what_is_done_is_known_by_step_split_metrics_and_settings(
    early: tuple[Plan, Path], drawn: Path
) -> None:
    plan, out = early
    (job,) = plan.jobs()
    assert is_done(tiny_task(job, plan, out))
    assert steps_done(job.folder(out)) == 8
    longer = tiny_plan("base", drawn, {"training.epochs": 2})
    assert not is_done(tiny_task(longer.jobs()[0], longer, out))
    other = tiny_plan("base", drawn, {"training.epochs": 1, "training.lr": 1e-3})
    assert not is_done(tiny_task(other.jobs()[0], other, out))
    last, run = tiny_task(job, plan, out).stages[-1], job.folder(out)
    assert measured(run, last, split="test", metrics=("l1", "ssim")) is not None
    assert measured(run, last, split="test", metrics=("l1", "lpips")) is None
    assert measured(run, last, split="val", metrics=("l1",)) is None


def test_finished_cells_are_not_touched(
    early: tuple[Plan, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = early
    monkeypatch.setattr(
        "limner.experiments.workers.run_process", lambda *_, **__: pytest.fail("a process began")
    )
    before = {path: path.stat().st_mtime_ns for path in out.rglob("cells/**/*") if path.is_file()}
    left = out / f"{TEMPORARY}of-a-kill"  # by a process that was writing the record
    left.write_text("{")
    run_cells(plan, out=out)
    assert not left.exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read_events(out)[-1]["done"] == 1


def test_a_changed_definition_is_refused_by_name(early: tuple[Plan, Path], drawn: Path) -> None:
    _, out = early
    with pytest.raises(ConfigError, match=r"cell base .*training\.lr was 0\.0002 and is 0\.001"):
        open_record(out, tiny_plan("base", drawn, {"training.epochs": 1, "training.lr": 1e-3}))
    with pytest.raises(ConfigError, match="holds the experiment 'base' and this is 'losses'"):
        open_record(out, tiny_plan("losses", drawn, {"training.epochs": 1}))
    # What changes no figure may differ, and seeds may be added.
    harmless = tiny_plan("base", drawn, {"training.epochs": 1, "training.log_every": 7}, seeds=3)
    assert open_record(out, harmless)["seeds"] == [0, 1, 2]
    assert open_record(out, tiny_plan("base", drawn, {"training.epochs": 1}))["seeds"] == [0, 1, 2]


def test_fewer_metrics_and_other_pairs_are_refused(
    early: tuple[Plan, Path], drawn: Path, tmp_path: Path
) -> None:
    plan, out = early
    record = read_record(out)
    (tmp_path / "experiment.json").write_text(
        json.dumps(record | {"metrics": ["l1", "ssim", "fid"]})
    )
    with pytest.raises(ConfigError, match="measured by fid too: give --weights"):
        open_record(tmp_path, plan)
    (tmp_path / "experiment.json").write_text(
        json.dumps(record | {"pairs": {"pairs": 3, "sha256": "0"}})
    )
    with pytest.raises(ConfigError, match=r"other training pairs \(3 then, 8 now"):
        open_record(tmp_path, plan)


def test_a_folder_of_other_things_is_refused(early: tuple[Plan, Path], tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds other files"):
        run_cells(early[0], out=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        run_cells(early[0], out=tmp_path / "file")


def test_settings_that_the_cells_differ_in_cannot_be_set_for_all(drawn: Path) -> None:
    with pytest.raises(ConfigError, match=r"would undo what cell cGAN is about"):
        tiny_plan("losses", drawn, {"objective.l1": 10})
    with pytest.raises(ConfigError, match="would undo what cell L1 is about"):
        tiny_plan("losses", drawn, {"discriminators": []})
    with pytest.raises(ConfigError, match="say --seeds"):
        tiny_plan("losses", drawn, {"seed": 4})
    with pytest.raises(ConfigError, match="no cell has so many discriminators"):
        tiny_plan("losses", drawn, {"discriminators.1.width": 4})


def test_a_way_that_depends_on_the_length_stands_for_no_shorter_training(drawn: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.schedule=linear depends on the length"):
        tiny_plan("base", drawn, {"training.schedule": "linear"})
    with pytest.raises(ConfigError, match=r"steps are too few .* raise training\.epochs"):
        tiny_plan("base", drawn, {"training.steps": 1})


def test_seeds_come_one_after_the_other(drawn: Path) -> None:
    plan = tiny_plan("losses", drawn, seeds=2)
    names = [(job.plan.cell.name, job.seed) for job in plan.jobs()]
    assert names[:5] == [(name, 0) for name in ("L1", "cGAN", "L1+cGAN", "GAN", "L1+GAN")]
    assert names[5:] == [(name, 1) for name, _ in names[:5]]
    assert [job.name for job in plan.jobs(["GAN"])] == ["GAN, seed 0", "GAN, seed 1"]
    with pytest.raises(ConfigError, match="unknown cell 'gan': known are L1, cGAN"):
        plan.jobs(["gan"])


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"split": "../../elsewhere"}, "split"),
        ({"seeds": [-1]}, "seeds"),
        ({"metrics": ["l1", "beauty"]}, "metrics"),
        ({"cells": {}}, "cells"),
        ({"direction": "sideways"}, "direction"),
        ({"pairs": None}, "pairs"),
        (None, "all of it"),
    ],
)
def test_a_damaged_record_is_refused_by_its_key(
    early: tuple[Plan, Path], tmp_path: Path, change: dict | None, key: str
) -> None:
    record = read_record(early[1])
    text = json.dumps([] if change is None else record | change)
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(CheckpointError, match=key) as refused:
        read_record(tmp_path)
    assert str(tmp_path / "experiment.json") in str(refused.value)


def test_a_record_whose_cells_leave_their_folder_or_lack_sound_settings_is_refused(
    early: tuple[Plan, Path], tmp_path: Path
) -> None:
    record = read_record(early[1])
    cell = record["cells"]["base"]
    wrong = {"training": {**cell["config"]["training"], "lr": -1}}
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps(record | {"cells": {"../base": cell}}))
    with pytest.raises(CheckpointError, match=r"\.\./base"):
        read_record(tmp_path)
    damaged = {**cell, "config": cell["config"] | wrong}
    path.write_text(json.dumps(record | {"cells": {"base": damaged}}))
    with pytest.raises(CheckpointError, match=r"training\.lr"):
        read_record(tmp_path)
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"experiment\.json"):
        read_record(tmp_path)


@pytest.mark.parametrize("damage", ["NaN", "Infinity", '"0.1"', "null"])
def test_figures_that_are_no_numbers_are_not_results(
    early: tuple[Plan, Path], tmp_path: Path, damage: str
) -> None:
    plan, out = early
    task = tiny_task(plan.jobs()[0], plan, out)
    folder = tmp_path / "evaluation" / "test"
    folder.mkdir(parents=True)
    source = json.loads((Path(task.run) / "evaluation/test/results.json").read_text())
    stage, wanted = task.stages[-1], {"split": "test", "metrics": ("l1",)}
    (folder / "results.json").write_text(json.dumps(source))
    assert measured(tmp_path, stage, **wanted) is not None
    source["scores"]["values"]["l1"] = json.loads(damage)
    (folder / "results.json").write_text(json.dumps(source))
    assert measured(tmp_path, stage, **wanted) is None


def test_times_that_are_damaged_are_taken_anew(tmp_path: Path) -> None:
    assert read_times(tmp_path) is None
    for text in ("", "[]", '{"cells": {"base": {}}}', '{"cells": 3}'):
        (tmp_path / "times.json").write_text(text)
        assert read_times(tmp_path) is None
