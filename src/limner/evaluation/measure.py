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

from limner.errors import ConfigError, DataError
from limner.evaluation import featurecache, similarity
from limner.evaluation import weights as store
from limner.evaluation.bootstrap import mean_interval
from limner.evaluation.features import EXTRACTORS
from limner.evaluation.metrics import METRICS, Scores, check_counts, chosen
from limner.evaluation.pairs import compare, judge
from limner.evaluation.pictures import Coloured, Files, Images, Pictures, listed, matched
from limner.evaluation.setfeatures import FeatureWork
from limner.evaluation.setfigures import SEED, set_figures
from limner.evaluation.weights import Progress

__all__ = ["METRICS", "RESAMPLES", "SEED", "Scores", "compare_folders", "measure"]

RESAMPLES = 1000
_DOING = "measuring"


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
    bootstrap: int = RESAMPLES,
    processes: int = 1,
    cache: bool = True,
) -> Scores:
    """Return the `metrics` of `fake` against `real`.

    `real` and `fake` are sequences of uint8 (or uint16) images C x H x W, read one batch at a
    time; paired metrics need them in the same order, number and sizes. `names` are the pairs', for
    the report and for messages, which call a file by its path (numbers if not given). `weights` is
    a file or folder with pretrained weights, see `weights.find`. `seed` draws subsets and
    resamples. `progress` is called with the images done, the images in all (each pass over a set
    counts) and what is being done.

    `bootstrap` is the number of resamples behind each 95 % interval, 0 for none: under a second
    for paired metrics, a few seconds for a distance. `processes` compute features beside each
    other (see `extraction.extract`). `cache` keeps the features of the real images, when they are
    files or a list, for the next time (see `featurecache`). On the CPU all figures are the same
    to the last digit with any batch size, number of threads and of processes, and with or without
    the cache.

    Raises `ConfigError` for an unknown metric, `WeightsError`, and `DataError` for images that
    cannot be measured. Weights are located and loaded before any image is read.
    """
    longest = max(len(real), len(fake))
    if names is None:
        names = [str(number) for number in range(longest)]
    elif len(names) != longest:
        raise DataError(f"{len(names)} names were given for {longest} images")
    real, fake = _named(real, "real image", names), _named(fake, "fake image", names)
    metrics = chosen(metrics)
    if bootstrap < 0:
        raise ConfigError(f"bootstrap is {bootstrap}: give a number of resamples, or 0 for none")
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

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total, _DOING)

    per_image = compare(
        judges,
        real,
        fake,
        batch_size=batch_size,
        device=device,
        advance=advance,
    )
    values = {name: sum(each) / len(each) for name, each in per_image.items()}
    details: dict[str, dict[str, Any]] = {name: {"images": len(real)} for name in paired}
    for name in paired if bootstrap else ():
        interval = mean_interval(per_image[name], resamples=bootstrap, seed=seed)
        how = f"bootstrap over images, {bootstrap} resamples"
        details[name] |= {"interval": list(interval), "interval_method": how}
    if "psnr" in per_image:
        capped = sum(value >= similarity.PSNR_CAP for value in per_image["psnr"])
        details["psnr"] |= {"cap_db": similarity.PSNR_CAP, "capped_images": capped}
    shas = {need: store.sha256(path) for need, path in paths.items()}
    if apart:
        work = FeatureWork(extractors, shas, batch_size, device, processes, advance)
        a, remembered = work.features(Coloured(real), cache=cache and featurecache.switched_on())
        b, _ = work.features(Coloured(fake), cache=False)
        for kind, extractor in extractors.items():
            same = [name for name in apart if METRICS[name].extractor == kind]
            found = set_figures(same, a[kind], b[kind], seed=seed, bootstrap=bootstrap)
            for name, (values[name], details[name]) in found.items():
                details[name]["preparation"] = extractor.preparation
                details[name]["reference_from_cache"] = kind in remembered
    for name in metrics:
        details[name]["weights"] = [
            {"name": need, "file": paths[need].name, "sha256": shas[need]}
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
    bootstrap: int = RESAMPLES,
    processes: int = 1,
    cache: bool = True,
) -> Scores:
    """Return the `metrics` of the images in the folder `fake` against those in `real`.

    Where a paired metric is asked for, pictures are paired by stem, and `DataError` lists those
    without a partner; otherwise names and numbers may differ. The rest is as in `measure`.
    """
    left, right = listed(real), listed(fake)
    names = None
    if any(METRICS[name].paired for name in chosen(metrics)):
        pairs = matched(left, right)
        left, right = [a for a, _ in pairs], [b for _, b in pairs]
        names = [path.stem for path in right]
    return measure(
        Files(left),
        Files(right),
        metrics=metrics,
        weights=weights,
        device=device,
        batch_size=batch_size,
        seed=seed,
        names=names,
        download=download,
        progress=progress,
        bootstrap=bootstrap,
        processes=processes,
        cache=cache,
    )


def _named(images: Images, kind: str, names: Sequence[str]) -> Pictures:
    """Return the images with what messages call them: files by their paths."""
    if isinstance(images, Files):
        return Pictures(images, [str(path) for path in images.paths])
    return Pictures(images, [f"{kind} {name}" for name in names])


def _versions() -> dict[str, str]:
    """Return the versions of what the figures come out of."""
    from limner import __version__

    packages = {name: version(name) for name in ("torch", "torchmetrics", "numpy", "pillow")}
    return {"limner": __version__, "python": platform.python_version(), **packages}
