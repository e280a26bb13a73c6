"""Run command lines in forks of one process, each in a folder of its own: all is imported once.

Usage: forked_commands.py JOBS

JOBS is a JSON list of pairs, a folder and the words of a command. Prints one JSON object a line:
`status`, and what was `said` on standard error.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch

import limner.evaluation.evaluate
import limner.export
import limner.training  # noqa: F401
from limner.cli import main


def run(folder: Path, words: list[str], said: Path) -> int:
    """Run a command in a forked process; return its status, or minus the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status, text = 70, io.StringIO()
    try:
        os.chdir(folder)
        with redirect_stderr(text), redirect_stdout(io.StringIO()):
            status = main(words)
    finally:
        said.write_text(text.getvalue())
        os._exit(status)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for place, line in json.loads(sys.argv[1]):
        words_said = Path(place).with_name(f"{Path(place).name}.said")
        ended = run(Path(place), line, words_said)
        print(json.dumps({"status": ended, "said": words_said.read_text()}), flush=True)
