"""A run measured on a split, from files or in memory, and what its figures came out of.

`evaluate` translates every pair, keeps the pictures and measures the files. `measure_translations`,
the validation of a training, measures the same 8-bit pictures before they are files; generator,
seed, order and metrics are the same, and so are the figures.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from limner import __version__
from limner.data import PairedDataset
from limner.data.pairs import Pair
from limner.evaluation.measure import SEED, compare_folders, find_weights, measure, versions
from limner.evaluation.metrics import METRICS, PAIRED, Scores, chosen
from limner.evaluation.segmentation.label_files import scenes_in_memory
from limner.evaluation.segmentation.scoring import (
    Segmentation,
    check_alignment,
    check_labels,
    score_pictures,
    with_segmentation,
    without_seg,
)
from limner.evaluation.sheet import wide_sheet
from limner.files import replacing, write_text
from limner.inference import (
    Translator,
    checkpoint_folder,
    generator_file,
    open_pairs,
    picture_suffix,
    shown_source,
    to_bytes,
    write_picture,
)
from limner.networks import weights as pretrained
from limner.networks.weights import Progress

SHEET_ROWS = 12
KINDS = ("source", "target", "images")
"""The folders of pictures in RUN/evaluation/SPLIT."""


@dataclass(frozen=True)
class Evaluation:
    """A run's figures on a split, as RUN/evaluation/SPLIT/results.json holds them.

    `provenance` is all that the figures depend on (see `provenance`), `pictures` the digest of the
    pictures measured, `names` those of the pairs in the order of `scores.per_image`.
    """

    split: str
    checkpoint: str
    images: int
    names: list[str]
    scores: Scores
    data: str
    seed: int
    command: str
    version: str
    provenance: dict[str, Any] = field(default_factory=dict)
    pictures: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the contents of results.json."""
        return {**asdict(self), "scores": self.scores.to_json()}

    @classmethod
    def from_json(cls, results: dict[str, Any]) -> Evaluation:
        """Return the evaluation whose results.json holds `results`."""
        scores = results["scores"]
        return cls(**{**results, "scores": Scores(**{**scores, "names": tuple(scores["names"])})})


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
) -> Evaluation:
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
            weights, data, settings and versions (`earlier`).
        segmentation: labels and segmenter of the metric `seg`.

    Returns:
        What results.json holds; its `provenance` is all that the figures depend on.

    Raises:
        LimnerError: run, data or weights cannot be used; an earlier evaluation then still stands.
    """
    find_weights(without_seg(metrics, segmentation), weights=weights)
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
    if reuse and (results := earlier(folder, basis)) is not None:
        return results
    fresh = folder.with_name(f".{split}.writing")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _translate(translator, pairs, fresh, progress)
        scores = compare_folders(
            fresh / "target",
            fresh / "images",
            metrics=metrics,
            weights=weights,
            device=device,
            seed=seed,
            progress=progress,
            segmentation=segmentation,
        )
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
        write_text(fresh / "results.json", json.dumps(results.to_json(), indent=1))
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _replace_folder(fresh, folder)
    return results


def _translate(
    translator: Translator, pairs: PairedDataset, folder: Path, progress: Progress | None
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
    # The order in which a folder of these pictures is read: KID's subsets depend on it.
    rest = without_seg(metrics, segmentation)
    paired = any(name in PAIRED for name in chosen(rest)) if rest else True
    suffix = "" if paired else picture_suffix(translator.config.data.channels[1])
    order = sorted(range(count), key=lambda index: pairs.pairs[index].name + suffix)
    real, fake, names = [], [], []
    for index in order:
        pair = pairs[index]
        real.append(to_bytes(pair["target"]))
        fake.append(to_bytes(translator.of(pair)))
        names.append(pair["name"])
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
    if segmentation is None:
        return scores
    scenes = scenes_in_memory(names, segmentation.labels)
    segmented = score_pictures(segmentation, scenes, real, fake)
    return with_segmentation(scores, segmentation, segmented, versions=versions(), seed=seed)


def provenance(
    run: Path,
    translator: Translator,
    pairs: PairedDataset,
    *,
    weights: Path | None,
    asked: dict[str, Any],
) -> dict[str, Any]:
    """Return what decides the figures of an evaluation, ready for JSON.

    Hashes (SHA-256) stand for the generator's weights, config.yaml, the files of the pairs that
    are measured and the pretrained weights of the metrics. Two evaluations with equal provenance
    give equal figures on one machine.

    Args:
        run, translator: the run and its loaded generator.
        pairs: what is translated.
        weights: where the metrics' weights lie.
        asked: every keyword that decides a figure, `metrics` among them, by its name.
    """
    data = translator.config.data
    checkpoint = generator_file(checkpoint_folder(run, translator.checkpoint))
    measured = [name for name in asked["metrics"] if name in METRICS]
    files = find_weights(measured, weights=weights)
    return {
        "asked": asked,
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "generator": {
            "file": f"{checkpoint.parent.name}/{checkpoint.name}",
            "sha256": pretrained.sha256(checkpoint),
        },
        "config": {"sha256": pretrained.sha256(run / "config.yaml")},
        "pairs": {"count": len(pairs), "sha256": pairs_digest(pairs.pairs)},
        "preparation": {
            "size": list(data.size),
            "mode": data.mode,
            "direction": data.direction,
            "channels": list(data.channels),
            "convert": data.convert,
            "interpolation": list(pairs.interpolation),
        },
        "metric_weights": {
            need: {"file": path.name, "sha256": pretrained.sha256(path)}
            for need, path in files.items()
        },
    }


def pairs_digest(pairs: Iterable[Pair]) -> str:
    """Return one SHA-256 of the names and file contents of pairs, in order, wherever they lie."""
    digest = hashlib.sha256()
    for pair in pairs:
        files = [path for path in (pair.source, pair.target, pair.instance) if path is not None]
        contents = [pretrained.sha256(path) for path in dict.fromkeys(files)]
        digest.update(json.dumps([pair.name, pair.source_half, *contents]).encode())
    return digest.hexdigest()


def pictures_digest(folder: Path) -> str:
    """Return one SHA-256 of all pictures of an evaluation: their kinds, names and contents."""
    digest = hashlib.sha256()
    for kind in KINDS:
        for path in sorted((folder / kind).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                digest.update(f"{name} {pretrained.sha256(path)}\n".encode())
    return digest.hexdigest()


def earlier(folder: Path, wanted: dict[str, Any]) -> Evaluation | None:
    """Return the evaluation in RUN/evaluation/SPLIT if it is provably the one `wanted`, or None.

    Its provenance must be equal in every part, and the pictures the very ones measured.
    """
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(results, dict) and results.get("provenance") == json.loads(json.dumps(wanted))
    if not same or results.get("pictures") != pictures_digest(folder):
        return None
    return Evaluation.from_json(results)
