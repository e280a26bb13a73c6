"""A short training in a process of its own: what a run will take on this machine, measured.

The process is the one that the user would start, with its validation, sheets and checkpoint, so
that its largest resident set is that of the run; what it wrote is thrown away.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.config import Config, replace, to_yaml
from limner.errors import LimnerError, TrainingError
from limner.files import read_events, write_text

WARM = 2
"""Steps that are not timed: memory is taken and libraries choose their kernels in them."""
IMAGES = 4
"""Pairs of its validation, whose time is reckoned a pair."""


@dataclass(frozen=True)
class Probe:
    """What a short training took; seconds, and bytes of the process's largest resident set.

    Args:
        step: of a step, the median.
        sheet: of a sample sheet; None where the settings draw none.
        validated_pair: of a held-out pair, measured; None where nothing is validated.
        checkpoint: of writing one.
        checkpoint_bytes: on disk.
    """

    peak_bytes: int
    step: float
    sheet: float | None
    validated_pair: float | None
    checkpoint: float
    checkpoint_bytes: int


def take_steps(
    config: Config, *, steps: int, weights: Path | None = None, progress: Callable[[str], None]
) -> Probe:
    """Train for a few steps in a process of its own and return what it took.

    Args:
        config: settings with `data.root`, as the training would have them.
        steps: how many; the first `WARM` are not timed.
        weights: where the training looks for pretrained weights.
        progress: told what is being done.

    Raises:
        TrainingError: the training failed; the sentence is its own.
    """
    images = min(config.validation.images, IMAGES)
    changes = {"training.steps": steps, "training.log_every": 1, "validation.images": images}
    with tempfile.TemporaryDirectory(prefix="limner-plan-") as folder:
        settings, run = Path(folder, "config.yaml"), Path(folder, "run")
        write_text(settings, to_yaml(replace(config, changes)))
        command = [sys.executable, "-m", "limner", "train", config.data.root, "--device", "cpu"]
        command += ["--config", str(settings), "--out", str(run)]
        command += [] if weights is None else ["--weights", str(weights)]
        progress(f"training for {steps} steps to measure time and memory")
        peak = _peak_of(command, log=Path(folder, "said.txt"))
        return _read(run, peak=peak, images=images)


def _peak_of(command: list[str], *, log: Path) -> int:
    """Run a command to its end and return the bytes of its largest resident set.

    Linux tells the peak of the process as it is since it was started; elsewhere the kernel's
    figure for the child serves.
    """
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            peak, status = 0, Path(f"/proc/{process.pid}/status")
            while process.poll() is None:
                peak = max(peak, _high_water(status))
                time.sleep(0.02)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1].removeprefix("limner: ") if lines else f"exit {process.returncode}"
        raise TrainingError(f"a few steps were tried and failed: {reason}")
    return peak or _children_peak()


def _high_water(status: Path) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _children_peak() -> int:
    try:
        import resource
    except ImportError:  # Windows
        raise LimnerError(
            "this system does not tell a process's memory: give --device of a named GPU"
        ) from None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


def _read(run: Path, *, peak: int, images: int) -> Probe:
    events = read_events(run)
    steps = [event["seconds_per_step"] for event in events if event["event"] == "train"]
    validated = _between(events, "validation")
    newest = max(run.glob("checkpoints/0*"))
    return Probe(
        peak_bytes=peak,
        step=statistics.median(steps[WARM:] or steps[-1:]),
        sheet=_between(events, "samples"),
        validated_pair=None if validated is None else validated / images,
        checkpoint=_between(events, "checkpoint") or 0.0,
        checkpoint_bytes=sum(path.stat().st_size for path in newest.iterdir()),
    )


def _between(events: list[dict[str, Any]], name: str) -> float | None:
    """Seconds from the event before to the last event of that name; None without one."""
    numbers = [number for number, event in enumerate(events) if event["event"] == name]
    if not numbers or not numbers[-1]:
        return None
    last = numbers[-1]
    return max(0.0, events[last]["time"] - events[last - 1]["time"])


def steps_for(seconds_per_step: float) -> int:
    """So many steps that some 15 seconds are measured, at least one beyond the first ones."""
    return min(12, WARM + max(1, math.ceil(15 / max(seconds_per_step, 1e-3))))
