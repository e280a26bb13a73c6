"""`limner demo`: the whole way, on data drawn by program, in minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from limner.cli.options import Json, Seed, command_line, print_json, print_scores, say

TRAIN, VAL, TEST = 240, 16, 40
# What makes `pix2pix-small` small enough for minutes on two cores.
SETTINGS = {
    "generator.width": 16,
    "discriminators.0.width": 16,
    "training.epochs": 10,
    "training.lr": 4e-4,
    "training.samples_every": 2.0,
    "validation.every": 2.0,
}


def demo(
    *,
    out: Path = Path("demo"),
    resume: Annotated[bool, Parameter(negative=())] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Draw a small data set of facades, train on it, measure the result, write the report.

    Nothing is downloaded. OUT/data holds the pairs, OUT/run the training, its pictures and
    report.html.

    **Examples**

    - `limner demo`
    - `limner demo --out /tmp/demo --seed 1`

    Parameters
    ----------
    out
        Folder for the data and the run; new or empty.
    resume
        Go on with a demo that was stopped.
    seed
        Decides the data and the training.
    """
    from limner.api import train
    from limner.config import replace
    from limner.data.facades import draw_facades
    from limner.errors import CheckpointError
    from limner.evaluation.evaluate import evaluate
    from limner.presets import preset
    from limner.reporting.run_page import write_report
    from limner.terminal import progress

    started = time.monotonic()
    data, run = out / "data", out / "run"
    if run.exists() and not resume:
        raise CheckpointError(f"{out} holds a demo: remove it, give another --out, or --resume it")
    if not run.exists():
        with progress("drawing facades", TRAIN + VAL + TEST) as advance:
            draw_facades(
                data, train=TRAIN, val=VAL, test=TEST, seed=seed, on_drawn=lambda done: advance()
            )
        say(f"drew {TRAIN + VAL + TEST} pairs in {data}", aside=True)
    settings = {**SETTINGS, "seed": seed, "data.root": str(data)}
    config = replace(preset("pix2pix-small"), settings)
    train(config, out=run, resume=resume, progress=True, command=command_line())
    result = evaluate(
        run, data, split="test", metrics=["l1", "psnr", "ssim"], command=command_line()
    )
    page = write_report(run)
    seconds = time.monotonic() - started
    if json:
        print_json({**result.to_json(), "report": page, "seconds": round(seconds, 1)})
        return
    print_scores(result.scores.values, result.scores.details)
    say(f"done in {seconds:.0f} s: open {page}")
