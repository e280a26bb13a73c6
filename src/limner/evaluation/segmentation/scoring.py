"""The segmentation score of a folder of generated pictures, beside that of the real photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import ConfigError
from limner.evaluation.pictures import Coloured, Files, Images, Pictures
from limner.evaluation.segmentation.classmaps import ClassMap, identity, load_class_map
from limner.evaluation.segmentation.confusion import class_scores, confusion, intervals
from limner.evaluation.segmentation.labelmaps import (
    Labels,
    Scene,
    digest,
    label_files,
    read_ids,
    scenes,
    scenes_in_memory,
)
from limner.evaluation.segmentation.predict import predict
from limner.evaluation.segmentation.protocols import Protocol, protocol
from limner.evaluation.segmentation.resizing import Size, resized
from limner.evaluation.segmentation.segmenters import (
    Segmenter,
    callable_segmenter,
    load_segmenter,
)
from limner.evaluation.spectrum import Look, look, mean_look
from limner.evaluation.weights import Progress

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
    """What was found of one set of pictures: a matrix and a look a picture, and sizes."""

    matrices: list[Tensor] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)

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
            "segmented_sizes": dict(self.given.most_common()),
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

    Raises `ConfigError` and `WeightsError`, before any picture is read.
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
    """Refuse label maps that cannot be scored before the pictures of these names are made.

    Raises `DataError` where one is missing, unreadable or holds an id that the class map lacks.
    """
    for scene in scenes_in_memory(names, task.labels):
        ids = read_ids(scene.label)
        if task.class_map is not None:
            task.class_map.of_labels(ids, name=str(scene.label))


@dataclass
class Found:
    """The outcome of `score`: both sides, the scenes, the class map that was used."""

    real: Side
    fake: Side
    scenes: list[Scene]
    class_map: ClassMap
    label_sizes: Counter[str]
    done: dict[str, dict[str, int]]


def score(task: Segmentation, real: Path, fake: Path, *, progress: Progress | None = None) -> Found:
    """Segment the pictures in `fake` and the photos in `real`, and compare with the label maps.

    One picture at a time, so the figures depend on no batch size. Raises `DataError` for what has
    no partner and for label maps that cannot be read or hold unknown ids.
    """
    found = scenes(real, fake, task.labels)
    return score_pictures(
        task,
        found,
        Files([scene.real for scene in found]),
        Files([scene.fake for scene in found]),
        same=[scene.real.samefile(scene.fake) for scene in found],
        progress=progress,
    )


def score_pictures(
    task: Segmentation,
    found: list[Scene],
    real: Images,
    fake: Images,
    *,
    same: Sequence[bool] = (),
    progress: Progress | None = None,
) -> Found:
    """Do the work of `score` on pictures that were read or made already, in the scenes' order.

    `same` says of which scenes photo and picture are one, so that it is segmented once.
    """
    sides = {"real": Side(), "fake": Side()}
    pictures = {
        "real": Pictures(real, [str(scene.real) for scene in found]),
        "fake": Pictures(fake, [str(scene.fake) for scene in found]),
    }
    coloured = {kind: Coloured(one) for kind, one in pictures.items()}
    mapped, label_sizes = task.class_map, Counter[str]()
    for index, scene in enumerate(found):
        ids = read_ids(scene.label)
        label_size = (ids.shape[0], ids.shape[1])
        label_sizes[_text(label_size)] += 1
        shown = {kind: coloured[kind][index] for kind in sides}
        generated = (shown["fake"].shape[1], shown["fake"].shape[2])
        for kind, side in sides.items():
            picture = shown[kind]
            given = task.protocol.prepare(
                picture, label=label_size, generated=generated, size=task.size
            )
            side.sizes[_text(picture.shape[1:])] += 1
            side.given[_text(given.shape[1:])] += 1
            # Spectra are compared at one size, that of the generated picture.
            side.looks.append(look(resized(picture, generated)))
            if kind == "fake" and same and same[index]:
                side.matrices.append(sides["real"].matrices[-1])
                continue
            name = pictures[kind].names[index]
            channels, count = predict(task.segmenter, given, size=label_size, name=name)
            mapped = mapped or identity(count, void=task.void)
            side.matrices.append(
                confusion(
                    mapped.of_labels(ids, name=str(scene.label)),
                    mapped.of_outputs(channels, count=count),
                    classes=len(mapped.classes),
                )
            )
        if progress is not None:
            progress(index + 1, len(found), WORK)
    assert mapped is not None, "there is at least one scene"
    done = {kind: one.done for kind, one in pictures.items()}
    return Found(sides["real"], sides["fake"], found, mapped, label_sizes, done)


def _text(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]}"
