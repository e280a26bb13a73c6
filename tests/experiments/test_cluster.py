"""A dask scheduler and two workers on the loopback; one is killed in the middle of a cell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import alive, once, parent_of, wait_for
from small_cells import carry_out, tiny_changes, tiny_task

from limner.errors import ConfigError
from limner.experiments.cell import measured, steps_done
from limner.experiments.planning import Plan, open_experiment
from limner.experiments.running import run_cells
from limner.experiments.workers import ClusterWorkers, Stopped
from limner.files import read_events

Client = pytest.importorskip("distributed").Client

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


def figures(plan: Plan, out: Path) -> dict[str, dict]:
    results = {}
    for job in plan.jobs():
        (stage,) = tiny_task(job, plan, out).stages
        found = measured(job.folder(out), stage, split=plan.split, metrics=plan.metrics)
        results[job.name] = found and found["scores"]["per_image"]
    return results


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The file that a scheduler with two workers wrote."""
    file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    place = ["--host", "127.0.0.1", "--scheduler-file", str(file), "--no-dashboard"]
    dask = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen([*dask, "scheduler", *place, "--port", "0"], **quiet)
    wait_for(file.exists)
    each = ["--nworkers", "2", "--nthreads", "1", "--local-directory", str(tmp_path / "scratch")]
    workers = subprocess.Popen([*dask, "worker", *place, *each], **quiet)
    with Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(2)
    yield str(file)
    for process in (workers, scheduler):
        process.terminate()
        process.wait()


def begun(out: Path, cell: str) -> list[dict]:
    return [e for e in read_events(out) if e["event"] == "cell-started" and e["cell"] == cell]


@pytest.mark.slow
def test_a_worker_that_dies_in_the_middle_of_a_cell_is_replaced(
    scheduler: str, drawn: Path, tmp_path: Path
) -> None:
    plan, out = planned(drawn, tmp_path), tmp_path / "out"
    add = plan.jobs()[0].folder(out)
    killed: list[int] = []

    def kill_its_worker() -> None:
        child = begun(out, "add")[0]["pid"]
        killed.append(child)
        os.kill(parent_of(child), signal.SIGKILL)

    killer = once(lambda: steps_done(add) > 16, kill_its_worker)
    run_cells(plan, out=out, cluster=scheduler)
    killer.join()
    first, second = begun(out, "add")
    assert first["from_step"] == 0
    assert 0 < second["from_step"] < 96
    assert [one["from_step"] for one in begun(out, "soft")] == [0]
    assert not alive(killed[0])
    assert [e["event"] for e in read_events(out)].count("cell-done") == 2
    carry_out(plan, tmp_path / "whole")
    assert figures(plan, out) == figures(plan, tmp_path / "whole")
    assert None not in figures(plan, out).values()


@pytest.mark.slow
def test_a_signal_and_the_death_of_the_client_end_what_its_workers_do(
    scheduler: str, drawn: Path, tmp_path: Path
) -> None:
    plan, out = planned(drawn, tmp_path), tmp_path / "out"
    runs = [job.folder(out) for job in plan.jobs()]
    command = ["experiment", str(tmp_path / "grid.yaml"), str(drawn), "--out", str(out)]
    for key, value in tiny_changes(2).items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    client = subprocess.Popen(
        [sys.executable, "-m", "limner", *command, "--cluster", scheduler],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: all(steps_done(run) > 8 for run in runs))
    client.kill()
    client.wait()
    pids = [e["pid"] for e in read_events(out) if e["event"] == "cell-started"]
    wait_for(lambda: not any(alive(pid) for pid in pids))
    reached = [steps_done(run) for run in runs]
    assert all(8 < step < 96 for step in reached)
    # Nothing was cut off: the workers asked for a checkpoint.
    assert all(read_events(run)[-1]["event"] == "interrupted" for run in runs)

    killer = once(
        lambda: all(steps_done(run) > step + 8 for run, step in zip(runs, reached, strict=True)),
        lambda: os.kill(os.getpid(), signal.SIGINT),
    )
    with pytest.raises(Stopped) as stopped:
        run_cells(plan, out=out, cluster=scheduler)
    killer.join()
    assert stopped.value.exit_code == 130
    assert all(read_events(run)[-1]["event"] == "interrupted" for run in runs)
    assert read_events(out)[-1]["event"] == "interrupted"


@pytest.mark.slow
def test_a_cluster_that_cannot_serve_is_refused_before_any_work(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        ClusterWorkers(scheduler, device="cpu", shared=[tmp_path / "nowhere"])
    monkeypatch.setattr("limner.experiments.workers.__version__", "0.0.0")
    with pytest.raises(ConfigError, match=r"0\.0\.0"):
        ClusterWorkers(scheduler, device="cpu", shared=[tmp_path])
    monkeypatch.setattr("limner.experiments.workers.ANSWER", 0.5)
    with pytest.raises(ConfigError, match="--cluster"):
        ClusterWorkers("tcp://127.0.0.1:9", device="cpu", shared=[])
    with pytest.raises(ConfigError, match="--cluster"):
        ClusterWorkers(str(tmp_path / "none.json"), device="cpu", shared=[])


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"limner\[cluster\]"):
        ClusterWorkers("tcp://127.0.0.1:8786", device="cpu", shared=[])
