"""A run measured on a split: translate every pair, keep the pictures, measure the files."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from limner import __version__
from limner.data import PairedDataset
from limner.evaluation import weights as store
from limner.evaluation.measure import SEED, compare_folders
from limner.evaluation.metrics import METRICS, chosen
from limner.evaluation.provenance import earlier, pictures_digest, provenance
from limner.evaluation.segmentation.results import others_than_seg, with_segmentation
from limner.evaluation.segmentation.scoring import Segmentation, check_alignment, check_labels
from limner.evaluation.sheet import wide_sheet
from limner.files import replacing, write_text
from limner.inference import Translator, open_pairs, picture_suffix, shown_source, write_picture

SHEET_ROWS = 12


def locate_weights(metrics: Sequence[str], *, weights: Path | None) -> None:
    """Find every file that the metrics need, before any work is done for them.

    Raises:
        ConfigError: a metric is unknown. WeightsError: a file is missing or not the right one.
    """
    for metric in chosen(metrics) if metrics else ():
        for need in METRICS[metric].weights:
            store.find(need, weights=weights)


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
    progress: store.Progress | None = None,
    command: str = "",
    reuse: bool = False,
    segmentation: Segmentation | None = None,
) -> dict[str, Any]:
    """Translate a split with a run and measure the pictures against the targets.

    RUN/evaluation/SPLIT then holds `source`, `target` and `images` (the outputs) as 8-bit files
    of equal names, `sheet.jpg`, and `results.json`. The figures are those of the files, so
    `limner compare` on the folders `target` and `images` gives them again.

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
            weights, data, settings and versions (`provenance.earlier`).
        segmentation: labels and segmenter of the metric `seg`.

    Returns:
        The contents of results.json; its `provenance` holds all that the figures depend on.

    Raises:
        LimnerError: run, data or weights cannot be used; an earlier evaluation then still stands.
    """
    locate_weights(others_than_seg(metrics, segmentation), weights=weights)
    # As in validation during training: figures are compared to the last digit.
    translator = Translator.load(run, checkpoint=checkpoint, device=device, backend="eager")
    translator.seed = seed
    pairs = open_pairs(translator.config, data, split)
    if segmentation is not None:
        check_alignment(translator.config.data.mode)
        check_labels(segmentation, [pair.name for pair in pairs.pairs])
    asked = {
        "metrics": list(dict.fromkeys(metrics)),
        "split": split,
        "seed": seed,
        "device": str(device),
    }
    if segmentation is not None:
        asked["segmentation"] = segmentation.record()
    basis = provenance(run, translator, pairs, weights=weights, asked=asked)
    folder = run / "evaluation" / split
    if reuse and (found := earlier(folder, basis)) is not None:
        return found
    fresh = folder.with_name(f".{split}.writing")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _translate(translator, pairs, fresh, progress)
        target, images = fresh / "target", fresh / "images"
        scores = with_segmentation(
            metrics,
            target,
            images,
            segmentation=segmentation,
            others=lambda rest: compare_folders(
                target,
                images,
                metrics=rest,
                weights=weights,
                device=device,
                seed=seed,
                progress=progress,
            ),
            seed=seed,
            progress=progress,
        )
        results = {
            "split": split,
            "checkpoint": translator.checkpoint,
            "images": len(pairs),
            "names": list(scores.names),
            "scores": scores.to_json(),
            "data": str(data),
            "seed": seed,
            "command": command,
            "version": __version__,
            "provenance": basis,
            "pictures": pictures_digest(fresh),
        }
        write_text(fresh / "results.json", json.dumps(results, indent=1))
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _replace_folder(fresh, folder)
    return results


def _translate(
    translator: Translator, pairs: PairedDataset, folder: Path, progress: store.Progress | None
) -> None:
    """Write source, target and output of every pair, and the sheet."""
    shown = {round(row * (len(pairs) - 1) / max(1, SHEET_ROWS - 1)) for row in range(SHEET_ROWS)}
    rows, names = [], []
    for index in range(len(pairs)):
        pair = pairs[index]
        picture, source = translator.of(pair), shown_source(translator.config, pair["source"])
        for kind, image in (
            ("source", source),
            ("target", pair["target"]),
            ("images", picture),
        ):
            write_picture(image, folder / kind / f"{pair['name']}{picture_suffix(len(image))}")
        if index in shown:
            rows.append([source, picture, pair["target"]])
            names.append(pair["name"])
        if progress is not None:
            progress(index + 1, len(pairs), "translating")
    sheet = wide_sheet(rows, titles=["source", "output", "target"], names=names)
    with replacing(folder / "sheet.jpg") as temporary:
        sheet.convert("RGB").save(temporary, format="JPEG", quality=90)


def _replace_folder(fresh: Path, folder: Path) -> None:
    """Put a finished folder where an earlier one may stand."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
