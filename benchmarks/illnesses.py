"""Plant illnesses in small trainings on real pairs, and see which of them `limner diagnose` names.

    python benchmarks/illnesses.py train OUT --data ../shared/data [--seeds 0] [--only NAME ...]
    python benchmarks/illnesses.py judge OUT [--json FILE]

`train` takes one case after another (repeat it to go on), each with its log under OUT/CASE-SEED;
`judge` diagnoses each log whole, and cut off after each tenth, which gives the step from which
on an accepted name stands. Several names may fit one illness: each `Case` says which are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

FAST = ("data.size=64", "generator.width=8", "discriminators.0.width=8")
FACADES = (*FAST, "data.direction=BtoA")
OTHER = ("data.size=64", "discriminators.0.width=8", "data.direction=BtoA")
CAMVID = (*FAST, "data.labels={}")
OFTEN = (
    "training.log_every=10",
    "training.health=20",
    "training.samples_every=null",
    "training.checkpoint_every=1000",
    "training.epochs=1000",
    "validation.images=8",
    "validation.metrics=[l1]",
    "training.ema=null",
)


@dataclass(frozen=True)
class Case:
    """One training: data, settings, and the names of which one is right; none where healthy."""

    data: str
    settings: tuple[str, ...]
    accepted: tuple[str, ...] = ()
    preset: str = "pix2pix-small"
    steps: int = 400
    validate: int = 100
    fast: tuple[str, ...] = field(default=FACADES)


CASES: dict[str, Case] = {
    # Ill.
    "d-capacity": Case(
        "facades",
        ("discriminators.0.width=64", "discriminators.0.layers=3", "generator.width=2"),
        ("discriminator-wins", "generator-stalled"),
    ),
    "d-rate": Case(
        "facades", ("training.discriminator_lr=4e-3",), ("discriminator-wins", "generator-stalled")
    ),
    "d-updates": Case(
        "camvid",
        ("training.discriminator_updates=8", "discriminators.0.width=32"),
        ("discriminator-wins", "generator-stalled"),
        fast=CAMVID,
    ),
    "starved-generator": Case(
        "facades",
        ("generator.width=2", "training.lr=1e-5", "training.discriminator_lr=5e-4"),
        ("generator-stalled", "discriminator-wins", "nothing-learned"),
    ),
    "d-cannot-learn": Case("facades", ("training.discriminator_lr=1e-7",), ("generator-wins",)),
    "drowned": Case("facades", ("objective.l1=10000",), ("adversarial-drowned",)),
    "collapse": Case(
        "facades",
        (
            "generator={name: resnet, width: 8, blocks: 3}",
            *("objective.l1=0", "discriminators.0.conditional=false", "training.lr=1e-3"),
        ),
        ("collapse", "discriminator-wins"),
        fast=OTHER,
    ),
    "memorised": Case(
        "facades-8",
        ("discriminators.0.width=32", "discriminators.0.layers=3", "data.flip=false"),
        ("discriminator-memorises", "overfit"),
        steps=1200,
    ),
    "overfit": Case(
        "camvid-8",
        ("discriminators=[]", "objective.gan_weight=0", "training.lr=1e-3", "data.flip=false"),
        ("overfit",),
        steps=1000,
        fast=("data.size=64", "generator.width=16", "data.labels={}"),
    ),
    "exploding": Case(
        "facades",
        ("training.lr=0.1",),
        ("divergence", "exploding-gradients", "rate-too-high", "nothing-learned"),
    ),
    "too-fast": Case(
        "camvid",
        ("training.lr=0.01",),
        (
            *("rate-too-high", "divergence", "nothing-learned", "exploding-gradients"),
            "generator-wins",  # such a rate also keeps its discriminator from learning
        ),
        fast=CAMVID,
    ),
    "too-slow": Case("camvid", ("training.lr=1e-7",), ("nothing-learned",), fast=CAMVID),
    "checkerboard": Case(
        "facades",
        ("generator={name: resnet, width: 8, blocks: 3}", "objective.l1=1", "training.lr=1e-3"),
        ("checkerboard",),
        fast=OTHER,
    ),
    # Healthy.
    "facades": Case("facades", (), steps=800),
    "camvid": Case("camvid", (), fast=CAMVID),
    "lsgan": Case("facades", ("objective.gan=lsgan",)),
    "hinge": Case("camvid", ("objective.gan=hinge", "objective.l1=50"), fast=CAMVID),
    "soft-labels": Case("facades", ("objective.real_label=0.9",)),
    "batch": Case("camvid", ("training.batch_size=4",), fast=CAMVID),
    "batch-statistics": Case(
        "facades", ("generator.norm=batch", "generator.dropout=0", "training.lr=1e-3")
    ),
    "batch-norm": Case("camvid", ("generator.norm=batch", "training.batch_size=4"), fast=CAMVID),
    "reconstruction": Case(
        "facades",
        ("discriminators=[]", "objective.gan_weight=0"),
        fast=("data.size=64", "generator.width=8", "data.direction=BtoA"),
    ),
    "spade": Case("camvid", ("generator.hidden=16",), preset="spade-small", fast=("data.size=64",)),
    "pix2pixhd": Case(
        "camvid", ("generator.blocks=2",), preset="pix2pixhd-small", fast=("data.size=64",)
    ),
}


def views(folder: Path, data: Path) -> dict[str, Path]:
    """Lay links to the data as each case wants it: with pairs held out, and with eight pairs."""
    found = {}
    facades, camvid = data / "facades", data / "camvid"
    for name, count in (("facades", 400), ("facades-8", 8)):
        found[name] = folder / name
        for split, source, some in (("train", "train", count), ("val", "test", 40)):
            target = folder / name / split
            target.mkdir(parents=True)
            for path in sorted((facades / source).iterdir())[:some]:
                (target / path.name).symlink_to(path.resolve())
    for name, count in (("camvid", 10**6), ("camvid-8", 8)):
        found[name] = folder / name
        for split, some in (("train", count), ("val", 40)):
            for kind in ("label", "photo"):
                target = folder / name / split / kind
                target.mkdir(parents=True)
                files = sorted((camvid / split / kind).iterdir())
                spread = files[:: max(1, len(files) // some)][:some]
                for path in spread:
                    (target / path.name).symlink_to(path.resolve())
    return found


def train(out: Path, data: Path, seeds: list[int], only: list[str]) -> None:
    """Train what has no finished log yet."""
    import torch

    from limner import preset, replace
    from limner.api import train as run_training
    from limner.config import parse_overrides
    from limner.errors import LimnerError

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        where = views(Path(name), data)
        for seed in seeds:
            for name_ in only or CASES:
                case, run = CASES[name_], out / f"{name_}-{seed}"
                if run.exists():
                    continue
                pairs = 8 if case.data.endswith("-8") else 367 if "camvid" in case.data else 400
                size = 4 if "training.batch_size=4" in case.settings else 1
                texts = [*OFTEN, *case.fast, *case.settings]
                texts += [f"seed={seed}", f"training.steps={case.steps}"]
                texts += [f"validation.every={case.validate * size / pairs}"]
                try:
                    config = replace(preset(case.preset), parse_overrides(texts))
                    config = replace(config, {"data.root": str(where[case.data])})
                    run_training(config, out=run, accelerator="cpu")
                except LimnerError as error:
                    print(f"{run.name}: {error}", flush=True)
                print(run.name, flush=True)


@dataclass(frozen=True)
class Judged:
    """What was said of one training: alarms at its end, and when an accepted name first stood."""

    name: str
    steps: int
    alarms: tuple[str, ...]
    notes: tuple[str, ...]
    found: int | None


def judge(out: Path) -> list[Judged]:
    """Diagnose every log, whole, and as it stood after each tenth of the training."""
    from limner.errors import DataError
    from limner.health.diagnosis import diagnose_history
    from limner.health.records import read_history

    judged = []
    for run in sorted(path.parent for path in out.glob("*/log.jsonl")):
        case = CASES[run.name.rpartition("-")[0]]
        try:
            history = read_history(run)
        except DataError:
            continue  # it was stopped before its first line
        found = None
        for tenth in range(1, 11):
            step = min(history.steps, case.steps * tenth // 10)
            told = diagnose_history(history.until(step)).findings
            alarms = [finding.name for finding in told if finding.severity != "note"]
            if found is None and set(alarms) & set(case.accepted):
                found = step
        told = diagnose_history(history).findings
        judged.append(
            Judged(
                run.name,
                history.steps,
                tuple(f.name for f in told if f.severity != "note"),
                tuple(f.name for f in told if f.severity == "note"),
                found,
            )
        )
    return judged


def table(judged: list[Judged]) -> str:
    """Return what was said of each training as a table in Markdown."""
    lines = [
        "| training | accepted | said above note | notes | found at |",
        "|---|---|---|---|---|",
    ]
    for each in judged:
        accepted = CASES[each.name.rpartition("-")[0]].accepted
        ok = set(each.alarms) & set(accepted) if accepted else not each.alarms
        mark = "" if ok else " **missed**" if accepted else " **false alarm**"
        found = "" if each.found is None else f"{each.found} of {each.steps}"
        words = [", ".join(names) for names in (accepted, each.alarms, each.notes)]
        lines.append(f"| {each.name}{mark} | {' | '.join(words)} | {found} |")
    return "\n".join(lines)


def main() -> int:
    """Train or judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "judge"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=[])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if given.what == "train":
        train(given.out, given.data.resolve(), given.seeds, given.only)
        return 0
    judged = judge(given.out)
    print(table(judged))
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(each) for each in judged], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
