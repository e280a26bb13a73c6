"""Signals, kills and several processes, with real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_checkpoint import equal
from test_resume import outcome
from tiny import SMALL

from limner.files import read_events

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def command(data: Path, run: Path, *settings: str) -> list[str]:
    sets = [word for setting in (*SMALL, *settings) for word in ("--set", setting)]
    return ["train", str(data), "--out", str(run), "--preset", "pix2pix-small", *sets]


def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_kill_minus_nine_at_random_moments(pairs: Path, tmp_path: Path) -> None:
    kills = 20 if os.environ.get("LIMNER_LONG") else 5
    done = subprocess.run(
        [sys.executable, str(HERE / "killing.py"), str(pairs), str(tmp_path), str(kills), "0"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["different"] == []
    # The moments were spread over the run: some before the first checkpoint or early, some late.
    steps = [step or 0 for step in seen["steps_at_kill"]]
    assert len(steps) == kills
    assert len(set(steps)) >= 3


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_a_checkpoint_and_says_how_to_go_on(
    signum: signal.Signals, status: int, pairs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # One worker process: the signal of a terminal reaches it too.
    words = command(pairs, run, "training.epochs=300", "training.workers=1")
    process = subprocess.Popen(
        [sys.executable, "-m", "limner", *words],
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while sum(event["event"] == "train" for event in read_events(run)) < 5:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    os.killpg(process.pid, signum)
    _, words_said = process.communicate()
    assert process.returncode == status
    assert "--resume" in words_said.splitlines()[-1]
    assert "Traceback" not in words_said
    stopped = outcome(run)[0]["step"]
    interrupted = read_events(run)[-1]
    assert interrupted["event"] == "interrupted"
    assert interrupted["signal"] == signum.name
    assert interrupted["step"] == stopped
    assert 5 <= stopped < 3600
    again = subprocess.run(
        [
            *(sys.executable, "-m", "limner", "train", str(pairs), "--out", str(run), "--resume"),
            *("--set", f"training.steps={stopped + 2}", "--allow", "training.steps"),
        ],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert outcome(run)[0]["step"] == stopped + 2
    assert (run / "report.html").exists()


def test_two_processes_equal_one_with_the_doubled_batch(pairs: Path, tmp_path: Path) -> None:
    # In double precision, without biases before norms (whose gradient is but rounding) and
    # without dropout (which each process draws for itself).
    settings = (
        "training.precision=64-true",
        "training.epochs=2",
        "generator.dropout=0",
        "generator.bias=false",
        "discriminators.0.bias=false",
        "data.flip=true",
    )
    two = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
            *("--master-port=0", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"),
            *(str(HERE / "ranks.py"), str(tmp_path / "ranks")),
            *command(pairs, tmp_path / "two", "training.batch_size=1", *settings),
        ],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert two.returncode == 0, two.stderr
    one = subprocess.run(
        [
            *(sys.executable, "-m", "limner"),
            *command(pairs, tmp_path / "one", "training.batch_size=2", *settings),
        ],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert one.returncode == 0, one.stderr
    from safetensors.torch import load_file

    ranks = [load_file(tmp_path / "ranks" / f"{rank}.safetensors") for rank in (0, 1)]
    assert equal(ranks[0], ranks[1])
    assert len(ranks[0]) > 10
    for name in ("generator", "discriminator_0"):
        path = Path("checkpoints") / "00000012" / f"{name}.safetensors"
        mine, theirs = load_file(tmp_path / "two" / path), load_file(tmp_path / "one" / path)
        for key, value in mine.items():
            assert float((value - theirs[key]).abs().max()) < 1e-6, key
    facts = read_events(tmp_path / "two")[0]
    assert facts["processes"] == 2
    # The log has the means over both processes, which are those of the whole batch.
    logs = [
        [event for event in read_events(tmp_path / run) if event["event"] == "train"]
        for run in ("two", "one")
    ]
    assert len(logs[0]) == len(logs[1]) > 0
    for mine, theirs in zip(*logs, strict=True):
        for key in ("g/l1", "g/gan", "d/real", "d/fake"):
            assert mine[key] == pytest.approx(theirs[key], abs=2e-6), (mine["step"], key)


@pytest.mark.parametrize("victim", [0, 1])
def test_the_survivor_of_a_killed_process_says_so(victim: int, pairs: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    run = tmp_path / "run"
    words = command(pairs, run, "training.epochs=3000", "training.checkpoint_every=0.25")
    processes = []
    for rank in ("0", "1"):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        place |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "limner", *words],
                env=environment(tmp_path) | place,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    while sum(event["event"] == "checkpoint" for event in read_events(run)) < 2:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    processes[victim].kill()
    _, said = processes[1 - victim].communicate()
    processes[victim].communicate()
    assert processes[1 - victim].returncode == 1
    assert said.splitlines()[-1].startswith("limner: another of the 2 processes")
    assert "Traceback" not in said
    again = subprocess.run(
        [
            *(sys.executable, "-m", "limner", "train", str(pairs), "--out", str(run), "--resume"),
            *("--set", "training.steps=1", "--allow", "training.steps"),
        ],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert any(e["event"] == "note" and "processes were 2" in e["text"] for e in read_events(run))


def test_more_devices_than_processes_are_answered_with_torchrun(
    pairs: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "limner", *command(pairs, tmp_path / "run")),
            *("--devices", "2"),
        ],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "torchrun --nproc-per-node=2" in done.stderr
    assert not (tmp_path / "run").exists()
