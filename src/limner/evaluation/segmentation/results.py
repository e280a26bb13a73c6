"""The segmentation score among the other metrics: figures, what they rest on, and the warning."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from limner.errors import ConfigError
from limner.evaluation import guard
from limner.evaluation.metrics import Scores
from limner.evaluation.segmentation import predict
from limner.evaluation.segmentation.confusion import FIGURES
from limner.evaluation.segmentation.scoring import Found, Segmentation, score
from limner.evaluation.spectrum import Look
from limner.evaluation.weights import Progress

METRIC = "seg"
"""The name by which the command line asks for `FIGURES`."""


def with_segmentation(
    metrics: Sequence[str],
    real: Path,
    fake: Path,
    *,
    segmentation: Segmentation | None,
    others: Callable[[list[str]], Scores],
    seed: int = 0,
    progress: Progress | None = None,
) -> Scores:
    """Return the scores of the metrics other than `seg` by `others`, and those of `seg` if asked.

    `others` is given the names of the other metrics, if there are any. `seed` draws the bootstrap
    intervals. Raises `ConfigError` where `seg` was asked for without what it needs, or the reverse.
    """
    rest = others_than_seg(metrics, segmentation)
    scores = others(rest) if rest or segmentation is None else Scores({}, {}, {})
    if segmentation is None:
        return scores
    found = score(segmentation, real, fake, progress=progress)
    return merged(scores, segmentation, found, seed=seed)


def others_than_seg(metrics: Sequence[str], segmentation: Segmentation | None) -> list[str]:
    """Return the metrics less `seg`; `ConfigError` unless it and what it needs come together."""
    if METRIC in metrics and segmentation is None:
        raise ConfigError("seg needs label maps and a segmenter: say --labels and --segmenter")
    if METRIC not in metrics and segmentation is not None:
        raise ConfigError("a segmenter serves the metric seg alone: add seg to --metrics")
    return [name for name in metrics if name != METRIC]


def merged(scores: Scores, task: Segmentation, found: Found, *, seed: int = 0) -> Scores:
    """Return `scores` with the segmentation figures of the generated pictures among its values.

    `details` of each figure has the real photos' under `real`, its bootstrap interval and a note;
    `details["seg"]` all the rest, with both confusion matrices and the warning, if one is due.
    """
    real, fake = found.real.to_json(seed=seed), found.fake.to_json(seed=seed)
    details: dict[str, dict[str, Any]] = {}
    for name in FIGURES:
        details[name] = {
            "images": len(found.scenes),
            "real": real[name],
            "interval": fake["intervals"][name],
            "interval_method": "percentile bootstrap over the pictures",
            "note": f"the real photos: {real[name]:.4f}",
        }
    warning = guard.warning(
        real_accuracy=real["pixel_accuracy"],
        fake_accuracy=fake["pixel_accuracy"],
        one_class=max(fake["pixels"]) / max(1, sum(fake["pixels"])),
        real=_look(real),
        fake=_look(fake),
        values=scores.values,
    )
    details["pixel_accuracy"]["look"] = _looks(real, fake)
    if warning:
        details["pixel_accuracy"]["warning"] = warning
    details[METRIC] = {
        **task.record(),
        "protocol_about": task.protocol.about,
        "padding": f"{predict.PADDING}, up to multiples of {task.segmenter.multiple}",
        "resampling": predict.RESAMPLING,
        "label_sizes": dict(found.label_sizes.most_common()),
        "class_map": found.class_map.to_json(),
        "confusion_rows": list(found.class_map.classes),
        "confusion_columns": [*found.class_map.classes, "none of the classes"],
        "names": [scene.name for scene in found.scenes],
        "fake": fake,
        "real": real,
        "done_to_images": found.done,
        "distances": guard.distances(scores.values),
        "seed": seed,
        "notes": _notes(found, real, fake),
        "warning": warning,
    }
    if "run" not in scores.details:
        details["run"] = {"device": str(task.segmenter.device), "versions": _versions()}
    return replace(
        scores,
        values={**scores.values, **{name: fake[name] for name in FIGURES}},
        per_image={**scores.per_image, "pixel_accuracy": fake["pixel_accuracy_per_image"]},
        details={**scores.details, **details},
        names=scores.names or tuple(scene.fake.stem for scene in found.scenes),
    )


def _look(side: dict[str, Any]) -> Look:
    return Look(*(side[k] for k in ("spectrum_slope", "sharpness", "colourfulness")))


def _looks(real: dict[str, Any], fake: dict[str, Any]) -> str:
    """Return the look of the pictures beside that of the photos, for the report's table."""
    names = ("spectrum_slope", "sharpness", "colourfulness")
    told = (f"{k.replace('_', ' ')} {fake[k]:.2f} (real photos {real[k]:.2f})" for k in names)
    return ", ".join(told)


def _notes(found: Found, real: dict[str, Any], fake: dict[str, Any]) -> list[str]:
    """Return what a reader of the figures must know."""
    notes = []
    absent = [
        name
        for name, pixels in zip(found.class_map.classes, fake["pixels"], strict=True)
        if not pixels
    ]
    if absent:
        notes.append(
            f"no label shows {', '.join(absent)}: class accuracy and class IoU count such classes "
            f"as 0, as pix2pix's script does; over the classes that occur they are "
            f"{fake['class_accuracy_present']:.4f} and {fake['class_iou_present']:.4f} (the real "
            f"photos: {real['class_accuracy_present']:.4f} and {real['class_iou_present']:.4f})"
        )
    if real["segmented_sizes"] != fake["segmented_sizes"]:
        notes.append(
            "photos and generated pictures were segmented at different sizes: say "
            "--segmentation-size HxW to compare them at one"
        )
    return notes


def _versions() -> dict[str, str]:
    from limner import __version__

    packages = {name: version(name) for name in ("torch", "numpy", "pillow")}
    return {"limner": __version__, "python": platform.python_version(), **packages}
