"""Whether two checkouts give the same figures: measure drawn data with each, and compare.

    PYTHONPATH=OLD/src python scripts/same_figures.py --weights FOLDER --to old.json
    PYTHONPATH=NEW/src python scripts/same_figures.py --weights FOLDER --to new.json
    python scripts/same_figures.py --compare old.json new.json

FOLDER holds VGG16, AlexNet and, as `inception.pth`, any weights of FID's Inception. Values are
compared to the last digit; intervals and p-values may differ as far as drawing does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

PAIRED = "l1,psnr,ssim,ms-ssim,edge-f,lpips,lpips-vgg,dists"
OF_VGG = "fd-vgg16,fd-vgg16-inf,precision-vgg16,recall-vgg16,density-vgg16,coverage-vgg16"
OF_INCEPTION = "fid,fid-clean,fid-inf,kid,precision,recall,density,coverage"
DRAWN = ("interval", "p", "p_holm", "better", "clear", "intervals")
"""What is drawn at random; compared roughly."""
APART = ("versions", "file", "sha256", "weights", "metric_weights", "method", "interval_method")
"""What says how, not how much."""
PLACES = ("command", "data", "folders", "config", "reference_from_cache")


def picture(rng: np.random.Generator, size: int) -> Image.Image:
    """Return flat tiles under a ramp and noise."""
    tiles = rng.integers(0, 256, (8, 8, 3)).repeat(size // 8, 0).repeat(size // 8, 1)
    ramp = np.linspace(-40, 40, size)[:, None, None]
    noise = rng.integers(-12, 13, (size, size, 3))
    return Image.fromarray((tiles + ramp + noise).clip(0, 255).astype(np.uint8))


def draw(root: Path) -> None:
    """Write two folders of pictures for `compare`, and pairs to train and evaluate on."""
    rng = np.random.default_rng(5)
    for kind in ("real", "fake"):
        (root / kind).mkdir(parents=True)
    for index in range(24):
        real = picture(rng, 192)
        real.save(root / "real" / f"{index:02d}.png")
        blurred = real.filter(ImageFilter.GaussianBlur(1 + index % 3))
        blurred.point(lambda level: level * 3 // 4 + 20).save(root / "fake" / f"{index:02d}.png")
    for split, count in (("train", 4), ("val", 4), ("test", 18)):
        (root / "pairs" / split).mkdir(parents=True)
        for index in range(count):
            target = picture(rng, 64)
            pair = Image.new("RGB", (128, 64))
            pair.paste(target.filter(ImageFilter.FIND_EDGES), (64, 0))
            pair.paste(target, (0, 0))
            pair.save(root / "pairs" / split / f"{index}.png")


def limner(*arguments: object) -> Any:
    """Return what a command prints with --json."""
    command = [sys.executable, "-m", "limner", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout) if done.stdout.strip().startswith("{") else None


def figures(root: Path, weights: Path) -> dict[str, Any]:
    """Return the figures of every kind of measurement."""
    draw(root)
    sets = root / "real", root / "fake"
    found = {
        "paired": limner("compare", *sets, "--metrics", PAIRED, "--weights", weights),
        "vgg": limner("compare", *sets, "--metrics", OF_VGG, "--weights", weights),
        "inception": limner(
            "compare", *sets, "--metrics", OF_INCEPTION, "--weights", weights / "inception.pth"
        ),
    }
    small = ["data.size=32", "data.direction=BtoA", "generator.width=4", "generator.depth=3"]
    small += ["discriminators.0.layers=1", "training.epochs=2"]
    small += ["validation.metrics=[l1, ssim, lpips]"]
    for name, seed in (("a", 1), ("b", 2)):
        settings = [part for key in [*small, f"seed={seed}"] for part in ("--set", key)]
        run = ["--preset", "pix2pix-small", "--out", root / name]
        subprocess.run(
            [sys.executable, "-m", "limner", "train", root / "pairs", *run, *settings],
            check=True,
            capture_output=True,
            env=os.environ | {"LIMNER_WEIGHTS": str(weights)},
        )
    asked = ["--metrics", "l1,psnr,ssim,lpips,fd-vgg16", "--weights", weights]
    runs = root / "a", root / "b", root / "pairs"
    found["runs"] = limner("evaluate", *runs, *asked, "--out", root / "comparison")
    log = (root / "a" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in log]
    values = [event for event in events if event["event"] == "validation"]
    found["validation"] = [
        {k: v for k, v in event.items() if k not in ("time", "seconds")} for event in values
    ]
    return found


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """Return in a line each where two results differ."""
    key = at.rsplit(".", 1)[-1]
    if key in APART or key in PLACES:
        return []
    if key in DRAWN:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(k for k in new if k not in old)]
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{at}.{k}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [d for k, (a, b) in pairs for d in differences(a, b, f"{at}[{k}]")]
    return [] if old == new else [f"{at}: {old!r} and {new!r}"]


def drawn(result: Any, at: str = "") -> dict[str, float]:
    """Return the numbers that depend on drawing, by their places."""
    if isinstance(result, dict):
        return {k: v for key, one in result.items() for k, v in drawn(one, f"{at}.{key}").items()}
    if isinstance(result, list):
        pairs = enumerate(result)
        return {k: v for n, one in pairs for k, v in drawn(one, f"{at}[{n}]").items()}
    random = any(f".{name}" in at for name in ("interval", "p", "p_holm"))
    last = at.rsplit(".", 1)[-1].split("[")[0]
    wanted = random and last in ("interval", "p", "p_holm")
    return {at: float(result)} if wanted and isinstance(result, float) else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--compare", type=Path, nargs=2)
    options = parser.parse_args()
    if options.compare:
        old, new = (json.loads(path.read_text(encoding="utf-8")) for path in options.compare)
        found = differences(old, new)
        print("\n".join(found) or "all values are equal to the last digit")
        a, b = drawn(old), drawn(new)
        for place in sorted(a.keys() & b.keys()):
            if a[place] != b[place]:
                print(f"{place}: {a[place]:.6g} and {b[place]:.6g}")
        return int(bool(found))
    with tempfile.TemporaryDirectory() as folder:
        result = figures(Path(folder), options.weights)
    options.to.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
