"""All metrics of two sets of images, and what each figure rests on.

A paired metric compares each picture with its own target and is the mean of its values per image;
the others compare the two sets as wholes, whatever their order and number. `METRICS` names them.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner import __version__
from limner.errors import ConfigError, DataError, memory_errors
from limner.evaluation.features import EXTRACTORS, exact, feature_cache, stacks
from limner.evaluation.features.extraction import CHUNK, FeatureWork, in_threads
from limner.evaluation.image_sets import (
    Coloured,
    Files,
    Images,
    Pairs,
    Pictures,
    listed,
    matched,
    name_in,
)
from limner.evaluation.metrics import (
    METRICS,
    OF_SETS,
    PAIRED,
    PairFunction,
    Scores,
    check_counts,
    chosen,
)
from limner.evaluation.metrics.of_sets import FeatureSets, Figure
from limner.evaluation.segmentation.scoring import (
    Segmentation,
    score_folders,
    with_segmentation,
    without_seg,
)
from limner.evaluation.statistics import mean_interval
from limner.networks import pretrained
from limner.networks.pretrained import Progress

__all__ = ["METRICS", "RESAMPLES", "SEED", "Scores", "compare_folders", "measure", "versions"]

RESAMPLES = 1000
SEED = 2020
"""torch-fidelity's, so that KID draws the subsets that it draws."""
PACKAGES = ("torch", "numpy", "pillow", "safetensors", "scipy")
"""What figures come out of, and whose versions stand beside them."""


@memory_errors("measuring pictures", cure="measure fewer --metrics at once, or lighter ones")
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
    groups: Mapping[str, str] | None = None,
) -> Scores:
    """Return the `metrics` of `fake` against `real`.

    On the CPU all figures are the same to the last digit with any batch size, number of threads
    and of processes, and with or without the cache. Weights are located and loaded before any
    image is read.

    Args:
        real, fake: sequences of uint8 (or uint16) images C x H x W, read one batch at a time;
            paired metrics need them in the same order, number and sizes.
        metrics: names of `METRICS`.
        weights: a file or folder with pretrained weights, see `limner.networks.pretrained.find`.
        device, batch_size: where networks compute, and how many images a GPU sees at once.
        seed: draws subsets and resamples.
        names: the pairs', for the report and for messages, which call a file by its path (numbers
            if not given).
        download: whether weights may be downloaded.
        progress: called with the images done, the images in all (each pass over a set counts) and
            what is being done.
        bootstrap: the number of resamples behind each 95 % interval, 0 for none: under a second
            for paired metrics, a few seconds for a distance.
        processes: how many compute features beside each other (see `extraction.extract`).
        cache: whether the features of the real images, when they are files or a list, are kept
            for the next time (see `feature_cache`).
        groups: the group of each name (a patient, a slide), which the intervals of paired metrics
            then draw in place of images.

    Raises:
        ConfigError: an unknown metric. WeightsError: weights are missing or damaged. DataError:
            images that cannot be measured.
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
    paired = [name for name in metrics if name in PAIRED]
    apart = [name for name in metrics if name in OF_SETS]
    check_counts(metrics, real=len(real), fake=len(fake))
    paths = find_weights(metrics, weights=weights, download=download, progress=progress)
    states = {need: pretrained.read(path) for need, path in paths.items()}
    functions = {name: _pair_function(name, states, paths, device=device) for name in paired}
    extractors = {
        kind: EXTRACTORS[kind]
        .build(states[EXTRACTORS[kind].weights], origin=str(paths[EXTRACTORS[kind].weights]))
        .eval()
        .to(device)
        for kind in dict.fromkeys(OF_SETS[name].extractor for name in apart)
    }
    del states

    total = len(real) * bool(paired) + (len(real) + len(fake)) * bool(apart)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total, "measuring")

    per_image = compare_pairs(
        functions, real, fake, batch_size=batch_size, device=device, advance=advance
    )
    of_each = tuple(groups[name] for name in names) if groups and paired else ()
    figures = {
        name: mean_figure(name, each, resamples=bootstrap, seed=seed, groups=of_each)
        for name, each in per_image.items()
    }
    shas = {need: pretrained.sha256(path) for need, path in paths.items()}
    if apart:
        work = FeatureWork(extractors, shas, batch_size, device, processes, advance)
        of_real, kept = work.features(Coloured(real), cache=cache and feature_cache.switched_on())
        of_fake, _ = work.features(Coloured(fake), cache=False)
        for kind, extractor in extractors.items():
            same = {name: OF_SETS[name] for name in apart if OF_SETS[name].extractor == kind}
            nearest = [one.nearest for one in same.values() if one.nearest is not None]
            sets = FeatureSets(of_real[kind], of_fake[kind], nearest=nearest)
            for name, metric in same.items():
                figures[name] = metric.function(sets, seed=seed, resamples=bootstrap)
                figures[name].details["preparation"] = extractor.preparation
                figures[name].details["reference_from_cache"] = kind in kept
    details: dict[str, dict[str, Any]] = {}
    for name in metrics:
        used = [
            {"name": need, "file": paths[need].name, "sha256": shas[need]}
            for need in METRICS[name].weights
        ]
        details[name] = {**figures[name].details, "weights": used}
    details["run"] = {
        "device": str(device),
        "batch_size": batch_size,
        "versions": versions(),
        "sizes": {"real": real.sizes, "fake": fake.sizes},
        "done_to_images": {"real": real.done, "fake": fake.done},
    }
    return Scores(
        values={name: figures[name].value for name in metrics},
        per_image=per_image,
        details=details,
        names=tuple(names) if paired else (),
        groups=of_each,
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
    segmentation: Segmentation | None = None,
    groups: Mapping[str, str] | None = None,
    view: Callable[[Tensor, Path], Tensor] | None = None,
) -> Scores:
    """Return the `metrics` of the images in the folder `fake` against those in `real`.

    Where a paired metric is asked for, pictures are paired by name, and `DataError` lists those
    without a partner; otherwise names and numbers may differ. `segmentation` is what the metric
    `seg` needs; `view` makes 8-bit pictures of what the files hold. The rest is as in `measure`.
    """
    rest = without_seg(metrics, segmentation)
    scores = Scores({}, {}, {})
    if rest or segmentation is None:
        names = None
        if any(name in PAIRED for name in chosen(rest)):
            left, right = (list(side) for side in zip(*matched(real, fake), strict=True))
            names = [name_in(fake, path) for path in right]
        else:
            left, right = listed(real), listed(fake)
        scores = measure(
            Files(left, view),
            Files(right, view),
            metrics=rest,
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
            groups=groups,
        )
    if segmentation is None:
        return scores
    segmented = score_folders(segmentation, real, fake, progress=progress)
    return with_segmentation(scores, segmentation, segmented, versions=versions(), seed=seed)


def find_weights(
    metrics: Sequence[str],
    *,
    weights: Path | None,
    download: bool = True,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Return the files of all weights that the metrics need, by the names of the weights.

    Raises:
        ConfigError: a metric is unknown. WeightsError: a file is missing or not the right one.
    """
    needs = dict.fromkeys(
        need for name in (chosen(metrics) if metrics else ()) for need in METRICS[name].weights
    )
    return {
        need: pretrained.find(need, weights=weights, download=download, progress=progress)
        for need in needs
    }


def versions() -> dict[str, str]:
    """Return the versions of all that figures come out of."""
    packages = {name: version(name) for name in PACKAGES}
    return {"limner": __version__, "python": platform.python_version(), **packages}


def compare_pairs(
    functions: Mapping[str, PairFunction],
    real: Pictures,
    fake: Pictures,
    *,
    batch_size: int,
    device: torch.device | str,
    advance: Callable[[int], None],
) -> dict[str, list[float]]:
    """Return the values of each paired metric, one for each pair in order, in one pass.

    On the CPU `CHUNK` pairs are compared at a time whatever `batch_size` is, each chunk by one
    thread, so the values do not depend on either (see `extraction`). `advance` is called with the
    number of pairs done since.

    Raises:
        DataError: a pair's sizes differ, or a picture is too small for a metric.
    """
    values: dict[str, list[float]] = {name: [] for name in functions}
    if not functions:
        return values
    pairs = Pairs(real, fake, coloured=any(PAIRED[name].weights for name in functions))

    def work(chunk: list[Tensor]) -> dict[str, list[float]]:
        part: dict[str, list[float]] = {name: [] for name in functions}
        with exact(device):
            for stack in stacks(chunk, len(chunk)):
                a, b = stack.to(device).unbind(dim=1)
                for name, function in functions.items():
                    part[name] += function(a, b).tolist()
        return part

    on_cpu = torch.device(device).type == "cpu"
    starts = range(0, len(pairs), CHUNK if on_cpu else batch_size)
    parts = (
        in_threads(work, pairs, starts)
        if on_cpu
        else (work([pairs[i] for i in range(s, min(s + batch_size, len(pairs)))]) for s in starts)
    )
    for part in parts:
        for name, each in part.items():
            values[name] += each
        advance(len(next(iter(part.values()))))
    return values


def _pair_function(
    name: str,
    states: Mapping[str, Mapping[str, Tensor]],
    paths: Mapping[str, Path],
    *,
    device: torch.device | str,
) -> PairFunction:
    """Return a paired metric's function; `WeightsError` names a file that does not fit."""
    metric = PAIRED[name]
    if metric.function is not None:
        return metric.function
    assert metric.network is not None, f"{name} has neither a function nor a network"
    network = metric.network()
    backbone, heads = metric.weights
    network.load(
        states[backbone],
        states[heads],
        backbone_origin=str(paths[backbone]),
        heads_origin=str(paths[heads]),
    )
    network.eval()
    network.to(device)
    return network.compare_bytes


def mean_figure(
    name: str,
    each: Sequence[float],
    *,
    resamples: int,
    seed: int,
    groups: Sequence[str] = (),
) -> Figure:
    """Return the mean of a paired metric over the pictures, and what it rests on.

    `groups`: of each picture, where intervals are to be drawn over groups; else empty.
    """
    details: dict[str, Any] = {"images": len(each)}
    if groups:
        details["groups"] = len(set(groups))
    if resamples:
        bounds = mean_interval(each, resamples=resamples, seed=seed, groups=groups)
        details["interval"] = list(bounds)
        units = f"{len(set(groups))} groups" if groups else "images"
        details["interval_method"] = f"bootstrap over {units}, {resamples} resamples"
    if (more := PAIRED[name].details) is not None:
        details |= more(each)
    return Figure(sum(each) / len(each), details)


def _named(images: Images, kind: str, names: Sequence[str]) -> Pictures:
    """Return the images with what messages call them: files by their paths."""
    if isinstance(images, Files):
        return Pictures(images, [str(path) for path in images.paths])
    return Pictures(images, [f"{kind} {name}" for name in names])
