"""`limner bench`: how fast each back end makes a run's pictures on this machine, and how true."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner import timing
from limner.errors import ConfigError, LimnerError
from limner.inference.backends import BACKENDS, lacking
from limner.inference.translator import Translator, to_bytes
from limner.timing import Calls, TimedProcess, processes_by_turns

SEED = 0
COMPARED = 4
"""Seeded pictures on which back ends are compared."""


@dataclass(frozen=True)
class Row:
    """What was measured of one back end; seconds, and levels of 255."""

    backend: str
    exact: bool
    start: float
    latency: float
    quartiles: tuple[float, float]
    speedup: float
    throughput: float
    difference: float
    levels: int
    psnr: float | None


def bench(
    run: Path | str,
    *,
    backends: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    batch: int = 8,
    rounds: int = 15,
    checkpoint: str = "best",
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Time a run's back ends by turns in one go, eager float32 as the baseline among them.

    Each works in a process of its own, as for somebody who uses no other. Latency is that of a call
    with one picture, throughput that of calls with `batch`; both with pictures in memory, after
    others of the same kind (`timing.lasting`). The start is what a back end takes to be built,
    and its first picture, PyTorch's import apart. Differences are those to eager over seeded
    noise, in [-1, 1], in levels of 255 and as PSNR of the 8-bit pictures (none where all are
    equal).

    Args:
        run, checkpoint: the run's folder, and which weights.
        backends: names of `BACKENDS`; by default all that are installed and can serve the run.
        size: height and width; that of training by default.
        batch, rounds: pictures a call for throughput; turns.
        progress: called with what is being done.

    Returns:
        machine, busy (other work's part of it before the start), notes, size, batch, rounds, rows.

    Raises:
        LimnerError: the run, or a back end that was asked for, cannot be used.
    """
    say = progress or (lambda what: None)
    say("looking whether the machine is busy")
    busy = timing.busy_fraction()
    asked = list(dict.fromkeys(["eager", *(backends or BACKENDS)]))
    notes = []
    if busy > timing.BUSY:
        notes.append(f"the machine was {busy:.0%} busy with other work: ratios hold roughly")
    with contextlib.ExitStack() as stack:
        at_work: dict[str, TimedProcess] = {}
        starts: dict[str, float] = {}
        for name in asked:
            if note := lacking(name, torch.device("cpu")):
                notes.append(f"{name}: {note}")
                continue
            say(f"building {name}")
            calls = partial(_calls, run, checkpoint, name, size, batch)
            process = stack.enter_context(TimedProcess(calls))
            try:
                starts[name] = process.build()
            except LimnerError as error:
                if backends or name == "eager":
                    raise
                notes.append(f"{name}: {error}")
                continue
            at_work[name] = process
        expected = at_work["eager"].result("compared")
        say("timing one picture")
        single = processes_by_turns(at_work, "one", rounds=rounds)
        say(f"timing {batch} pictures")
        several = processes_by_turns(at_work, "many", rounds=max(2, rounds // 3))
        pictures = {name: process.result("compared") for name, process in at_work.items()}
    rows = []
    for name, picture in pictures.items():
        low, middle, high = statistics.quantiles(single[name], n=4)
        levels = (to_bytes(picture).int() - to_bytes(expected).int()).abs()
        square = float(levels.double().square().mean())
        rows.append(
            Row(
                backend=name,
                exact=BACKENDS[name].exact,
                start=starts[name],
                latency=middle,
                quartiles=(low, high),
                speedup=timing.paired_ratio(single["eager"], single[name]),
                throughput=batch / statistics.median(several[name]),
                difference=float((picture - expected).abs().max()),
                levels=int(levels.max()),
                psnr=10 * math.log10(255**2 / square) if square else None,
            )
        )
    return {
        "run": str(run),
        "machine": timing.machine(),
        "busy": busy,
        "notes": notes,
        "size": list(expected.shape[-2:]),
        "batch": batch,
        "rounds": rounds,
        "rows": [asdict(row) for row in rows],
    }


def _calls(
    run: Path | str, checkpoint: str, backend: str, size: tuple[int, int] | None, batch: int
) -> Calls:
    """Return what is timed of a back end, and what is compared; its first picture is made."""
    translator = Translator.load(run, checkpoint=checkpoint, seed=SEED, backend=backend)
    sources = {
        name: _drawn(translator, count, size)
        for name, count in (("one", 1), ("many", batch), ("compared", COMPARED))
    }
    translator(*sources["one"])
    return {name: partial(translator, *pictures) for name, pictures in sources.items()}


def _drawn(translator: Translator, count: int, size: tuple[int, int] | None) -> tuple[Tensor, ...]:
    """Draw sources as the run takes them: noise in [-1, 1], or label maps in blocks."""
    config = translator.config
    if config.encoder is not None and config.encoder.maps:
        raise ConfigError(
            "this run's generator takes the features of a picture, which noise has none of: bench "
            "another run, or limner export this one"
        )
    height, width = size or config.data.size
    rng = torch.Generator().manual_seed(SEED)
    if config.data.labels is None:
        return (torch.rand(count, config.data.channels[0], height, width, generator=rng) * 2 - 1,)
    classes = config.expansion["classes"]
    blocks = torch.randint(classes, (count, -(-height // 16), -(-width // 16)), generator=rng)
    ids = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :height, :width]
    return (ids, ids) if config.expansion["edges"] else (ids,)


def table(results: dict[str, Any]) -> str:
    """Return the results of `bench` as a Markdown table."""
    lines = [
        "| back end | start s | 1 picture ms | quartiles | eager / this | pictures/s | "
        "difference | levels | PSNR dB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        low, high = (1000 * second for second in row["quartiles"])
        psnr = "equal" if row["psnr"] is None else f"{row['psnr']:.1f}"
        lines.append(
            f"| {row['backend']} | {row['start']:.2f} | {1000 * row['latency']:.1f} | "
            f"{low:.1f} to {high:.1f} | {row['speedup']:.2f} | {row['throughput']:.1f} | "
            f"{row['difference']:.1e} | {row['levels']} | {psnr} |"
        )
    return "\n".join(lines)
