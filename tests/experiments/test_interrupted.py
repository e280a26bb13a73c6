"""kill -9 in the middle of a cell, twice, and Ctrl-C: the same table in the end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from processes import alive, once, wait_for
from small_cells import begun, carry_out, command_of_two_cells, figures, two_cells

from limner.experiments.cell import steps_done
from limner.experiments.running import FailedCellsError, run_cells
from limner.experiments.workers import Stopped
from limner.files import read_events

pytestmark = pytest.mark.slow


def test_killed_twice_in_the_middle_of_a_cell(drawn: Path, tmp_path: Path) -> None:
    plan, out = two_cells(drawn, tmp_path, epochs=12), tmp_path / "out"
    add, soft = (job.folder(out) for job in plan.jobs())
    parent = subprocess.Popen(
        [*command_of_two_cells(drawn, tmp_path, out), "--jobs", "1"],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: steps_done(add) > 16 or parent.poll() is not None)
    wait_for(lambda: begun(out, "add") != [] or parent.poll() is not None)
    parent.kill()
    parent.wait()
    # Its child ends with it; else it would write into the run that is taken up again below.
    (first,) = begun(out, "add")
    wait_for(lambda: not alive(first["pid"]))
    assert 16 < steps_done(add) < 96

    killer = once(
        lambda: steps_done(soft) > 16 and begun(out, "soft") != [],
        lambda: os.kill(begun(out, "soft")[-1]["pid"], signal.SIGKILL),
    )
    with pytest.raises(FailedCellsError, match=r"soft, seed 0: .*SIGKILL"):
        run_cells(plan, out=out, jobs=1)
    killer.join()
    assert 16 < steps_done(soft) < 96
    run_cells(plan, out=out, jobs=1)
    started = [e["from_step"] for e in read_events(out) if e["event"] == "cell-started"]
    assert started[0] == 0
    assert 0 < started[1] < 96
    assert 0 < started[3] < 96

    whole = tmp_path / "whole"
    carry_out(plan, whole)
    assert figures(plan, out) == figures(plan, whole)


def test_a_signal_writes_checkpoints_and_says_how_to_go_on(drawn: Path, tmp_path: Path) -> None:
    # Without an end: however late the signal comes, it comes in the middle.
    plan, out = two_cells(drawn, tmp_path, epochs=3000), tmp_path / "out"
    (run,) = (job.folder(out) for job in plan.jobs(["soft"]))
    killer = once(lambda: steps_done(run) > 8, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped, match="repeat the command") as stopped:
        run_cells(plan, out=out, only=["soft"])
    killer.join()
    assert stopped.value.exit_code == 130
    last = read_events(run)[-1]
    assert last["event"] == "interrupted"
    assert (run / "checkpoints" / f"{last['step']:08d}" / "state.pt").is_file()
    assert read_events(out)[-1]["event"] == "interrupted"
