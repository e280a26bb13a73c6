"""The layouts of label maps: pix2pixHD's and SPADE's folders, the Cityscapes tree, ADE20K."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from limner.data.decode import EXTENSIONS
from limner.data.pairs import Pair, Split, images_in, listed, natural
from limner.errors import DataError

# What the names of Cityscapes' files add to the frame.
_KIND = re.compile(r"_(leftImg8bit|gt(?:Fine|Coarse)_[A-Za-z]+)$")
_LABEL_IDS = "_labelIds"
_ADE20K = "ADEChallengeData2016"
_ADE20K_SPLITS = {"train": "training", "val": "validation"}

# Folders of instance maps beside those of label maps, by the latter's name.
_BESIDE = (("label", "instance"), ("label", "inst"), ("source", "instance"))


def frame(path: Path) -> str:
    """Return the stem of a file without Cityscapes' suffix: what one scene's files share."""
    return _KIND.sub("", path.stem)


def find_label_folders(root: Path) -> dict[str, Split]:
    """Find `train_label`, `train_img` and perhaps `train_inst` (pix2pixHD, SPADE, COCO-Stuff)."""
    found = {}
    for split in ("train", "val", "test"):
        folders = tuple(root / f"{split}_{kind}" for kind in ("label", "img", "inst"))
        labels, photos, instances = folders
        lacking = [folder for folder in (labels, photos) if not folder.is_dir()]
        if len(lacking) < 2:
            found[split] = Split(
                pairs=lambda labels=labels, photos=photos, instances=instances: joined(
                    images_in(labels), images_in(photos), _maybe(instances)
                ),
                missing=lacking[0] if lacking else None,
            )
    return found


def find_cityscapes(root: Path) -> dict[str, Split]:
    """Find the original tree: `leftImg8bit/train/CITY`, `gtFine/train/CITY`."""
    found = {}
    for split in ("train", "val", "test"):
        photos, labels = root / "leftImg8bit" / split, root / "gtFine" / split
        lacking = [folder for folder in (labels, photos) if not folder.is_dir()]
        if len(lacking) < 2:
            found[split] = Split(
                pairs=lambda photos=photos, labels=labels: joined(
                    labels.glob(f"*/*{_LABEL_IDS}.png"),
                    photos.glob("*/*_leftImg8bit.*"),
                    list(labels.glob("*/*_instanceIds.png")) or None,
                ),
                missing=lacking[0] if lacking else None,
            )
    return found


def find_ade20k(root: Path) -> dict[str, Split]:
    """Find `images/training` and `annotations/training`, here or in ADEChallengeData2016."""
    found = {}
    home = root / _ADE20K if (root / _ADE20K).is_dir() else root
    for split, name in _ADE20K_SPLITS.items():
        photos, labels = home / "images" / name, home / "annotations" / name
        lacking = [folder for folder in (labels, photos) if not folder.is_dir()]
        if len(lacking) < 2:
            found[split] = Split(
                pairs=lambda photos=photos, labels=labels: joined(
                    images_in(labels), images_in(photos), None
                ),
                missing=lacking[0] if lacking else None,
            )
    return found


def _maybe(folder: Path) -> list[Path] | None:
    return images_in(folder) if folder.is_dir() else None


def joined(
    labels: Iterable[Path], photos: Iterable[Path], instances: Iterable[Path] | None
) -> list[Pair]:
    """Match label maps, photos and instance maps by `frame`.

    Raises `DataError` that lists what has no partner, and for two files of one kind and frame.
    """
    kinds = {"label map": _by_frame(labels), "photo": _by_frame(photos)}
    if instances is not None:
        kinds["instance map"] = _by_frame(instances)
    frames = {name for files in kinds.values() for name in files}
    if not frames:
        raise DataError("the folders of label maps and photos are empty: put the files there")
    lone = []
    for kind, files in kinds.items():
        without = sorted((name for name in frames if name not in files), key=natural)
        if without:
            lone.append(f"no {kind} for {listed(without)}")
    if lone:
        raise DataError(
            f"there is {' and '.join(lone)}: files are matched by name, up to the suffix after "
            "the frame, so rename or remove these"
        )
    return [
        Pair(
            name=name,
            source=path,
            target=kinds["photo"][name],
            instance=kinds["instance map"][name] if instances is not None else None,
        )
        for name, path in kinds["label map"].items()
    ]


def _by_frame(files: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(files, key=lambda path: natural(path.name)):
        if frame(path) in found:
            raise DataError(
                f"{found[frame(path)]} and {path} are of one frame: files are matched by name, so "
                "rename or remove one"
            )
        found[frame(path)] = path
    return found


def instance_beside(labels: Path, folder: Path | None = None) -> Path | None:
    """Return the instance map that belongs to a file of labels, or None.

    It lies in `folder`, or where the layouts have it: beside the label map as Cityscapes names it,
    or in a folder of instances beside that of the labels.
    """
    if folder is None:
        if labels.stem.endswith(_LABEL_IDS):
            sibling = labels.with_stem(labels.stem.removesuffix(_LABEL_IDS) + "_instanceIds")
            if sibling.is_file():
                return sibling
        for place in _folders_beside(labels.parent):
            found = instance_beside(labels, place)
            if found is not None:
                return found
        return None
    wanted = frame(labels)
    near = folder.glob(f"{_literal(wanted)}*")
    matches = [p for p in near if frame(p) == wanted and p.suffix.lower() in EXTENSIONS]
    return min(matches, default=None)


def _literal(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)


def _folders_beside(folder: Path) -> list[Path]:
    """Return the folders that may hold the instances of a folder of labels."""
    places = []
    for label, instance in _BESIDE:
        if folder.name.endswith(label):  # label, train_label
            places.append(folder.with_name(folder.name.removesuffix(label) + instance))
        if folder.parent.name == label:  # label/train
            places.append(folder.parent.with_name(instance) / folder.name)
    return [place for place in places if place.is_dir()]


def only_label_maps(files: list[Path]) -> list[Path]:
    """Leave out what else a Cityscapes folder holds (instances, colours) beside its label ids."""
    ids = [path for path in files if path.stem.endswith(_LABEL_IDS)]
    return ids or files
