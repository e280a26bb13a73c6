"""Data folders are recognised, not declared: a folder and a split become pairs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.data.decode import EXTENSIONS
from limner.data.description import DIRECTIONS, checked_direction, read_description
from limner.data.manifest import manifest_in, read_manifest
from limner.data.pairs import (
    Pair,
    Unmatched,
    images_in,
    in_order,
    matched,
    matched_frames,
    side_by_side,
)
from limner.data.pairs import frame as frame_of
from limner.errors import DataError
from limner.files import listed

SPLITS = ("train", "val", "test")

# The two folders of a split, source first; then, where there may be some, those of instance maps
# and of masks.
FOLDERS = (
    ("{split}/source", "{split}/target", "{split}/instance", "{split}/mask"),
    ("{split}/A", "{split}/B", None, "{split}/mask"),
    ("{split}A", "{split}B", None, None),
    ("{split}_A", "{split}_B", "{split}_inst", "{split}_mask"),
    ("{split}/label", "{split}/photo", "{split}/instance", "{split}/mask"),
    ("source/{split}", "target/{split}", "instance/{split}", "mask/{split}"),
    ("A/{split}", "B/{split}", None, "mask/{split}"),
    ("label/{split}", "photo/{split}", "instance/{split}", "mask/{split}"),
)
# Folders of instance maps beside those of label maps, by the latter's name.
_BESIDE = (("label", "instance"), ("label", "inst"), ("source", "instance"))
# What ends the names of the label maps of Cityscapes; the first that is there is taken.
_LABEL_IDS = ("_labelIds", "_labelTrainIds")
_ADE20K = "ADEChallengeData2016"
_ADE20K_SPLITS = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class Split:
    """A split that was recognised: `pairs` reads it, in direction AtoB.

    `missing` is the folder that lacks where only one of two is there. Files that cannot be matched
    raise, or are added to the list that `pairs` is given and left out.
    """

    pairs: Callable[[Unmatched], list[Pair]]
    missing: Path | None = None


Splits = dict[str, Split]


@dataclass(frozen=True)
class Layout:
    """A form of data folder: what it looks like, and what finds its splits in a folder.

    A layout that `decides` is the only one looked at where it finds anything.
    """

    looks_like: str
    find: Callable[[Path], Splits]
    decides: bool = False


def find_pairs(
    root: Path, split: str, *, direction: str | None, unmatched: Unmatched = None
) -> list[Pair]:
    """Find the pairs of a split of the data folder (or the manifest) `root`, in natural order.

    Direction AtoB leads from left to right, from A to B, from source to target as they are named
    and from label to photo; BtoA back. None takes the direction from `dataset.yaml`, else AtoB.
    Files that cannot be matched are added to `unmatched` where it is given, and left out.

    Raises:
        DataError: a folder is missing or in no known layout, a split is unknown or empty, or files
            cannot be matched; the sentence has the cure.
    """
    if direction is not None:
        checked_direction(direction)
    recognised = _recognised(root)
    if split not in recognised:
        known = ", ".join(_complete(recognised)) or "none"
        raise DataError(f"{root} has no split {split!r}: it has {known}")
    missing = recognised[split].missing
    if missing is not None and unmatched is None:
        raise DataError(f"{missing} is missing: it must hold the other image of every pair")
    pairs = in_order(recognised[split].pairs(unmatched))
    chosen = direction or read_description(root).direction or DIRECTIONS[0]
    return [pair.swapped() for pair in pairs] if chosen == "BtoA" else pairs


def splits(root: Path) -> list[str]:
    """Return the names of the splits of a data folder: train, val, test, then any others."""
    return _complete(_recognised(root))


def known_splits(root: Path) -> list[str]:
    """Return the names of all splits, those of which one folder lacks among them."""
    return _ordered(_recognised(root))


def _complete(recognised: Splits) -> list[str]:
    return _ordered(name for name, split in recognised.items() if split.missing is None)


def _ordered(names: Iterable[str]) -> list[str]:
    order = {name: place for place, name in enumerate(SPLITS)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def _recognised(root: Path) -> Splits:
    if not root.exists():
        raise DataError(f"data folder {root} does not exist: give the folder that holds the splits")
    if not root.is_dir() and (not root.is_file() or root.suffix.lower() != ".csv"):
        kind = "a file" if root.is_file() else "a pipe or a device"
        raise DataError(f"{root} is {kind}: give the data folder, or a CSV manifest")
    whole: dict[str, tuple[Split, str]] = {}
    partial: Splits = {}
    for layout in LAYOUTS:
        for name, split in layout.find(root).items():
            if split.missing is not None:
                partial.setdefault(name, split)
            elif name in whole:
                raise DataError(
                    f"split {name!r} of {root} can be read in two ways, as {whole[name][1]} and "
                    f"as {layout.looks_like}: move one of them away"
                )
            else:
                whole[name] = (split, layout.looks_like)
        if whole and layout.decides:
            break
    recognised = partial | {name: split for name, (split, _) in whole.items()}
    if not recognised:
        known = "; ".join(layout.looks_like for layout in LAYOUTS)
        inside = root.is_dir() and (root.name in SPLITS or bool(images_in(root)))
        hint = " (images lie right in it: perhaps the folder above is meant)" if inside else ""
        raise DataError(f"{root} is in no layout that is known{hint}; known are: {known}")
    return recognised


def _find_manifest(root: Path) -> Splits:
    path = manifest_in(root)
    if path is None:
        return {}
    rows = read_manifest(path)
    if not rows:
        raise DataError(f"{path} lists no pairs: add a row for each, under source,target,split")
    return {name: Split(pairs=lambda unmatched, name=name: rows[name]) for name in rows}


def _in_two_folders(
    places: Mapping[str, Sequence[Path | None]], read: Callable[..., list[Pair]]
) -> Splits:
    """Return the splits whose images lie in two folders, where one of these is there.

    Args:
        places: the folders of each split by its name, the two of its images first.
        read: returns the pairs in such folders, given all of them and what cannot be matched.
    """
    recognised = {}
    for name, folders in places.items():
        lacking = [folder for folder in folders[:2] if folder is not None and not folder.is_dir()]
        if len(lacking) < 2:
            pairs = functools.partial(read, *folders)
            recognised[name] = Split(pairs, missing=lacking[0] if lacking else None)
    return recognised


def _find_folders(root: Path, *, forms: Sequence[str | None]) -> Splits:
    """Find splits in the folders of one of `FOLDERS`."""
    places = {
        name: [None if form is None else root / form.format(split=name) for form in forms]
        for name in SPLITS
    }
    return _in_two_folders(places, matched)


def _find_label_folders(root: Path) -> Splits:
    """Find `train_label`, `train_img` and perhaps `train_inst` (pix2pixHD, SPADE, COCO-Stuff)."""

    def read(labels: Path, photos: Path, maps: Path, unmatched: Unmatched) -> list[Pair]:
        instances = images_in(maps) if maps.is_dir() else None
        return matched_frames(_there(labels), _there(photos), instances, unmatched)

    kinds = ("label", "img", "inst")
    places = {name: [root / f"{name}_{kind}" for kind in kinds] for name in SPLITS}
    return _in_two_folders(places, read)


def _find_cityscapes(root: Path) -> Splits:
    """Find the original tree: `leftImg8bit/train/CITY`, `gtFine/train/CITY`."""

    def read(labels: Path, photos: Path, unmatched: Unmatched) -> list[Pair]:
        files = _there(labels, below=True)
        instances = [path for path in files if path.stem.endswith("_instanceIds")]
        shots = [path for path in _there(photos, below=True) if "_leftImg8bit" in path.stem]
        maps = only_label_maps(files)
        if not any(path.stem.endswith(_LABEL_IDS) for path in files):
            raise DataError(
                f"{labels} holds no files that end in {' or '.join(_LABEL_IDS)}.png: make them "
                "with cityscapesScripts"
            )
        return matched_frames(maps, shots, instances or None, unmatched)

    places = {name: [root / "gtFine" / name, root / "leftImg8bit" / name] for name in SPLITS}
    return _in_two_folders(places, read)


def _find_ade20k(root: Path) -> Splits:
    """Find `images/training` and `annotations/training`, here or in ADEChallengeData2016."""

    def read(labels: Path, photos: Path, unmatched: Unmatched) -> list[Pair]:
        return matched_frames(_there(labels), _there(photos), None, unmatched)

    home = root / _ADE20K if (root / _ADE20K).is_dir() else root
    places = {
        name: [home / "annotations" / folder, home / "images" / folder]
        for name, folder in _ADE20K_SPLITS.items()
    }
    return _in_two_folders(places, read)


def _there(folder: Path, *, below: bool = False) -> list[Path]:
    """Return the images of a folder; of none where it lacks, which only `unmatched` lets pass."""
    return images_in(folder, below=below) if folder.is_dir() else []


def _find_side_by_side(root: Path) -> Splits:
    recognised: Splits = {}
    for name in SPLITS:
        folder = root / name
        if not folder.is_dir():
            continue
        # A folder with subfolders and no images is some other layout, not an empty split.
        holds_folders = any(path.is_dir() for path in listed(folder))
        if images_in(folder) or not holds_folders:
            recognised[name] = Split(functools.partial(side_by_side, folder))
    return recognised


# Looked at in this order; add a layout by adding a line.
LAYOUTS = (
    Layout("a manifest.csv with source,target,split", _find_manifest, decides=True),
    *(
        Layout(
            f"folders {forms[0].format(split='train')} + {forms[1].format(split='train')}",
            functools.partial(_find_folders, forms=forms),
        )
        for forms in FOLDERS
    ),
    Layout("folders train_label + train_img (+ train_inst)", _find_label_folders),
    Layout("the Cityscapes tree leftImg8bit/train + gtFine/train", _find_cityscapes),
    Layout("ADE20K's images/training + annotations/training", _find_ade20k),
    Layout("train/*.jpg, each with two images side by side", _find_side_by_side),
)


def instance_beside(labels: Path, folder: Path | None = None) -> Path | None:
    """Return the instance map that belongs to a file of labels, or None.

    It lies in `folder`, or where the layouts have it: beside the label map as Cityscapes names it,
    or in a folder of instances beside that of the labels.
    """
    if folder is not None:
        return _of_one_frame(labels, folder)
    for ending in _LABEL_IDS:
        sibling = labels.with_stem(labels.stem.removesuffix(ending) + "_instanceIds")
        if sibling != labels and labels.stem.endswith(ending) and sibling.is_file():
            return sibling
    maps = (_of_one_frame(labels, place) for place in _folders_beside(labels.parent))
    return next((path for path in maps if path is not None), None)


def _of_one_frame(labels: Path, folder: Path) -> Path | None:
    wanted = frame_of(labels)
    if not folder.is_dir():
        return None
    near = (path for path in listed(folder) if path.suffix.lower() in EXTENSIONS)
    return next((path for path in near if frame_of(path) == wanted), None)


def _folders_beside(folder: Path) -> Iterable[Path]:
    """Yield the folders that may hold the instances of a folder of labels."""
    for label, instance in _BESIDE:
        places = []
        if folder.name.endswith(label):  # label, train_label
            places.append(folder.with_name(folder.name.removesuffix(label) + instance))
        if folder.parent.name == label:  # label/train
            places.append(folder.parent.with_name(instance) / folder.name)
        yield from (place for place in places if place.is_dir())


def only_label_maps(files: list[Path]) -> list[Path]:
    """Leave out what else a Cityscapes folder holds (instances, colours) beside its label ids."""
    kinds = ([path for path in files if path.stem.endswith(ending)] for ending in _LABEL_IDS)
    return next((maps for maps in kinds if maps), files)
