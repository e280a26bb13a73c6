"""Refuse what a command asks of the disk from a chosen moment on, and see what it says and leaves.

Usage: refusing_disk.py START FOLDER COMMAND REASON MOMENTS [WORDS ...]

START is a folder with what the command needs, WORDS the command with its arguments relative to it;
REASON a name of `errno`; MOMENTS how many are tried, spread over all that the command asks for.
Prints one JSON object a line: how many times the whole command asks, then what came of each
refusal. One process imports everything and forks for each, which is quick.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

CHANGES = {"os.rename", "os.mkdir", "os.link", "os.truncate"}  # what is removed needs no room
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def run(words: list[str], home: Path, *, since: int | None, reason: int, said: Path) -> int:
    """Run a command in a forked process; return how it ended.

    From the question of number `since` on, the disk answers with `reason` whatever is asked of it
    below `home`. `said` takes what was said, and on its first line the number of questions.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    count, text = 0, io.StringIO()

    def ask(path: object) -> None:
        nonlocal count
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if home in Path(os.fsdecode(path)).absolute().parents:
            count += 1
            if since is not None and count >= since:
                raise OSError(reason, os.strerror(reason), os.fsdecode(path))

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in CHANGES or (event == "open" and int(str(arguments[2])) & WRITES):
            ask(arguments[0])

    def fsync(handle: int) -> None:
        nonlocal count
        count += 1
        if since is not None and count >= since:
            raise OSError(reason, os.strerror(reason))

    status = 99
    try:
        os.environ["XDG_CACHE_HOME"] = f"{home}-cache"
        os.chdir(home)
        sys.addaudithook(hook)
        os.fsync = fsync  # pyright: ignore[reportAttributeAccessIssue]
        from limner.cli import main

        with redirect_stderr(text), redirect_stdout(text):
            status = main(words)
    finally:
        since = None
        said.write_text(f"{count}\n{text.getvalue()}")
        os._exit(status)


def contents(home: Path) -> dict[str, str]:
    """Return a hash of every file, by its path."""
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def main() -> None:
    start, folder, reason = Path(sys.argv[1]), Path(sys.argv[2]), getattr(errno, sys.argv[3])
    moments, words = int(sys.argv[4]), sys.argv[5:]
    import torch

    import limner.checks.checking
    import limner.evaluation.evaluate
    import limner.export
    import limner.training  # noqa: F401

    # Others would wait longer for what a training imports than their forks save.
    if words[0] in ("demo", "train", "experiment"):
        import everything  # noqa: F401
    torch.set_num_threads(1)

    from limner.cli import demo

    for name in ("TRAIN", "VAL", "TEST"):
        setattr(demo, name, 2)
    demo.SETTINGS = json.loads(os.environ["TINY"])
    said, before = folder / "said.txt", contents(start)
    shutil.copytree(start, folder / "whole")
    status = run(words, folder / "whole", since=None, reason=reason, said=said)
    count, _, text = said.read_text().partition("\n")
    if status:
        sys.exit(f"it failed by itself ({status}): {text}")
    questions = int(count)
    print(json.dumps({"questions": questions}), flush=True)
    # The last is whether the folder's own entry is on the disk, which not every disk can say.
    last = questions - 1
    for moment in sorted({1 + k * (last - 1) // max(1, moments - 1) for k in range(moments)}):
        home = folder / f"refused-{moment}"
        shutil.copytree(start, home)
        status = run(words, home, since=moment, reason=reason, said=said)
        after = contents(home)
        result = {
            "moment": moment,
            "status": status,
            "said": said.read_text().partition("\n")[2],
            "left": [name for name in after if ".limner-" in name]
            + [str(path.relative_to(home)) for path in home.rglob(".limner-*")],
            "lost": [name for name in before if name not in after],
            "changed": [name for name in before if after.get(name, before[name]) != before[name]],
        }
        print(json.dumps(result), flush=True)
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
