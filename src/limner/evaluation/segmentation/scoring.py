"""The segmentation score of generated pictures, beside that of the real photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import ConfigError, memory_errors
from limner.evaluation.image_sets import Coloured, Files, Images, Pictures
from limner.evaluation.metrics import SEG, Scores
from limner.evaluation.segmentation.classes import ClassMap, identity, load_class_map
from limner.evaluation.segmentation.confusion import (
    FIGURES,
    class_scores,
    confusion,
    intervals,
)
from limner.evaluation.segmentation.label_files import (
    Labels,
    Scene,
    digest,
    label_files,
    read_ids,
    scenes,
    scenes_in_memory,
)
from limner.evaluation.segmentation.looks import Look, distances, look, mean_look, warning
from limner.evaluation.segmentation.protocols import Protocol, Size, protocol, resized
from limner.evaluation.segmentation.segmenters import (
    PADDING,
    RESAMPLING,
    Segmenter,
    callable_segmenter,
    load_segmenter,
    predict,
)
from limner.networks.pretrained import Progress

WORK = "segmenting"


@dataclass(frozen=True)
class Segmentation:
    """What a segmentation score needs, made by `segmentation`, which checks it."""

    segmenter: Segmenter
    labels: Labels
    class_map: ClassMap | None
    size: Size | None
    void: tuple[int, ...]
    protocol_name: str
    protocol: Protocol

    def record(self) -> dict[str, Any]:
        """Return what the score rests on, in plain values: for results.json, and to compare."""
        return {
            "segmenter": self.segmenter.about,
            "protocol": self.protocol_name,
            "segmentation_size": None if self.size is None else _text(self.size),
            "class_map": None if self.class_map is None else self.class_map.to_json(),
            "void": list(self.void),
            "labels_sha256": digest(label_files(self.labels)),
        }


@dataclass
class Side:
    """What one set gave of pictures: a matrix and a look a picture, and sizes."""

    matrices: list[Tensor] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    segmented: Counter[str] = field(default_factory=Counter)

    def to_json(self, *, seed: int) -> dict[str, Any]:
        """Return figures, intervals, the matrix, the look and the sizes as plain numbers."""
        stack = torch.stack(self.matrices)
        return {
            **class_scores(stack.sum(0)).to_json(),
            "intervals": {k: list(v) for k, v in intervals(stack, seed=seed).items()},
            "confusion": stack.sum(0).tolist(),
            "pixel_accuracy_per_image": [class_scores(one).pixel_accuracy for one in stack],
            **mean_look(self.looks).to_json(),
            "picture_sizes": dict(self.sizes.most_common()),
            "segmented_sizes": dict(self.segmented.most_common()),
        }


def segmentation(
    *,
    segmenter: str | Path | Segmenter | Callable[[Tensor], Tensor],
    labels: Labels,
    class_map: str | ClassMap | None = None,
    size: Size | None = None,
    void: Sequence[int] = (),
    protocol_name: str = "plain",
    trust_torchscript: bool = False,
    device: torch.device | str = "cpu",
) -> Segmentation:
    """Return what a segmentation score needs, loaded and checked.

    `segmenter` is a file, folder or hub name (`load_segmenter`), a `Segmenter`, or a callable from
    float32 RGB in [0, 1], N x 3 x H x W, to scores N x C x h x w. `labels` is the folder of label
    maps, or their files. `class_map` is a name or file (`load_class_map`); without one the labels
    are numbered as the segmenter's outputs, or mapped as the protocol says. `size` (height, width)
    is that at which pictures are segmented. Label ids in `void` are left out. `protocol_name` is
    one of `PROTOCOLS`.

    Raises:
        ConfigError: something is not as said above; before any picture is read.
        WeightsError: the segmenter cannot be loaded.
    """
    chosen = protocol(protocol_name)
    if size is not None and min(size) < 1:
        raise ConfigError(f"--segmentation-size {size[0]}x{size[1]}: give HEIGHTxWIDTH from 1x1")
    if negative := [value for value in void if value < 0]:
        raise ConfigError(f"--void {negative[0]} is no label id: ids are whole numbers from 0")
    if class_map is None:
        class_map = chosen.class_map
    mapped = load_class_map(class_map) if isinstance(class_map, str) else class_map
    if isinstance(segmenter, str | Path):
        segmenter = load_segmenter(segmenter, device=device, trust_torchscript=trust_torchscript)
    elif not isinstance(segmenter, Segmenter):
        segmenter = callable_segmenter(segmenter, device=device)
    return Segmentation(
        segmenter=segmenter,
        labels=labels,
        class_map=mapped.without(void) if mapped is not None else None,
        size=size,
        void=tuple(void),
        protocol_name=protocol_name,
        protocol=chosen,
    )


def check_alignment(mode: str) -> None:
    """Raise `ConfigError` where pictures prepared by `data.mode` show a part of their label map."""
    if mode == "crop":
        raise ConfigError(
            "data.mode crop measures the middle of each picture, and the label maps show all of "
            "it: translate whole pictures with `limner translate` and give them to `limner compare`"
        )


def check_labels(task: Segmentation, names: Sequence[str]) -> None:
    """Refuse label maps that cannot be scored before the pictures of these names are translated.

    Raises:
        DataError: one is missing, unreadable or holds an id that the class map lacks.
    """
    for scene in scenes_in_memory(names, task.labels):
        ids = read_ids(scene.label)
        if task.class_map is not None:
            task.class_map.of_labels(ids, name=str(scene.label))


@dataclass
class Segmented:
    """The outcome of a score: both sides, the scenes, the class map that was used."""

    real: Side
    fake: Side
    scenes: list[Scene]
    class_map: ClassMap
    label_sizes: Counter[str]
    done: dict[str, dict[str, int]]


def score_folders(
    task: Segmentation, real: Path, fake: Path, *, progress: Progress | None = None
) -> Segmented:
    """Segment the pictures in `fake` and the photos in `real`, and compare with the label maps.

    One picture at a time, so the figures depend on no batch size.

    Raises:
        DataError: something has no partner, or a label map cannot be read or holds unknown
            ids.
    """
    matched = scenes(real, fake, task.labels)
    return score_pictures(
        task,
        matched,
        Files([scene.real for scene in matched]),
        Files([scene.fake for scene in matched]),
        same=[scene.real.samefile(scene.fake) for scene in matched],
        progress=progress,
    )


@memory_errors("segmenting pictures", cure="give a smaller segmenter, or a smaller size for it")
def score_pictures(
    task: Segmentation,
    pairs: list[Scene],
    real: Images,
    fake: Images,
    *,
    same: Sequence[bool] = (),
    progress: Progress | None = None,
) -> Segmented:
    """Do the work of `score_folders` on pictures that are read already, in the scenes' order.

    `same` says of which scenes photo and picture are one, so that it is segmented once.
    """
    sides = {"real": Side(), "fake": Side()}
    pictures = {
        "real": Pictures(real, [str(scene.real) for scene in pairs]),
        "fake": Pictures(fake, [str(scene.fake) for scene in pairs]),
    }
    coloured = {kind: Coloured(one) for kind, one in pictures.items()}
    mapped, label_sizes = task.class_map, Counter[str]()
    for index, scene in enumerate(pairs):
        ids = read_ids(scene.label)
        label_size = (ids.shape[0], ids.shape[1])
        label_sizes[_text(label_size)] += 1
        shown = {kind: coloured[kind][index] for kind in sides}
        generated = (shown["fake"].shape[1], shown["fake"].shape[2])
        for kind, side in sides.items():
            picture = shown[kind]
            prepared = task.protocol.prepare(
                picture, label=label_size, generated=generated, size=task.size
            )
            side.sizes[_text(picture.shape[1:])] += 1
            side.segmented[_text(prepared.shape[1:])] += 1
            # Spectra are compared at one size, that of the generated picture.
            side.looks.append(look(resized(picture, generated)))
            if kind == "fake" and same and same[index]:
                side.matrices.append(sides["real"].matrices[-1])
                continue
            name = pictures[kind].names[index]
            channels, count = predict(task.segmenter, prepared, size=label_size, name=name)
            mapped = mapped or identity(count, void=task.void)
            side.matrices.append(
                confusion(
                    mapped.of_labels(ids, name=str(scene.label)),
                    mapped.of_outputs(channels, count=count),
                    classes=len(mapped.classes),
                )
            )
        if progress is not None:
            progress(index + 1, len(pairs), WORK)
    assert mapped is not None, "there is at least one scene"
    done = {kind: one.done for kind, one in pictures.items()}
    return Segmented(sides["real"], sides["fake"], pairs, mapped, label_sizes, done)


def without_seg(metrics: Sequence[str], segmentation: Segmentation | None) -> list[str]:
    """Return the metrics less `seg`; `ConfigError` unless it and what it needs come together."""
    if SEG in metrics and segmentation is None:
        raise ConfigError("seg needs label maps and a segmenter: say --labels and --segmenter")
    if SEG not in metrics and segmentation is not None:
        raise ConfigError("a segmenter serves the metric seg alone: add seg to --metrics")
    return [name for name in metrics if name != SEG]


def with_segmentation(
    scores: Scores,
    task: Segmentation,
    segmented: Segmented,
    *,
    versions: dict[str, str],
    seed: int = 0,
) -> Scores:
    """Return `scores` with the segmentation figures of the generated pictures among its values.

    `seed` draws the bootstrap intervals. `details` of each figure has the real photos' under
    `real`, its interval and a note; `details["seg"]` all the rest, with both confusion matrices and
    the warning, if one is due.
    """
    real, fake = segmented.real.to_json(seed=seed), segmented.fake.to_json(seed=seed)
    details: dict[str, dict[str, Any]] = {}
    for name in FIGURES:
        details[name] = {
            "images": len(segmented.scenes),
            "real": real[name],
            "interval": fake["intervals"][name],
            "interval_method": "percentile bootstrap over the pictures",
            "note": f"the real photos: {real[name]:.4f}",
        }
    contradiction = warning(
        real_accuracy=real["pixel_accuracy"],
        fake_accuracy=fake["pixel_accuracy"],
        one_class=max(fake["pixels"]) / max(1, sum(fake["pixels"])),
        real=_look(real),
        fake=_look(fake),
        values=scores.values,
    )
    details["pixel_accuracy"]["look"] = _looks(real, fake)
    if contradiction:
        details["pixel_accuracy"]["warning"] = contradiction
    details[SEG] = {
        **task.record(),
        "protocol_about": task.protocol.about,
        "padding": f"{PADDING}, up to multiples of {task.segmenter.multiple}",
        "resampling": RESAMPLING,
        "label_sizes": dict(segmented.label_sizes.most_common()),
        "class_map": segmented.class_map.to_json(),
        "confusion_rows": list(segmented.class_map.classes),
        "confusion_columns": [*segmented.class_map.classes, "none of the classes"],
        "names": [scene.name for scene in segmented.scenes],
        "fake": fake,
        "real": real,
        "done_to_images": segmented.done,
        "distances": distances(scores.values),
        "seed": seed,
        "notes": _notes(segmented, real, fake),
        "warning": contradiction,
    }
    if "run" not in scores.details:
        details["run"] = {"device": str(task.segmenter.device), "versions": versions}
    return replace(
        scores,
        values={**scores.values, **{name: fake[name] for name in FIGURES}},
        per_image={**scores.per_image, "pixel_accuracy": fake["pixel_accuracy_per_image"]},
        details={**scores.details, **details},
        names=scores.names or tuple(scene.fake.stem for scene in segmented.scenes),
    )


def _look(side: dict[str, Any]) -> Look:
    return Look(*(side[k] for k in ("spectrum_slope", "sharpness", "colourfulness")))


def _looks(real: dict[str, Any], fake: dict[str, Any]) -> str:
    """Return the look of the pictures beside that of the photos, for the report's table."""
    names = ("spectrum_slope", "sharpness", "colourfulness")
    looks = (f"{k.replace('_', ' ')} {fake[k]:.2f} (real photos {real[k]:.2f})" for k in names)
    return ", ".join(looks)


def _notes(segmented: Segmented, real: dict[str, Any], fake: dict[str, Any]) -> list[str]:
    """Return what a reader of the figures must know."""
    notes = []
    absent = [
        name
        for name, pixels in zip(segmented.class_map.classes, fake["pixels"], strict=True)
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


def _text(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]}"
