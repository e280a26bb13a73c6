"""What `limner plan` says of memory and time against what the training then uses.

    python benchmarks/plan.py DATA [--preset pix2pix-small ...] [--steps 60]

For each preset, at its own size and at half of it, a plan is made and then so many steps are
trained with validation, sheets and a checkpoint; the peak is the process's largest resident set
(Linux), the time the median of the steps after the first ten. A plan that is reckoned from a
smaller training is shown, too (`--reckoned`), where this machine could have measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from quiet import machine

import limner.plan as planning
from limner.config import Config, replace, to_yaml
from limner.files import read_events
from limner.plan import plan_training
from limner.presets import preset
from limner.training.datasets import open_training_data


def trained(config: Config, *, steps: int) -> tuple[int, float]:
    """Train for so many steps; return the process's peak in bytes and seconds a step."""
    config = replace(config, {"training.steps": steps, "training.log_every": 1})
    with tempfile.TemporaryDirectory() as folder:
        settings, run = Path(folder, "config.yaml"), Path(folder, "run")
        settings.write_text(to_yaml(config), encoding="utf-8")
        command = [sys.executable, "-m", "limner", "train", config.data.root, "--device", "cpu"]
        process = subprocess.Popen(
            [*command, "--config", str(settings), "--out", str(run)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak, status = 0, Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            lines = status.read_text(encoding="ascii").splitlines()
            high = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
            peak = max([peak, *high])
            time.sleep(0.02)
        if process.returncode:
            raise SystemExit(f"the training failed with exit code {process.returncode}")
        seconds = [e["seconds_per_step"] for e in read_events(run) if e["event"] == "train"]
    return peak * 1024, statistics.median(seconds[min(10, len(seconds) - 1) :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", nargs="+", default=["pix2pix-small"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--reckoned", action="store_true", help="measure a smaller training")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print(f"{machine()}; {arguments.data.name}, {arguments.steps} steps\n")
    print("| preset | size | planned MiB | used MiB | planned / used | planned s | used s |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for name in arguments.preset:
        own = preset(name)
        for size in (own.data.size, tuple(side // 2 for side in own.data.size)):
            config = replace(own, {"data.root": str(arguments.data), "data.size": list(size)})
            if arguments.reckoned:
                planning.LONGEST_STEP = 0.0
            plan = plan_training(config, open_training_data(config))
            peak, seconds = trained(config, steps=arguments.steps)
            rows.append([name, list(size), plan.peak_bytes, peak, plan.seconds_per_step, seconds])
            print(
                f"| {name} | {size[0]}x{size[1]} | {plan.peak_bytes >> 20} | {peak >> 20} "
                f"| {plan.peak_bytes / peak:.3f} | {plan.seconds_per_step:.3f} | {seconds:.3f} |",
                flush=True,
            )
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
