"""Data folders are recognised, not declared: a folder and a split become pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from limner.data.description import DIRECTIONS, checked_direction, read_description
from limner.data.labellayouts import find_ade20k, find_cityscapes, find_label_folders
from limner.data.manifest import manifest_in, read_manifest
from limner.data.pairs import Pair, Split, images_in, in_order, matched, side_by_side
from limner.errors import DataError

SPLITS = ("train", "val", "test")

# The two folders of a split, source first; then, where there may be one, that of instance maps.
FOLDERS = (
    ("{split}/source", "{split}/target", "{split}/instance"),
    ("{split}/A", "{split}/B", None),
    ("{split}A", "{split}B", None),
    ("{split}_A", "{split}_B", "{split}_inst"),
    ("{split}/label", "{split}/photo", "{split}/instance"),
    ("source/{split}", "target/{split}", "instance/{split}"),
    ("A/{split}", "B/{split}", None),
    ("label/{split}", "photo/{split}", "instance/{split}"),
)


@dataclass(frozen=True)
class Layout:
    """A form of data folder: what it looks like, and what finds its splits in a folder.

    A layout that `decides` is the only one looked at where it finds anything.
    """

    looks_like: str
    find: Callable[[Path], dict[str, Split]]
    decides: bool = False


def find_pairs(root: Path, split: str, *, direction: str | None) -> list[Pair]:
    """Find the pairs of a split of the data folder (or the manifest) `root`, in natural order.

    Direction AtoB leads from left to right, from A to B, from source to target as they are named
    and from label to photo; BtoA back. None takes the direction from `dataset.yaml`, else AtoB.

    Raises `DataError`, with the cure, for a folder that is missing or in no known layout, a split
    that is unknown or empty, and files that cannot be matched.
    """
    if direction is not None:
        checked_direction(direction)
    found = _recognised(root)
    if split not in found:
        known = ", ".join(_complete(found)) or "none"
        raise DataError(f"{root} has no split {split!r}: it has {known}")
    missing = found[split].missing
    if missing is not None:
        raise DataError(f"{missing} is missing: it must hold the other image of every pair")
    pairs = in_order(found[split].pairs())
    folder = root.parent if root.is_file() else root
    chosen = direction or read_description(folder).direction or DIRECTIONS[0]
    return [pair.swapped() for pair in pairs] if chosen == "BtoA" else pairs


def splits(root: Path) -> list[str]:
    """Return the names of the splits of a data folder: train, val, test, then any others."""
    return _complete(_recognised(root))


def _complete(found: dict[str, Split]) -> list[str]:
    names = [name for name, split in found.items() if split.missing is None]
    order = {name: place for place, name in enumerate(SPLITS)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def _recognised(root: Path) -> dict[str, Split]:
    if not root.exists():
        raise DataError(f"data folder {root} does not exist: give the folder that holds the splits")
    if root.is_file() and root.suffix.lower() != ".csv":
        raise DataError(f"{root} is a file: give the data folder, or a CSV manifest")
    whole: dict[str, tuple[Split, str]] = {}
    partial: dict[str, Split] = {}
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
    found = partial | {name: split for name, (split, _) in whole.items()}
    if not found:
        known = "; ".join(layout.looks_like for layout in LAYOUTS)
        inside = root.is_dir() and (root.name in SPLITS or bool(images_in(root)))
        hint = " (images lie right in it: perhaps the folder above is meant)" if inside else ""
        raise DataError(f"{root} is in no layout that is known{hint}; known are: {known}")
    return found


def _find_manifest(root: Path) -> dict[str, Split]:
    path = manifest_in(root)
    if path is None:
        return {}
    rows = read_manifest(path)
    if not rows:
        raise DataError(f"{path} lists no pairs: add a row for each, under source,target,split")
    return {name: Split(pairs=lambda name=name: rows[name]) for name in rows}


def _finder_of_folders(
    first: str, second: str, third: str | None
) -> Callable[[Path], dict[str, Split]]:
    def find(root: Path) -> dict[str, Split]:
        found = {}
        for split in SPLITS:
            folders = root / first.format(split=split), root / second.format(split=split)
            maps = None if third is None else root / third.format(split=split)
            lacking = [folder for folder in folders if not folder.is_dir()]
            if len(lacking) < 2:
                found[split] = Split(
                    pairs=lambda folders=folders, maps=maps: matched(*folders, maps),
                    missing=lacking[0] if lacking else None,
                )
        return found

    return find


def _find_side_by_side(root: Path) -> dict[str, Split]:
    found = {}
    for split in SPLITS:
        folder = root / split
        if not folder.is_dir():
            continue
        # A folder with subfolders and no images is some other layout, not an empty split.
        holds_folders = any(
            path.is_dir() and not path.name.startswith(".") for path in folder.iterdir()
        )
        if images_in(folder) or not holds_folders:
            found[split] = Split(pairs=lambda folder=folder: side_by_side(folder))
    return found


# Looked at in this order; add a layout by adding a line.
LAYOUTS = (
    Layout("a manifest.csv with source,target,split", _find_manifest, decides=True),
    *(
        Layout(
            f"folders {first.format(split='train')} + {second.format(split='train')}",
            _finder_of_folders(first, second, third),
        )
        for first, second, third in FOLDERS
    ),
    Layout("folders train_label + train_img (+ train_inst)", find_label_folders),
    Layout("the Cityscapes tree leftImg8bit/train + gtFine/train", find_cityscapes),
    Layout("ADE20K's images/training + annotations/training", find_ade20k),
    Layout("train/*.jpg, each with two images side by side", _find_side_by_side),
)
