"""Runs command lines in two ranks each that one process forks: everything is imported once.

Usage: forked_ranks.py FOLDER COMMAND... [-- FOLDER COMMAND...]...

Each FOLDER takes the final weights of the ranks, as in ranks.py. The ranks meet as torchrun's do,
in a store that neither of them holds.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time
from itertools import groupby
from pathlib import Path

import torch.distributed as dist

sys.path.append(str(Path(__file__).resolve().parents[1] / "helpers"))

import everything  # noqa: F401

RANKS = 2


def store(port: Path) -> int:
    """Start the process in which ranks meet; it writes its port down."""
    process = os.fork()
    if process == 0:
        held = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        port.with_suffix(".new").write_text(str(held.port))
        port.with_suffix(".new").rename(port)
        signal.pause()
    while not port.exists():
        time.sleep(0.01)
    return process


def rank(number: int, port: int, words: list[str]) -> int:
    """Start a rank, which ends as any program does; return its process."""
    process = os.fork()
    if process == 0:
        os.environ |= {
            **{"RANK": str(number), "LOCAL_RANK": str(number), "GROUP_RANK": "0"},
            **{"WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS)},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            **{"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "tests"},
        }
        sys.argv[1:] = words
        runpy.run_path(str(Path(__file__).with_name("ranks.py")))
    return process


def run(words: list[str]) -> None:
    """Run one command line in its ranks."""
    folder = Path(words[0])
    folder.mkdir(exist_ok=True)
    port = folder / "port"
    port.unlink(missing_ok=True)
    holder = store(port)
    processes = [rank(number, int(port.read_text()), words) for number in range(RANKS)]
    ends = [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in processes]
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    if any(ends):
        sys.exit(f"the ranks of {words} ended with {ends}")


for between, given in groupby(sys.argv[1:], key="--".__eq__):
    if not between:
        run(list(given))
