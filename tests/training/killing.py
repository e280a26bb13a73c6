"""Trains in forked processes that are killed at random moments; prints what was seen as JSON.

A moment is a number of lines in the log and a part of a step, not a time since the start: how busy
the machine is decides nothing.

A program of its own, since forking is safe only where no thread has worked yet. Usage:
killing.py DATA FOLDER KILLS SEED
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "helpers"))

import everything  # noqa: F401
from test_checkpoint import equal
from test_resume import outcome
from tiny import small

from limner.api import train
from limner.files import read_events
from limner.run import checkpoint_folder, newest


def in_a_fork(data: Path, run: Path) -> int:
    """Start a training that goes on wherever the run stands; return its process."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        config = small(
            f"data.root={str(data)!r}",
            "training.epochs=3",
            "training.checkpoint_every=0.25",
            "training.samples_every=1",
            "validation.every=1",
            "training.ema=0.9",
            "data.size=64",
            "data.load_size=66",
            "generator.depth=6",
        )
        train(config, out=run, resume=True, cache_folder=run.parent / "cache")
        status = 0
    finally:
        os._exit(status)


def ended(process: int) -> bool:
    """Whether a child has ended, which may be left to be waited for."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process, flags) is not None


def main() -> None:
    """Compare one uninterrupted run with one killed again and again."""
    data, folder = Path(sys.argv[1]), Path(sys.argv[2])
    kills, rng = int(sys.argv[3]), random.Random(int(sys.argv[4]))
    assert os.waitpid(in_a_fork(data, folder / "whole"), 0)[1] == 0
    whole, scalars = outcome(folder / "whole")
    lines = len(read_events(folder / "whole"))
    seen = {"steps_at_kill": [], "different": []}
    for number in range(kills):
        run = folder / f"killed{number}"
        process = in_a_fork(data, run)
        # One moment from each part of the run, so that a few of them are spread over it.
        written = int(lines * (number + rng.random()) / kills)
        while len(read_events(run)) < written and not ended(process):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        at = newest(run)
        seen["steps_at_kill"].append(int(at.name) if at else None)
        assert os.waitpid(in_a_fork(data, run), 0)[1] == 0
        state, others = outcome(run)
        if not (equal(state, whole) and others == scalars):
            seen["different"].append(number)
        assert [p.name for p in (run / "checkpoints").glob(".*")] == []
        assert checkpoint_folder(run, "best").name == checkpoint_folder(folder / "whole").name
        shutil.rmtree(run)
    print(json.dumps(seen))


main()
