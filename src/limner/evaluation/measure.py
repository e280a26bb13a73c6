"""All metrics of two sets of images, and what each figure rests on.

A paired metric compares each picture with its own target and is the mean of its values per image;
the others compare the two sets as wholes, whatever their order and number. `METRICS` names them.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import DataError
from limner.evaluation import distances, similarity
from limner.evaluation import weights as store
from limner.evaluation.features import EXTRACTORS, extract
from limner.evaluation.metrics import METRICS, Scores, check_counts, chosen
from limner.evaluation.pairs import compare, judge
from limner.evaluation.pictures import Coloured, Files, Images, Pictures, listed, matched
from limner.evaluation.weights import Progress

__all__ = ["METRICS", "SEED", "Scores", "compare_folders", "measure"]

# torch-fidelity's, the seed too, so that KID draws the subsets that it draws
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
SEED = 2020


def measure(
    real: Images,
    fake: Images,
    *,
    metrics: Sequence[str],
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 16,
    seed: int = SEED,
    names: Sequence[str] | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Scores:
    """Return the `metrics` of `fake` against `real`.

    `real` and `fake` are sequences of uint8 (or uint16) images C x H x W, read one batch at a
    time; paired metrics need them in the same order, number and sizes. `names` are the pairs',
    for messages and the report (numbers if not given). `weights` is a file or folder with
    pretrained weights, see `weights.find`. `seed` draws KID's subsets. `progress` is called with
    the images done, the images in all (each pass over a set counts) and what is being done.

    Raises `ConfigError` for an unknown metric, `WeightsError`, and `DataError` for images that
    cannot be measured. Weights are located and loaded before any image is read.
    """
    longest = max(len(real), len(fake))
    if names is None:
        names = [str(number) for number in range(longest)]
    elif len(names) != longest:
        raise DataError(f"{len(names)} names were given for {longest} images")
    return _measure(
        Pictures(real, [f"real image {name}" for name in names]),
        Pictures(fake, [f"fake image {name}" for name in names]),
        metrics=metrics,
        weights=weights,
        device=device,
        batch_size=batch_size,
        seed=seed,
        names=names,
        download=download,
        progress=progress,
    )


def compare_folders(
    real: Path,
    fake: Path,
    *,
    metrics: Sequence[str],
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 16,
    seed: int = SEED,
    download: bool = True,
    progress: Progress | None = None,
) -> Scores:
    """Return the `metrics` of the images in the folder `fake` against those in `real`.

    Where a paired metric is asked for, pictures are paired by stem, and `DataError` lists those
    without a partner; otherwise names and numbers may differ. The rest is as in `measure`.
    """
    left, right = listed(real), listed(fake)
    if any(METRICS[name].paired for name in chosen(metrics)):
        pairs = matched(left, right)
        left, right = [a for a, _ in pairs], [b for _, b in pairs]
    return _measure(
        Pictures(Files(left), [str(path) for path in left]),
        Pictures(Files(right), [str(path) for path in right]),
        metrics=metrics,
        weights=weights,
        device=device,
        batch_size=batch_size,
        seed=seed,
        names=[path.stem for path in right],
        download=download,
        progress=progress,
    )


def _measure(
    real: Pictures,
    fake: Pictures,
    *,
    metrics: Sequence[str],
    weights: Path | None,
    device: torch.device | str,
    batch_size: int,
    seed: int,
    names: Sequence[str],
    download: bool,
    progress: Progress | None,
) -> Scores:
    metrics = chosen(metrics)
    paired = [name for name in metrics if METRICS[name].paired]
    apart = [name for name in metrics if not METRICS[name].paired]
    check_counts(metrics, real=len(real), fake=len(fake))
    paths = {
        need: store.find(need, weights=weights, download=download, progress=progress)
        for need in dict.fromkeys(need for name in metrics for need in METRICS[name].weights)
    }
    states = {need: store.read(path) for need, path in paths.items()}
    judges = {name: judge(name, states=states, paths=paths, device=device) for name in paired}
    extractors = {
        kind: EXTRACTORS[kind]
        .build(states[EXTRACTORS[kind].weights], origin=str(paths[EXTRACTORS[kind].weights]))
        .eval()
        .to(device)
        for kind in dict.fromkeys(METRICS[name].extractor for name in apart)
    }
    del states

    total = len(real) * bool(paired) + (len(real) + len(fake)) * bool(apart)
    done = 0

    def advance(count: int, what: str) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total, what)

    per_image = compare(
        judges,
        real,
        fake,
        batch_size=batch_size,
        device=device,
        advance=lambda n: advance(n, "comparing pairs"),
    )
    values = {name: sum(each) / len(each) for name, each in per_image.items()}
    details: dict[str, dict[str, Any]] = {name: {"images": len(real)} for name in paired}
    if "psnr" in per_image:
        capped = sum(value >= similarity.PSNR_CAP for value in per_image["psnr"])
        details["psnr"] |= {"cap_db": similarity.PSNR_CAP, "capped_images": capped}
    if apart:
        a, b = (
            extract(
                extractors,
                Coloured(pictures),
                batch_size=batch_size,
                device=device,
                advance=lambda n, what=what: advance(n, f"features of the {what} images"),
            )
            for pictures, what in ((real, "real"), (fake, "fake"))
        )
        for name in apart:
            kind = METRICS[name].extractor
            values[name], details[name] = _distance(name, a[kind], b[kind], seed)
            details[name]["preparation"] = extractors[kind].preparation
    for name in metrics:
        details[name]["weights"] = [
            {"name": need, "file": paths[need].name, "sha256": store.sha256(paths[need])}
            for need in METRICS[name].weights
        ]
    details["run"] = {
        "device": str(device),
        "batch_size": batch_size,
        "versions": _versions(),
        "sizes": {"real": real.sizes, "fake": fake.sizes},
        "done_to_images": {"real": real.done, "fake": fake.done},
    }
    return Scores(
        values={name: values[name] for name in metrics},
        per_image=per_image,
        details=details,
        names=tuple(names) if paired else (),
    )


def _distance(name: str, real: Tensor, fake: Tensor, seed: int) -> tuple[float, dict[str, Any]]:
    """Return a distance between two feature sets and what it rests on."""
    n, m, dimensions = len(real), len(fake), real.shape[1]
    details: dict[str, Any] = {
        "images": min(n, m),
        "images_real": n,
        "images_fake": m,
        "dimensions": dimensions,
    }
    if name == "kid":
        value, deviation = distances.kid(
            real, fake, subsets=KID_SUBSETS, subset_size=KID_SUBSET_SIZE, seed=seed
        )
        details |= {
            "std": deviation,
            "subsets": KID_SUBSETS,
            "subset_size": distances.kid_subset_size(n, m, KID_SUBSET_SIZE),
            "seed": seed,
        }
        return value, details
    if min(n, m) <= dimensions:
        details["note"] = (
            f"{min(n, m)} images for {dimensions} dimensions: exact, but biased upwards, so "
            "compare it only with figures from as many images"
        )
    return distances.frechet(real, fake), details


def _versions() -> dict[str, str]:
    """Return the versions of what the figures come out of."""
    from limner import __version__

    packages = {name: version(name) for name in ("torch", "torchmetrics", "numpy", "pillow")}
    return {"limner": __version__, "python": platform.python_version(), **packages}
