"""Switch trained runs to small new data sets in several ways, and measure what comes of it.

    python benchmarks/switching.py HOME --data ../shared/data --weights ../shared/weights \
        [--switch dusk] [--method defaults ...] [--seeds 0 1 2] [--steps 300]

A base is trained once a switch (`--base-steps`), then every method gets the same number of steps
on the same pairs, which each seed draws from the new training split; the new test split judges.
What stands in HOME is not trained again: repeat the command to go on, with other methods or seeds.
The table is printed as Markdown: mean and standard deviation over seeds.

Switches: `dusk` (CamVid's day drives to its dusk drive, instance norm), `dusk-batch` (the same
with batch norm, whose statistics are stored), `camvid` (facades to CamVid).
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quiet import machine

QUIET = {
    "training.samples_every": None,
    "training.checkpoint_every": 10_000,
    "training.health": None,
}
SIZE = {"data.size": [96, 128], "data.direction": None}
BATCH_NORM = {"generator.norm": "batch", "training.batch_size": 4}
DUSK = "0001TP"
"""What the names of the frames of CamVid's dusk drive begin with."""
TESTED = 62
"""Pictures that judge; the dusk drive has no more."""


@dataclass(frozen=True)
class Switch:
    """From a base to a new set, cut down to some numbers of pairs."""

    base: str
    target: str
    pairs: tuple[int, ...]
    settings: dict[str, Any]


SWITCHES = {
    "dusk": Switch("day", "dusk", (20, 62), {}),
    "dusk-batch": Switch("day", "dusk", (20, 62), BATCH_NORM),
    "camvid": Switch("facades", "camvid", (20, 100), {}),
}
METHODS: dict[str, dict[str, Any]] = {
    "untuned": {},
    "statistics": {"training.statistics": "re-estimate", "training.epochs": 0},
    "scratch": {"training.start_from": None, "training.discriminator_warmup": 0},
    "naive": {"training.discriminator_warmup": 0},
    "defaults": {},
    "half-rate": {"training.lr": 1e-4, "training.discriminator_lr": 1e-4},
    "double-rate": {"training.lr": 4e-4, "training.discriminator_lr": 4e-4},
    "double-linear": {
        "training.lr": 4e-4,
        "training.discriminator_lr": 4e-4,
        "training.schedule": "linear",
    },
    "linear": {"training.schedule": "linear"},
    "kept-optimizer": {"training.keep_optimizer": True},
    "l2-sp-10": {"training.l2_sp": 10.0},
    "l2-sp-100": {"training.l2_sp": 100.0},
    "freeze-discriminator-2": {"training.freeze_discriminator": 2},
    "augment": {"objective.augment": ["colour", "translation", "cutout"]},
}
"""What each way changes in the settings of a training that goes on from the base."""


def camvid_rows(data: Path, *, dusk: bool | None) -> Iterator[tuple[str, str, str]]:
    """Yield source, target and split of CamVid's pairs; `dusk` leaves one kind of drive."""
    for split in ("train", "test"):
        for photo in sorted((data / "camvid" / split / "photo").glob("*.jpg")):
            if dusk is None or photo.stem.startswith(DUSK) == dusk:
                label = data / "camvid" / split / "label" / f"{photo.stem}.png"
                yield str(label.resolve()), str(photo.resolve()), split


def manifest(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    """Write a manifest of pairs and return its path."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("source", "target", "split"), *rows])
    return path


def target_set(home: Path, data: Path, switch: Switch, *, pairs: int, seed: int) -> Path:
    """Return the manifest of a new set: pairs that the seed draws, and those that judge."""
    rows = list(camvid_rows(data, dusk=True if switch.target == "dusk" else None))
    train = [row for row in rows if row[2] == "train"]
    test = [row for row in rows if row[2] == "test"]
    test = [test[k * len(test) // TESTED] for k in range(min(TESTED, len(test)))]
    drawn = random.Random(seed).sample(train, min(pairs, len(train)))
    return manifest(home / f"{switch.target}-{pairs}-{seed}.csv", [*sorted(drawn), *test])


def base_run(home: Path, data: Path, name: str, *, steps: int) -> Path:
    """Train the base of a switch where it does not stand yet."""
    from limner.api import train
    from limner.config import replace
    from limner.presets import preset

    switch = SWITCHES[name]
    run = home / f"base-{name}"
    if (run / "done").exists():
        return run
    if switch.base == "day":
        root = manifest(home / "day.csv", list(camvid_rows(data, dusk=False)))
        own: dict[str, Any] = {"data.labels": {}}
    else:
        root, own = data / "facades", {"data.direction": "BtoA"}
    changes = {**QUIET, **SIZE, **own, **switch.settings, "data.root": str(root)}
    changes |= {"training.steps": steps, "training.epochs": 1000}
    config = replace(preset("pix2pix-small"), changes)
    train(config, out=run, resume=run.exists(), accelerator="cpu")
    (run / "done").touch()
    return run


def tuned(
    run: Path, base: Path, root: Path, method: str, *, pairs: int, steps: int, seed: int
) -> None:
    """Train one cell."""
    from limner.api import train
    from limner.config import replace
    from limner.training.carry_over import settings_from

    config = settings_from(base)
    epochs = -(-steps // (pairs // config.training.batch_size))
    common = {**QUIET, "data.root": str(root), "data.labels": {}, "data.direction": None}
    common |= {"training.epochs": epochs, "training.steps": steps, "seed": seed}
    config = replace(config, {**common, **METHODS[method]})
    train(config, out=run, resume=run.exists(), accelerator="cpu")


def judged(run: Path, root: Path, weights: Path) -> dict[str, float]:
    """Return the figures of a run on the pairs that judge."""
    from limner.cli.segmentation_options import SegmentationOptions, load
    from limner.evaluation.evaluate import evaluate

    metrics = ["lpips", "fd-vgg16", "seg"]
    options = SegmentationOptions(segmenter=str(weights / "segmenter_camvid_espnet.onnx"))
    task = load(options, metrics, device="cpu", evaluated=(run, root, "test"))
    result = evaluate(
        run,
        root,
        metrics=metrics,
        weights=weights,
        segmentation=task,
    )
    return {name: result.scores.values[name] for name in ("lpips", "fd-vgg16", "class_iou")}


def cell(
    home: Path,
    arguments: argparse.Namespace,
    name: str,
    method: str,
    *,
    pairs: int,
    seed: int,
) -> dict[str, float] | None:
    """Return the figures of one cell, trained and judged where that was not done yet.

    None where there is nothing to measure: statistics that are not stored, sources that a base
    cannot read untuned.
    """
    switch = SWITCHES[name]
    run = home / f"{name}-{pairs}-{method}-{seed}"
    record = home / f"{run.name}.json"
    if record.exists():
        return json.loads(record.read_text())
    base = base_run(home, arguments.data, name, steps=arguments.base_steps)
    root = target_set(home, arguments.data, switch, pairs=pairs, seed=seed)
    if method == "statistics" and "generator.norm" not in switch.settings:
        return None
    if method == "untuned":
        if switch.base != "day":
            return None
        run = base
    else:
        tuned(run, base, root, method, pairs=pairs, steps=arguments.steps, seed=seed)
    figures = judged(run, root, arguments.weights)
    record.write_text(json.dumps(figures))
    print(run.name, figures, file=sys.stderr, flush=True)
    return figures


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--switch", nargs="+", default=["dusk"], choices=list(SWITCHES))
    parser.add_argument("--method", nargs="+", default=["scratch", "naive"], choices=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--pairs", nargs="+", type=int)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--base-steps", type=int, default=1500)
    arguments = parser.parse_args()
    arguments.home.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, int, str], list[dict[str, float]]] = {}
    for seed in arguments.seeds:
        for name in arguments.switch:
            for pairs in arguments.pairs or SWITCHES[name].pairs:
                for method in arguments.method:
                    figures = cell(arguments.home, arguments, name, method, pairs=pairs, seed=seed)
                    if figures is not None:
                        found.setdefault((name, pairs, method), []).append(figures)
    print(f"{machine()}; {arguments.steps} steps, seeds {arguments.seeds}\n")
    print("| switch | pairs | method | LPIPS | fd-vgg16 | mean IoU |\n|---|---|---|---|---|---|")
    for (name, pairs, method), each in found.items():
        cells = []
        for figure, digits in (("lpips", 4), ("fd-vgg16", 1), ("class_iou", 4)):
            values = [one[figure] for one in each]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}")
        print(f"| {name} | {pairs} | {method} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
