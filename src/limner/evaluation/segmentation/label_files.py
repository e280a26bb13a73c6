"""Label maps of a data set: where they lie, read as class ids, matched with pictures by name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limner.config import Config
from limner.data import Pair, find_pairs, known_table
from limner.data.decode import decode_ids
from limner.errors import ConfigError, DataError
from limner.evaluation.image_sets import listed
from limner.evaluation.segmentation.classes import SHIPPED
from limner.files import sha256
from limner.inference import default_cache_folder

# What Cityscapes adds to the name of a frame, longest first.
_SUFFIXES = ("_gtFine_labelTrainIds", "_gtFine_labelIds", "_gtCoarse_labelIds", "_leftImg8bit")
_LISTED = 10

Labels = Path | Sequence[Path]
"""A folder of label maps, or the files themselves."""


@dataclass(frozen=True)
class Scene:
    """One scene: the real photo, the generated picture and the label map, files of one name.

    The first two may be in memory: then these are the names that their files would have.
    """

    name: str
    real: Path
    fake: Path
    label: Path


def read_ids(path: Path) -> Tensor:
    """Return the label map in `path` as int64 H x W, read as training reads label maps of ids.

    Raises:
        DataError: it is a JPEG (whose values are not those that were saved), or a picture in
            colours.
    """
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise DataError(f"{path} is a JPEG, which does not keep class ids: give label maps as PNG")
    numbers = decode_ids(path)
    if len(numbers) > 2:  # alpha beside the ids says nothing
        raise DataError(
            f"{path} has {len(numbers)} channels: a label map has one, with a class id a pixel, so "
            "turn colours into ids first"
        )
    # uint16 knows few operations, int32 all.
    return numbers[0].to(torch.int32).long()


def scene_name(path: Path) -> str:
    """Return the name that the files of one scene share: the stem, less Cityscapes' suffix."""
    for suffix in _SUFFIXES:
        if path.stem.endswith(suffix):
            return path.stem.removesuffix(suffix)
    return path.stem


def label_files(labels: Labels) -> Sequence[Path]:
    """Return the files of label maps, sorted by name where a folder is given."""
    return listed(labels) if isinstance(labels, Path) else labels


def scenes(real: Path, fake: Path, labels: Labels) -> list[Scene]:
    """Return the scenes of two folders and label maps, in the order of the pictures' stems.

    Photos, pictures and label maps are matched by stem; `_leftImg8bit`, `_gtFine_labelIds` and the
    like at its end do not count. Label maps may be more than pictures.

    Raises:
        DataError: something has no partner; the message lists it.
    """
    sets = [_by_name(files) for files in (listed(real), listed(fake), label_files(labels))]
    missing = [
        f"{what} {folder} lacks {_some(sorted(wanted.keys() - files.keys()))}"
        for what, folder, files, wanted in (
            ("the folder of real photos", real, sets[0], sets[1]),
            ("the folder of generated pictures", fake, sets[1], sets[0]),
            ("the folder of label maps", _place(labels), sets[2], sets[1]),
        )
        if wanted.keys() - files.keys()
    ]
    if missing:
        raise DataError(
            f"seg needs a photo, a picture and a label map of one name for each scene: "
            f"{'; '.join(missing)}"
        )
    return [
        Scene(name, *(files[name] for files in sets))
        for name in sorted(sets[1], key=lambda k: sets[1][k].stem)
    ]


def scenes_in_memory(names: Sequence[str], labels: Labels) -> list[Scene]:
    """Return the scenes of pictures and photos of these names, in their order.

    Raises:
        DataError: one has no label map.
    """
    by_name = _by_name(label_files(labels))
    scenes_of_names = []
    for name in names:
        file = Path(f"{name}.png")
        if scene_name(file) not in by_name:
            raise DataError(f"{name} has no label map of its name in {_place(labels)}: add it")
        scenes_of_names.append(Scene(scene_name(file), file, file, by_name[scene_name(file)]))
    return scenes_of_names


def digest(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of the names and contents of files, in order."""
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.name} {sha256(path)}\n".encode())
    return total.hexdigest()


def _by_name(paths: Sequence[Path]) -> dict[str, Path]:
    by_name: dict[str, Path] = {}
    for path in paths:
        name = scene_name(path)
        if name in by_name:
            raise DataError(
                f"{by_name[name]} and {path.name} belong to one scene, {name}: keep one of them"
            )
        by_name[name] = path
    return by_name


def _place(labels: Labels) -> Path:
    return labels if isinstance(labels, Path) else labels[0].parent


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


_FOLDERS = frozenset({"label", "gtFine", "gtCoarse", "annotations"})
"""Folders of label maps in the layouts of `limner.data`; so are those that end in `_label`."""


def own_labels(config: Config, data: Path, split: str) -> tuple[Path, ...]:
    """Return the files of the label maps of a split, from which a run of `config` makes photos.

    They are the pairs' sources where the run takes label maps, or where the folder's name says
    that they are: `test/label`, `test_label`, `gtFine/test`, `annotations/validation`.

    Raises:
        ConfigError: there are none.
        DataError: a split that cannot be read.
    """
    pairs = find_pairs(data, split, direction=config.data.direction)
    apart = all(pair.source_half is None for pair in pairs)
    sources = tuple(pair.source for pair in pairs)
    if apart and (config.data.labels is not None or _named_labels(sources, data)):
        return sources
    if apart and _named_labels([pair.target for pair in pairs], data):
        raise ConfigError(
            f"seg scores photos made of label maps, and this run makes the label maps of {data}: "
            "leave seg out"
        )
    raise ConfigError(
        f"{data} has no folder of label maps that is known (test/label, test_label, gtFine/test, "
        "annotations/validation): say --labels FOLDER"
    )


def own_class_map(config: Config, data: Path, split: str) -> str:
    """Return the name of the shipped class map of a data set with `own_labels`.

    It is that of the known table of label maps that the run was trained with, or that dataset.yaml
    or the files' names and values tell.

    Raises:
        ConfigError: none does.
    """
    labels = config.data.labels
    table = labels.table if labels is not None else None
    if table is None:
        pairs: Sequence[Pair] = find_pairs(data, split, direction=config.data.direction)
        table = known_table(data, pairs, memory=default_cache_folder())
    if table in SHIPPED:
        return table
    what = f"has the label maps of {table}" if table else "is no data set that is known"
    raise ConfigError(
        f"{data} {what}, and class maps are shipped for {', '.join(SHIPPED)}: say --class-map, or "
        "--labels FOLDER if its labels are numbered as the segmenter's outputs"
    )


def _named_labels(files: Sequence[Path], root: Path) -> bool:
    """Whether all files lie in folders of label maps below `root`."""
    return all(
        any(
            part in _FOLDERS or part.endswith("_label") for part in path.parts[len(root.parts) : -1]
        )
        for path in files
    )
