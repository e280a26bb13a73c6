"""kill -9 in the middle of a cell, twice, and Ctrl-C: the same table in the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from small_cells import carry_out, tiny_changes, tiny_task

from limner.experiments.cell import measured, steps_done
from limner.experiments.planning import Plan, open_experiment
from limner.experiments.running import FailedCellsError, run_cells
from limner.experiments.workers import Stopped
from limner.files import read_events

pytestmark = pytest.mark.slow

GRID = """
preset: study
set: {training.epochs: 12, training.checkpoint_every: 1, objective.weighting: adaptive}
cells:
  add: {generator.skips: add}
  soft: {objective.real_label: 0.9}
metrics: [l1, ssim]
"""


def planned(drawn: Path, folder: Path) -> Plan:
    (folder / "grid.yaml").write_text(GRID)
    return open_experiment(str(folder / "grid.yaml"), drawn, changes=tiny_changes(2))[0]


def table_of(plan: Plan, out: Path) -> dict:
    results = {
        (job.name, stage.step): measured(
            job.folder(out), stage, split=plan.split, metrics=plan.metrics
        )
        for job in plan.jobs()
        for stage in tiny_task(job, plan, out).stages
    }
    return {key: one and one["scores"]["per_image"] for key, one in results.items()}


def wait_for(condition) -> None:
    while not condition():
        time.sleep(0.02)


def test_killed_twice_in_the_middle_of_a_cell(drawn: Path, tmp_path: Path) -> None:
    plan, out = planned(drawn, tmp_path), tmp_path / "out"
    add, soft = (job.folder(out) for job in plan.jobs())
    words = [
        word
        for key, value in tiny_changes(2).items()
        for word in ("--set", f"{key}={json.dumps(value)}")
    ]
    command = ["experiment", str(tmp_path / "grid.yaml"), str(drawn), "--out", str(out), *words]
    parent = subprocess.Popen(
        [sys.executable, "-m", "limner", *command, "--jobs", "1"],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: steps_done(add) > 16)
    parent.kill()
    parent.wait()
    # Its child ends with it; else it would write into the run that is taken up again below.
    wait_for(lambda: not alive(read_events(out)[-1]["pid"]))
    assert 16 < steps_done(add) < 96

    def kill_the_second() -> None:
        wait_for(lambda: steps_done(soft) > 32)
        os.kill(read_events(out)[-1]["pid"], signal.SIGKILL)

    killer = threading.Thread(target=kill_the_second, daemon=True)
    killer.start()
    with pytest.raises(FailedCellsError, match=r"soft, seed 0: was ended by SIGKILL"):
        run_cells(plan, out=out, jobs=1)
    killer.join()
    assert 32 < steps_done(soft) < 96
    run_cells(plan, out=out, jobs=1)
    started = [e["from_step"] for e in read_events(out) if e["event"] == "cell-started"]
    assert started[0] == 0
    assert 0 < started[1] < 96
    assert 0 < started[3] < 96

    whole = tmp_path / "whole"
    carry_out(plan, whole)
    assert table_of(plan, out) == table_of(plan, whole)
    assert None not in table_of(plan, whole).values()


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_signal_writes_checkpoints_and_says_how_to_go_on(drawn: Path, tmp_path: Path) -> None:
    plan, out = planned(drawn, tmp_path), tmp_path / "out"
    runs = [job.folder(out) for job in plan.jobs(["soft"])]

    def interrupt() -> None:
        wait_for(lambda: all(steps_done(run) > 20 for run in runs))
        os.kill(os.getpid(), signal.SIGINT)

    killer = threading.Thread(target=interrupt, daemon=True)
    killer.start()
    with pytest.raises(Stopped, match="repeat the command to go on") as stopped:
        run_cells(plan, out=out, only=["soft"])
    killer.join()
    assert stopped.value.exit_code == 130
    for run in runs:
        last = read_events(run)[-1]
        assert last["event"] == "interrupted"
        assert (run / "checkpoints" / f"{last['step']:08d}" / "state.pt").is_file()
    assert read_events(out)[-1]["event"] == "interrupted"
    shutil.rmtree(out)
