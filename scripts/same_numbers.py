"""Train tiny configurations and write down every number, so that two versions can be compared.

A rebuild may move code about, but not a bit of what it computes. The package is taken from
wherever Python finds it, so the same script serves both versions:

    PYTHONPATH=before/src python scripts/same_numbers.py before.json
    PYTHONPATH=after/src python scripts/same_numbers.py after.json
    python scripts/same_numbers.py --compare before.json after.json

Each file holds the SHA-256 of every final weight file's tensors, and all scalars of the log. The
data are drawn here, with NumPy and Pillow alone. The numbers are those of one machine: another
processor takes other kernels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

SIZE = (32, 64)


@dataclass(frozen=True)
class Case:
    """One training: where its settings begin, and what differs from there."""

    preset: str
    settings: tuple[str, ...]
    data: str = "pairs"
    processes: int = 1
    start: str | None = None


COMMON = (
    "data.cache_gib=0.1",
    "training.epochs=2",
    "training.log_every=1",
    "training.checkpoint_every=1",
    "training.samples_every=1",
    "training.update_order=discriminator-first",
    "validation.every=0.5",
    "validation.images=2",
    "objective.vgg=0",
)
PAIRS = (
    *COMMON,
    "data.size=64",
    "data.load_size=66",
    "data.direction=BtoA",
    "generator.width=4",
    "generator.depth=6",  # the least that has dropout
)
PATCH = ("discriminators.0.width=4", "discriminators.0.layers=1")
LABELS = (
    *COMMON,
    *PATCH,
    "data.size=[32, 64]",
    "data.load_size=[32, 64]",
    "data.labels.classes=4",
    "data.labels.void=9",
    "data.labels.edges=true",
    "generator.width=4",
    "training.batch_size=2",
)
TWO = (
    "discriminators=[{name: patch, layers: 1, width: 4}, {name: pixel, width: 4, "
    "conditional: false, lr: 1e-3, optimizer: adamw}]"
)
HD = ("generator.downs=2", "generator.blocks=1")
FEATURES = "encoder={name: features, width: 4, downs: 1, features: 2}"

CASES: dict[str, Case] = {
    "plain": Case("pix2pix-small", (*PAIRS, *PATCH)),
    "accumulate": Case("pix2pix-small", (*PAIRS, *PATCH, "training.accumulate=2")),
    "together": Case(
        "pix2pix-small",
        (*PAIRS, TWO, "training.update_order=together", "objective.weighting=adaptive"),
    ),
    "repeated": Case(
        "pix2pix-small",
        (
            *PAIRS,
            *PATCH,
            "training.discriminator_updates=2",
            "training.generator_updates=3",
            "training.batch_size=2",
            "objective.instance_noise=0.05",
        ),
    ),
    "alone": Case("pix2pix-small", (*PAIRS, "discriminators=[]", "objective.gan_weight=0")),
    "r1-ema": Case(
        "pix2pix-small",
        (*PAIRS, *PATCH, "objective.r1=1", "objective.r1_every=3", "training.ema=0.9"),
    ),
    "spade-vae": Case(
        "spade-vae",
        (
            *LABELS,
            "generator.hidden=4",
            "generator.latent=5",
            "generator.norm=instance",
            "encoder.latent=5",
            "encoder.layers=2",
            "encoder.width=4",
        ),
        data="labels",
    ),
    "pix2pixhd-global": Case("pix2pixhd-global", (*LABELS, *HD, FEATURES), data="labels"),
    "pix2pixhd": Case(
        "pix2pixhd",
        (
            *(*LABELS, *HD, FEATURES),
            *("generator.width=2", "generator.local_blocks=1", "training.fix_global=1"),
        ),
        data="labels",
        start="pix2pixhd-global",
    ),
    "processes": Case("pix2pix-small", (*PAIRS, *PATCH, "training.accumulate=2"), processes=2),
}


def draw_data(root: Path) -> None:
    """Draw pairs side by side, and label maps with instances, into two folders of `root`."""
    rng = np.random.default_rng(7)
    for split, count in (("train", 8), ("val", 2)):
        (root / "pairs" / split).mkdir(parents=True)
        for index in range(count):
            tiles = rng.integers(0, 256, (8, 16, 3), dtype=np.uint8)
            pair = tiles.repeat(8, 0).repeat(8, 1)
            Image.fromarray(pair).save(root / "pairs" / split / f"{index}.png")
        for kind in ("label", "inst", "img"):
            (root / "labels" / f"{split}_{kind}").mkdir(parents=True)
        for index in range(count):
            ids = rng.choice([0, 1, 2, 3, 9], (4, 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
            photo = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            maps = {"label": ids, "inst": ids.astype(np.uint16) * 1000, "img": photo}
            for kind, pixels in maps.items():
                path = root / "labels" / f"{split}_{kind}" / f"{index}.png"
                Image.fromarray(pixels).save(path)


def train(name: str, folder: Path) -> dict[str, object]:
    """Train one case in `folder` and return its numbers."""
    case, run = CASES[name], folder / "runs" / name
    launch = ["-m", "limner"]
    if case.processes > 1:
        launch = ["-m", "torch.distributed.run", f"--nproc-per-node={case.processes}"]
        launch += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "limner"]
    words = ["train", str(folder / case.data), "--out", str(run), "--preset", case.preset]
    words += [word for setting in case.settings for word in ("--set", setting)]
    if case.start is not None:
        words += ["--from", str(folder / "runs" / case.start)]
    done = subprocess.run(
        [sys.executable, *launch, *words, "--accelerator", "cpu"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name}: exit {done.returncode}\n{done.stderr}")
    return {"weights": weights_of(run), "log": scalars_of(run)}


def weights_of(run: Path) -> dict[str, str]:
    """Return the SHA-256 of the tensors in each weight file of the newest checkpoint."""
    newest = max(path for path in (run / "checkpoints").iterdir() if path.name.isdigit())
    hashes = {}
    for path in sorted(newest.glob("*.safetensors")):
        content = hashlib.sha256()
        for key, value in sorted(load_file(path).items()):
            content.update(f"{key} {value.dtype} {value.shape}\n".encode())
            content.update(value.tobytes())
        hashes[path.name] = content.hexdigest()
    return hashes


def scalars_of(run: Path) -> list[dict[str, object]]:
    """Return the events of the log that hold scalars, less what a clock says."""
    events = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    clock = ("time", "seconds_per_step")
    return [
        {key: value for key, value in event.items() if key not in clock}
        for event in events
        if event["event"] in ("train", "validation", "weights", "checkpoint")
    ]


def different(before: dict[str, dict], after: dict[str, dict]) -> list[str]:
    """Return a line for everything in which two files of numbers differ."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            lines.append(f"{name}: in one file alone")
            continue
        one, other = before[name], after[name]
        for file in sorted(one["weights"].keys() | other["weights"].keys()):
            if one["weights"].get(file) != other["weights"].get(file):
                lines.append(f"{name}: {file} differs")
        if len(one["log"]) != len(other["log"]):
            lines.append(f"{name}: {len(one['log'])} events in the log, and {len(other['log'])}")
        for left, right in zip(one["log"], other["log"], strict=False):
            keys = [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
            for key in sorted(keys):
                where = f"{name}: {left['event']} at step {left.get('step')}"
                lines.append(f"{where}: {key} is {left.get(key)}, and {right.get(key)}")
    return lines


def main() -> int:
    """Train and write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help="the file to write; or two")
    parser.add_argument("--compare", action="store_true", help="compare two files of numbers")
    parser.add_argument("--only", nargs="+", choices=CASES, help="train these cases alone")
    given = parser.parse_args()
    if given.compare:
        before, after = (json.loads(path.read_text()) for path in given.files)
        lines = different(before, after)
        print("\n".join(lines[:40]) if lines else f"{len(before)} trainings: equal to the last bit")
        return 1 if lines else 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_data(folder)
        numbers = {}
        for case in given.only or CASES:
            numbers[case] = train(case, folder)
            print(f"{case}: {len(numbers[case]['log'])} events", flush=True)
    (path,) = given.files
    path.write_text(json.dumps(numbers, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
