"""A run measured on a split, from files or in memory, and what its figures came out of.

`evaluate` translates every pair, keeps the pictures and measures the files. `measure_translations`,
the validation of a training, measures the same 8-bit pictures before they are files; generator,
seed, order and metrics are the same, and so are the figures.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from limner import __version__, files
from limner.config import Config
from limner.data import PairedDataset
from limner.errors import LockedError
from limner.evaluation.measure import RESAMPLES, SEED, compare_folders, measure, versions
from limner.evaluation.metrics import PAIRED, Scores, check_measurable, chosen
from limner.evaluation.own_units import OwnUnits, measure_sample, own_units
from limner.evaluation.provenance import (
    RESULTS,
    Evaluation,
    earlier,
    pictures_digest,
    provenance_of,
    read_evaluation,
)
from limner.evaluation.segmentation.label_files import scenes_in_memory
from limner.evaluation.segmentation.scoring import (
    Segmentation,
    check_alignment,
    check_labels,
    score_pictures,
    with_segmentation,
    without_seg,
)
from limner.inference import (
    Translator,
    open_pairs,
    picture_suffix,
    shown_source,
    to_bytes,
    write_picture,
)
from limner.networks.pretrained import Progress
from limner.sheets import spread, wide_sheet

logger = logging.getLogger(__name__)

SHEET_ROWS = 12


def evaluate(
    run: Path,
    data: Path,
    *,
    split: str = "test",
    metrics: Sequence[str] = ("l1", "psnr", "ssim"),
    checkpoint: str = "best",
    weights: Path | None = None,
    device: str | torch.device = "cpu",
    seed: int = SEED,
    progress: Progress | None = None,
    command: str = "",
    reuse: bool = False,
    segmentation: Segmentation | None = None,
    statistics: Literal["running", "batch"] | None = None,
    dropout: bool | None = None,
) -> Evaluation:
    """Translate a split with a run and measure the pictures against the targets.

    RUN/evaluation/SPLIT then holds `source`, `target` and `images` (the outputs) as 8-bit files
    of equal names, `sheet.jpg`, and `results.json`. The figures are those of the files, so
    `limner compare` on the folders `target` and `images` gives them again; but for those that
    `own_units` measures of the numbers themselves. Where pairs have groups, intervals are drawn
    over these.

    Args:
        run: the run's folder.
        data: the data set; its pairs are prepared as in training, without crops or flips drawn.
        split, checkpoint: which pairs, which weights ("best", "newest" or a step).
        metrics: names of `metrics.METRICS`.
        weights: file or folder of pretrained weights.
        device: where the generator and the metrics' networks work.
        seed: of dropout, where the run keeps it on, and of KID's subsets.
        progress: called with items done, items in all, and what is being done.
        command: what the user typed, for the record.
        reuse: return the results that are there if they are provably those asked for: the same
            weights, data, settings and versions (`earlier`).
        segmentation: labels and segmenter of the metric `seg`.
        statistics, dropout: in place of the run's `inference.statistics` and `inference.dropout`.

    Returns:
        The figures asked for; its `provenance` is all that they depend on. results.json holds them,
        and beside them those that earlier evaluations measured of the very same pictures.

    Raises:
        LimnerError: run, data or weights cannot be used; an earlier evaluation then still stands.
    """
    # As in validation during training: figures are compared to the last digit.
    translator = Translator.load(
        run,
        checkpoint=checkpoint,
        device=device,
        seed=seed,
        backend="eager",
        statistics=statistics,
        dropout=dropout,
    )
    pairs = open_pairs(translator.config, data, split)
    for note in pairs.notes:
        logger.warning("%s", note)
    check_metrics(translator.config, metrics, segmentation=segmentation, images=len(pairs))
    if segmentation is not None:
        check_labels(segmentation, picture_names(pairs))
    asked: dict[str, Any] = {
        "metrics": list(dict.fromkeys(metrics)),
        "split": split,
        "seed": seed,
        "device": str(device),
    }
    instead = {"statistics": statistics, "dropout": dropout}
    asked |= {name: value for name, value in instead.items() if value is not None}
    if segmentation is not None:
        asked["segmentation"] = segmentation.record()
    basis = provenance_of(run, translator, pairs, weights=weights, asked=asked)
    folder = files.output_path(run / "evaluation", split, "", taken=set())
    with _alone(run, progress):
        if reuse and (results := earlier(folder, basis)) is not None:
            return results
        with files.replacing_folder(folder) as fresh:
            own = own_units(translator.config, pairs, metrics)
            _translate(translator, pairs, fresh, progress, own=own)
            groups = _groups(pairs)
            scores = Scores({}, {}, {})
            if rest := [name for name in metrics if own is None or name not in own.metrics]:
                scores = compare_folders(
                    fresh / "target",
                    fresh / "images",
                    metrics=rest,
                    weights=weights,
                    device=device,
                    seed=seed,
                    progress=progress,
                    segmentation=segmentation,
                    groups=groups,
                )
            if own is not None:
                scores = own.added(scores, groups=groups, seed=seed, resamples=RESAMPLES)
            results = Evaluation(
                split=split,
                checkpoint=translator.checkpoint,
                images=len(pairs),
                names=list(scores.names),
                scores=scores,
                data=str(data),
                seed=seed,
                command=command,
                version=__version__,
                provenance=basis,
                pictures=pictures_digest(fresh),
            )
            merged = results.with_earlier(read_evaluation(folder))
            files.write_text(fresh / RESULTS, json.dumps(merged.to_json(), indent=1))
    return results


@contextlib.contextmanager
def _alone(run: Path, progress: Progress | None) -> Iterator[None]:
    """Hold the lock of a run's evaluations, after another process if need be, and tidy up."""
    path = run / "evaluation" / ".lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.lock(path))
        except LockedError:
            if progress is not None:
                progress(0, 1, "waiting for another evaluation of this run")
            stack.enter_context(files.lock(path, timeout=-1))
        files.sweep(run / "evaluation")
        yield


def picture_names(pairs: PairedDataset) -> list[str]:
    """Return what the pictures of each pair are called: the pair's name, fit for a file name.

    Names of data may hold folders, be overlong or clash once they are file names; these do not.
    """
    suffix = picture_suffix(3)
    taken: set[str] = set()
    return [
        files.output_path(Path(), pair.name, suffix, taken=taken).name.removesuffix(suffix)
        for pair in pairs.pairs
    ]


def _groups(pairs: PairedDataset) -> dict[str, str] | None:
    """Return the group of each picture by its name; None where none is known.

    A pair without a group is one of its own.
    """
    if all(pair.group is None for pair in pairs.pairs):
        return None
    return {
        name: f"pair {name}" if pair.group is None else f"group {pair.group}"
        for name, pair in zip(picture_names(pairs), pairs.pairs, strict=True)
    }


def _translate(
    translator: Translator,
    pairs: PairedDataset,
    folder: Path,
    progress: Progress | None,
    *,
    own: OwnUnits | None,
) -> None:
    """Write source, target and output of every pair, and the sheet; measure them in `own`."""
    shown = spread(len(pairs), SHEET_ROWS)
    rows, names = [], picture_names(pairs)
    for index in range(len(pairs)):
        pair = pairs[index]
        picture, source = (
            translator.translate_sample(pair),
            shown_source(translator.config, pair["source"]),
        )
        if own is not None:
            measure_sample(own, names[index], translator.config, picture, pair)
        for kind, image in (
            ("source", source),
            ("target", pair["target"]),
            ("images", picture),
        ):
            suffix = picture_suffix(len(image))
            write_picture(image, folder / kind / f"{names[index]}{suffix}")
        if index in shown:
            rows.append([source, picture, pair["target"]])
        if progress is not None:
            progress(index + 1, len(pairs), "translating")
    titles = ["source", "output", "target"]
    sheet = wide_sheet(rows, titles=titles, names=[names[index] for index in shown])
    files.write_from(
        folder / "sheet.jpg",
        functools.partial(sheet.convert("RGB").save, format="JPEG", quality=90),
    )


def check_metrics(
    config: Config,
    metrics: Sequence[str],
    *,
    segmentation: Segmentation | None = None,
    images: int,
) -> None:
    """Refuse what could not be measured of the pictures of a run of `config`.

    Raises:
        ConfigError: a metric reads other channels, larger pictures or more of them, `seg` and what
            it needs do not come together, or pictures are cropped that label maps are not.
    """
    rest = without_seg(metrics, segmentation)
    data = config.data
    check_measurable(rest, channels=data.channels[1], size=data.size, images=images)
    if segmentation is not None:
        check_alignment(data.mode)


def measure_translations(
    translator: Translator,
    pairs: PairedDataset,
    *,
    metrics: Sequence[str],
    images: int | None = None,
    weights: Path | None = None,
    device: str | torch.device = "cpu",
    seed: int = SEED,
    segmentation: Segmentation | None = None,
) -> Scores:
    """Return the scores of a generator's pictures of `pairs`, without a file being written.

    Args:
        translator: the generator; dropout, where it stays on, is drawn from `seed`.
        pairs: sources and targets; the first `images` of them are measured.
        metrics, weights, device, seed, segmentation: as for `evaluate`.
    """
    translator.seed = seed
    count = min(len(pairs), images or len(pairs))
    called = picture_names(pairs)
    # The order in which a folder of these pictures is read: KID's subsets depend on it.
    own = own_units(translator.config, pairs, metrics)
    rest = without_seg(metrics, segmentation)
    rest = [name for name in rest if own is None or name not in own.metrics]
    paired = any(name in PAIRED for name in chosen(rest)) if rest else True
    suffix = "" if paired else picture_suffix(translator.config.data.channels[1])
    order = sorted(range(count), key=lambda index: called[index] + suffix)
    real, fake, names = [], [], []
    for index in order:
        pair = pairs[index]
        real.append(to_bytes(pair["target"]))
        picture = translator.translate_sample(pair)
        fake.append(to_bytes(picture))
        names.append(called[index])
        if own is not None:
            measure_sample(own, called[index], translator.config, picture, pair)
    scores = Scores({}, {}, {})
    if rest:
        scores = measure(
            real,
            fake,
            metrics=rest,
            weights=weights,
            device=device,
            seed=seed,
            names=names,
            bootstrap=0,  # training keeps the values only
        )
    if own is not None:
        scores = own.added(scores, groups=None, seed=seed, resamples=0)
    if segmentation is None:
        return scores
    scenes = scenes_in_memory(names, segmentation.labels)
    segmented = score_pictures(segmentation, scenes, real, fake)
    return with_segmentation(scores, segmentation, segmented, versions=versions(), seed=seed)
