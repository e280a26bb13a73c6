"""A pair of images, and how files become pairs: by name, never by order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from limner.data.decode import EXTENSIONS
from limner.errors import DataError

Half = Literal["left", "right"]
_SHOWN = 5  # how many names an error lists
# What the names of Cityscapes' files add to the frame.
_KIND = re.compile(r"_(leftImg8bit|gt(?:Fine|Coarse)_[A-Za-z]+)$")


@dataclass(frozen=True)
class Pair:
    """The files of one sample.

    `name` is unique in its split. Where both images stand side by side in one file, `source` and
    `target` are that file and `source_half` says which half is the source; else it is None.
    `instance` is the map of instances, where the layout has one: label maps may use it.
    """

    name: str
    source: Path
    target: Path
    source_half: Half | None = None
    instance: Path | None = None

    @property
    def target_half(self) -> Half | None:
        """Which half of the file is the target, None if it has a file of its own."""
        return {None: None, "left": "right", "right": "left"}[self.source_half]

    def swapped(self) -> Pair:
        """Return the pair in the other direction."""
        return replace(self, source=self.target, target=self.source, source_half=self.target_half)


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a sort key that counts numbers as numbers: "2" before "10"."""
    parts: list[str | int] = re.split(r"([0-9]+)", name)  # text, number, text, ...
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, name


def images_in(folder: Path) -> list[Path]:
    """Return the image files right in `folder`, hidden ones left out, in natural order."""
    found = (
        path
        for path in folder.iterdir()
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )
    return sorted(found, key=lambda path: natural(path.name))


def by_stem(folder: Path) -> dict[str, Path]:
    """Return the images of `folder` by their stems.

    Raises `DataError` where the folder holds no images, or two with the same stem.
    """
    found: dict[str, Path] = {}
    for path in images_in(folder):
        if path.stem in found:
            raise DataError(
                f"{folder} holds both {found[path.stem].name} and {path.name}: pairs are matched "
                "by stem, so rename or remove one"
            )
        found[path.stem] = path
    if not found:
        known = ", ".join(sorted(EXTENSIONS))
        raise DataError(f"{folder} holds no images: put files there that end in {known}")
    return found


def side_by_side(folder: Path) -> list[Pair]:
    """Return one pair for each image of `folder`, the source on the left."""
    return [
        Pair(name=stem, source=path, target=path, source_half="left")
        for stem, path in by_stem(folder).items()
    ]


def matched(sources: Path, targets: Path, instances: Path | None = None) -> list[Pair]:
    """Match the images of two folders by stem (case counts, extensions do not).

    `instances` may be a third folder, of the sources' instance maps; it is used where it exists.

    Raises `DataError` that lists what has no partner.
    """
    first, second = by_stem(sources), by_stem(targets)
    third = by_stem(instances) if instances is not None and instances.is_dir() else None
    lone = [
        f"{listed(names)} in {folder} without a partner in {other}"
        for names, folder, other in (
            ([name for name in first if name not in second], sources, targets),
            ([name for name in second if name not in first], targets, sources),
            ([name for name in first if third and name not in third], sources, instances),
        )
        if names
    ]
    if lone:
        raise DataError(
            f"{' and '.join(lone)}: pairs are matched by stem, so rename or remove these files"
        )
    return [
        Pair(name=stem, source=path, target=second[stem], instance=third[stem] if third else None)
        for stem, path in first.items()
    ]


def listed(names: Sequence[str]) -> str:
    """Return the first few of `names` with their count, for an error."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def in_order(pairs: Iterable[Pair]) -> list[Pair]:
    """Return pairs in natural order of their names."""
    return sorted(pairs, key=lambda pair: natural(pair.name))


def frame(path: Path) -> str:
    """Return the stem of a file without Cityscapes' suffix: what one scene's files share."""
    return _KIND.sub("", path.stem)


def matched_frames(
    labels: Iterable[Path], photos: Iterable[Path], instances: Iterable[Path] | None
) -> list[Pair]:
    """Match label maps, photos and, where there are some, instance maps by `frame`.

    Raises:
        DataError: files have no partner (they are listed), or two of one kind share a frame.
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
    frames: dict[str, Path] = {}
    for path in sorted(files, key=lambda path: natural(path.name)):
        other = frames.setdefault(frame(path), path)
        if other != path:
            raise DataError(
                f"{other} and {path} are of one frame: files are matched by name, so rename or "
                "remove one"
            )
    return frames


def odd_width(path: Path, width: int, height: int) -> str:
    """Return the sentence on an image of odd width that should hold two."""
    return f"{path} is {width}x{height}: side-by-side pairs need an even width"
