"""Time FID from two folders of pictures: pytorch-fid's way and Limner's, in the same run.

    python benchmarks/distances.py PICTURES --images 106 [--anyway]

PICTURES is a folder with at least one picture; sets of the size asked for are made from it by
shifts (real) and blurs (fake), as PNG or JPEG files, so that both sides decode, resize, compute
2048 features with the same random Inception weights, and take the distance. The baseline is
pytorch-fid 0.3.0's computation in its order of operations, with its own defaults: Pillow in a
DataLoader with as many workers as cores, batches of 50, its resizing, the plain float32 network,
NumPy's covariances and SciPy's matrix root (SciPy below 1.18). Limner's side is `compare_folders`,
once with no features kept and once with those of the real set kept from before. Each side runs in
a process of its own, so that neither finds the other's memory warm.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from quiet import machine, refuse_if_busy
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
import drawn

SIDES = ("pytorch-fid", "limner", "limner, real set kept")


def make_sets(pictures: Path, count: int, home: Path) -> None:
    """Write `count` real and fake pictures of 256 x 256 as JPEG."""
    files = sorted(p for p in pictures.iterdir() if p.suffix.lower() in (".jpg", ".png"))
    if not files:
        sys.exit(f"{pictures} holds no .jpg or .png files")
    for name in ("real", "fake"):
        (home / name).mkdir()
    for number in range(count):
        with Image.open(files[number % len(files)]) as file:
            picture = file.convert("RGB")
        shift = 7 * (number // len(files))
        picture = picture.crop((shift, 0, shift + picture.height, picture.height))
        picture = picture.resize((256, 256))
        picture.save(home / "real" / f"{number:05d}.jpg", quality=95)
        blurred = picture.filter(ImageFilter.GaussianBlur(1 + number % 3))
        blurred.save(home / "fake" / f"{number:05d}.jpg", quality=95)


class _Folder(torch.utils.data.Dataset[Tensor]):
    """Pictures as pytorch-fid reads them: RGB, levels / 255, channels first."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as file:
            levels = np.array(file.convert("RGB"))
        return torch.from_numpy(levels).permute(2, 0, 1).float().div(255)


def baseline(home: Path, state: dict[str, Tensor]) -> float:
    """Return FID as pytorch-fid computes it."""
    import warnings

    import scipy.linalg
    import torch.nn.functional as F

    from limner.evaluation.features.inception import FIDInception

    network = FIDInception().eval()
    network.load(state)
    moments = []
    for name in ("real", "fake"):
        data = _Folder(home / name)
        features = np.empty((len(data), 2048))
        loader = torch.utils.data.DataLoader(data, batch_size=50, num_workers=os.cpu_count() or 1)
        start = 0
        for batch in loader:
            with torch.no_grad():
                x = F.interpolate(batch, size=(299, 299), mode="bilinear", align_corners=False)
                made = network(2 * x - 1).numpy()
            features[start : start + len(made)] = made
            start += len(made)
        moments.append((features.mean(axis=0), np.cov(features, rowvar=False)))
    (mean_a, cov_a), (mean_b, cov_b) = moments
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sqrtm warns of singular products, as it does there
        root = scipy.linalg.sqrtm(cov_a.dot(cov_b))
        if not np.isfinite(root).all():
            offset = np.eye(len(cov_a)) * 1e-6
            root = scipy.linalg.sqrtm((cov_a + offset).dot(cov_b + offset))
    difference = mean_a - mean_b
    return float(
        difference.dot(difference) + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(np.real(root))
    )


def ours(home: Path, weights: Path) -> float:
    """Return FID as `limner compare` computes it, without an interval (the baseline has none)."""
    from limner.evaluation.measure import compare_folders

    scores = compare_folders(
        home / "real", home / "fake", metrics=["fid"], weights=weights, bootstrap=0
    )
    return scores.values["fid"]


def side(name: str, home: Path) -> None:
    """Time one side in this process and print the figure and the seconds as JSON."""
    weights = home / "inception.pth"
    # Loading is the same for both and not part of the comparison asked for; imports neither.
    state = torch.load(weights, weights_only=True)
    import limner.evaluation.measure  # noqa: F401

    begun, used = time.perf_counter(), _processor_seconds()
    value = baseline(home, state) if name == SIDES[0] else ours(home, weights)
    seconds = time.perf_counter() - begun
    cores = (_processor_seconds() - used) / seconds / (os.cpu_count() or 1)
    print(json.dumps({"fid": value, "seconds": seconds, "cores": cores}))


def _processor_seconds() -> float:
    """Return the processor time of this process and of its workers that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description="Time FID against pytorch-fid's way.")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--images", type=int, default=106)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--anyway", action="store_true", help="run on a busy machine too")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side(arguments.side, arguments.pictures)
        return
    if not arguments.anyway:
        refuse_if_busy()
    from limner.evaluation.features.inception import FIDInception

    found: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_sets(arguments.pictures, arguments.images, home)
        torch.save(drawn.weights(FIDInception().state_dict(), seed=1), home / "inception.pth")
        for number in range(arguments.rounds):
            for name in SIDES if number % 2 == 0 else (SIDES[1], SIDES[2], SIDES[0]):
                kept = "on" if name == SIDES[2] else "off"
                if kept == "on":  # fill the cache first; the filling is not timed
                    _run(name, home, kept)
                found[name].append(_run(name, home, kept))
    base = statistics.median(r["seconds"] for r in found[SIDES[0]])
    print(f"{arguments.images} images a set, {arguments.rounds} rounds; {machine()}\n")
    print(
        "| what | median s | least, most | pytorch-fid / this | cores at work | FID "
        "| relative difference |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, runs in found.items():
        seconds = [run["seconds"] for run in runs]
        apart = abs(runs[0]["fid"] / found[SIDES[0]][0]["fid"] - 1)
        middle = statistics.median(seconds)
        print(
            f"| {name} | {middle:.2f} | {min(seconds):.2f}, {max(seconds):.2f} "
            f"| {base / middle:.2f} | {statistics.median(run['cores'] for run in runs):.0%} "
            f"| {runs[0]['fid']:.9g} | {apart:.1e} |"
        )


def _run(name: str, home: Path, kept: str) -> dict[str, float]:
    command = [sys.executable, __file__, str(home), "--side", name]
    settings = {"LIMNER_FEATURE_CACHE": kept, "XDG_CACHE_HOME": str(home / "cache")}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | settings
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
