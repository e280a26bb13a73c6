"""Kill a command at a chosen call that changes the disk, call it again, and see what is left.

Usage: killing_calls.py START FOLDER COMMAND KILLS

START is a folder with what the command needs; COMMAND a name in COMMANDS; KILLS how many moments
are drawn. Prints one JSON object a line: first how many such calls the whole command makes, then
what each kill left. One process imports everything and forks for each call, which is quick.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

TINY = {
    "data.size": 32,
    "data.load_size": 36,
    "generator.width": 4,
    "generator.depth": 3,
    "discriminators.0.layers": 1,
    "discriminators.0.width": 4,
    "training.workers": 0,
    "training.steps": 4,
    "training.checkpoint_every": 2,
    "training.samples_every": 1,
}
SETS = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
TRAIN = ["train", "data", "--out", "new", "--preset", "pix2pix-small", *SETS]
TRANSLATE = ["translate", "run", "data/test", "--side", "left", "--out", "new"]
EXPORT = ["export", "run", "--format", "torchscript", "--out", "new/run.pt"]
EXPERIMENT = ["experiment", "grid.yaml", "data", "--out", "new", "--jobs", "1", "--no-times"]
EVALUATE = ["evaluate", "run", "data", "--metrics", "l1"]
# What is killed, and what is called next.
COMMANDS = {
    "train": (TRAIN, [*TRAIN, "--resume"]),
    "translate": (TRANSLATE, [*TRANSLATE, "--overwrite"]),
    "evaluate": (EVALUATE, EVALUATE),
    "export": (EXPORT, [*EXPORT, "--overwrite"]),
    "experiment": (EXPERIMENT, EXPERIMENT),
}
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def forked(work: Callable[[], None], said: Path) -> int:
    """Do some work in a forked process; return how it ended: a status, or minus a signal."""
    child = os.fork()
    if child == 0:
        text = io.StringIO()
        try:
            with redirect_stderr(text), redirect_stdout(text):
                work()
        finally:
            said.write_text(text.getvalue())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(words: list[str], home: Path, *, kill_at: int | None, counted: Path | None = None) -> None:
    """Run a command; SIGKILL this process before its change of the disk of that number."""
    from limner.cli import main

    count, ours = 0, os.getpid()

    def change(*_: object) -> None:
        nonlocal count
        if os.getpid() == ours:
            count += 1
            if count == kill_at:
                os.kill(ours, signal.SIGKILL)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        # A file that is opened to write is two changes: that it is there, and what is in it.
        if event in CHANGES or (event == "open" and int(str(arguments[2])) & WRITES):
            change()

    os.environ["XDG_CACHE_HOME"] = f"{home}-cache"  # a full one would spare some changes
    os.chdir(home)
    sys.addaudithook(hook)
    written = os.fsync
    os.fsync = lambda handle: (change(), written(handle))[1]  # pyright: ignore
    status = main(words)
    if counted is not None:
        counted.write_text(str(count))
    if status:
        os._exit(status)


def results(home: Path) -> dict[str, str]:
    """Return a hash of each result that two runs must have alike: pictures, weights, figures."""
    kinds = {".png", ".safetensors"}
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.suffix in kinds
    }


def main() -> None:
    start, folder, command = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    import torch

    import limner.checks.checking
    import limner.evaluation.evaluate
    import limner.export
    import limner.training  # noqa: F401

    # Others would wait longer for what a training imports than their forks save.
    if command in ("train", "experiment"):
        import everything  # noqa: F401
    torch.set_num_threads(1)

    first, again = COMMANDS[command]
    whole, said = folder / "whole", folder / "said.txt"
    shutil.copytree(start, whole)
    counted = folder / "count.txt"
    status = forked(lambda: run(first, whole, kill_at=None, counted=counted), said)
    if status:
        sys.exit(f"{command} failed by itself ({status}): {said.read_text()}")
    expected = results(whole)
    calls = int(counted.read_text())
    print(json.dumps({"calls": calls}), flush=True)
    kills = min(int(sys.argv[4]), calls)
    for number in random.Random(kills).sample(range(1, calls + 1), kills):
        home = folder / f"killed-{number}"
        shutil.copytree(start, home)
        killed = forked(lambda h=home, n=number: run(first, h, kill_at=n), said)
        before = said.read_text() if killed >= 0 else ""
        status = forked(lambda h=home: run(again, h, kill_at=None), said)
        left = [str(p.relative_to(home)) for p in home.rglob(".limner-*")]
        found = results(home)
        print(
            json.dumps(
                {
                    "number": number,
                    "killed": killed,
                    "first": before[-2000:],
                    "status": status,
                    "said": said.read_text()[-2000:],
                    "left": left,
                    "different": sorted(
                        name
                        for name in expected.keys() | found.keys()
                        if expected.get(name) != found.get(name)
                    ),
                }
            ),
            flush=True,
        )
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
