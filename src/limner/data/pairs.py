"""A pair of images, and how files become pairs: by name, never by order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from limner.data.decode import EXTENSIONS
from limner.errors import DataError
from limner.files import listed, listed_tree

Half = Literal["left", "right"]
# Where files are put that have no partner, in place of an error; None for the error.
Unmatched: TypeAlias = "list[Path] | None"
_SHOWN = 5  # how many names an error lists
# What may have been meant as an image, by the ends of names.
# Pictures and numbers in forms that are not read.
_NOT_READ = {
    ".avif", ".dcm", ".exr", ".gif", ".hdr", ".heic", ".heif", ".j2k", ".jp2", ".jxl", ".mat",
    ".nii", ".npy", ".npz", ".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga",
}  # fmt: skip
# What the names of Cityscapes' files add to the frame.
_KIND = re.compile(r"_(leftImg8bit|gt(?:Fine|Coarse)_[A-Za-z]+)$")


@dataclass(frozen=True)
class Pair:
    """The files of one sample.

    `name` is unique in its split. Where both images stand side by side in one file, `source` and
    `target` are that file and `source_half` says which half is the source; else it is None.
    `more` are further files of the source, whose channels follow those of `source`.
    `instance` is the map of instances, where the layout has one: label maps may use it. `mask` is
    an image that is 0 where pixels do not count, where there is one. `group` names what several
    pairs have in common (a patient, a slide, a scene). A pair is
    `declared` where a manifest says so, rather than the form of a folder.
    """

    name: str
    source: Path
    target: Path
    source_half: Half | None = None
    instance: Path | None = None
    mask: Path | None = None
    declared: bool = False
    group: str | None = None
    more: tuple[Path, ...] = ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files of the source, in the order of their channels."""
        return (self.source, *self.more)

    @property
    def target_half(self) -> Half | None:
        """Which half of the file is the target, None if it has a file of its own."""
        return {None: None, "left": "right", "right": "left"}[self.source_half]

    def swapped(self) -> Pair:
        """Return the pair in the other direction; `DataError` where its source is several files."""
        if self.more:
            raise DataError(
                f"{self.source} is one of {len(self.sources)} sources of a pair, which become one "
                "picture's channels: leave the direction as AtoB, or list them as another manifest"
            )
        return replace(self, source=self.target, target=self.source, source_half=self.target_half)


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a sort key that counts numbers as numbers: "2" before "10"."""
    parts: list[str | int] = re.split(r"([0-9]+)", name)  # text, number, text, ...
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, name


def images_in(folder: Path, *, below: bool = False) -> list[Path]:
    """Return the image files right in `folder`, hidden ones left out, in natural order.

    With `below` those of its subfolders, too. This is the one listing of images; what it leaves
    out is told by `left_out`.

    Raises:
        DataError: a link of an image's name leads to nothing.
    """
    paths = listed_tree(folder) if below else listed(folder)
    images = [path for path in paths if path.suffix.lower() in EXTENSIONS and _is_image(path)]
    return sorted(images, key=lambda path: natural(path.relative_to(folder).as_posix()))


def _is_image(path: Path) -> bool:
    if path.is_symlink() and not path.exists():
        raise DataError(
            f"{path} is a link to {path.readlink()}, which is not there: restore that file, or "
            "remove the link"
        )
    return not path.is_dir()


def files_of(pair: Pair) -> list[Path]:
    """Return the files that a pair is made of, each once."""
    files = (*pair.sources, pair.target, pair.instance, pair.mask)
    return list(dict.fromkeys(path for path in files if path is not None))


def left_out(files: Iterable[Path]) -> str | None:
    """Return a sentence on pictures that lie beside `files` and whose form is not read.

    What could be read and stands in no pair is left out on purpose, by a manifest.
    """
    others = sorted(
        path
        for folder in {path.parent for path in files}
        for path in listed(folder)
        if path.suffix.lower() in _NOT_READ and not path.is_dir()
    )
    if not others:
        return None
    many = f"{len(others)} file{'' if len(others) == 1 else 's'}"
    return (
        f"{many} among the images {'is' if len(others) == 1 else 'are'} left out "
        f"({named([str(path) for path in others])}): what is read ends in "
        f"{', '.join(sorted(EXTENSIONS))}"
    )


def stem(path: Path, folder: Path | None = None) -> str:
    """Return the name by which a file is matched: its stem, in one form of Unicode.

    With `folder` the folders below it are part of the name, joined by "__".
    """
    parts = path.relative_to(folder).parent.parts if folder is not None else ()
    return unicodedata.normalize("NFC", "__".join([*parts, path.stem]))


def by_stem(folder: Path, *, below: bool = False, unmatched: Unmatched = None) -> dict[str, Path]:
    """Return the images of `folder` by their names (`stem`); a second of one name is unmatched.

    Raises:
        DataError: the folder holds no images, or two of one name.
    """
    names: dict[str, Path] = {}
    if unmatched is not None and not folder.is_dir():
        return names
    for path in images_in(folder, below=below):
        other = names.setdefault(stem(path, folder if below else None), path)
        if other != path and unmatched is not None:
            unmatched.append(path)
        elif other != path:
            raise DataError(
                f"{folder} holds both {other.relative_to(folder)} and {path.relative_to(folder)}: "
                "pairs are matched by stem, so rename or remove one"
            )
    if not names and unmatched is None:
        known = ", ".join(sorted(EXTENSIONS))
        raise DataError(f"{folder} holds no images: put files there that end in {known}")
    return names


def side_by_side(folder: Path, unmatched: Unmatched = None) -> list[Pair]:
    """Return one pair for each image of `folder`, the source on the left."""
    return [
        Pair(name=name, source=path, target=path, source_half="left")
        for name, path in by_stem(folder, unmatched=unmatched).items()
    ]


def matched(
    sources: Path,
    targets: Path,
    instances: Path | None = None,
    masks: Path | None = None,
    unmatched: Unmatched = None,
) -> list[Pair]:
    """Match the images of two folders and their subfolders by name: see `stem`.

    `instances` may be a third folder, of the sources' instance maps, `masks` a fourth, of the
    pairs' masks; they are used where they exist. Files without a partner are added to `unmatched`
    where it is given, and left out.

    Raises:
        DataError: files have no partner; they are listed, with the cause where it shows.
    """
    first, second = (
        by_stem(folder, below=True, unmatched=unmatched) for folder in (sources, targets)
    )
    third, fourth = (
        by_stem(folder, below=True, unmatched=unmatched)
        if folder is not None and folder.is_dir()
        else None
        for folder in (instances, masks)
    )
    lacking = [
        (names, folder, other)
        for names, folder, other in (
            ([name for name in first if name not in second], sources, targets),
            ([name for name in second if name not in first], targets, sources),
            ([name for name in first if third and name not in third], sources, instances),
            ([name for name in first if fourth and name not in fourth], sources, masks),
        )
        if names
    ]
    if lacking and unmatched is not None:
        for names, folder, _ in lacking:
            files = first if folder == sources else second
            unmatched += [files[name] for name in names if files[name] not in unmatched]
    elif lacking:
        sentence = " and ".join(
            f"{named(names)} in {folder} without a partner in {other}"
            for names, folder, other in lacking
        )
        raise DataError(
            f"{sentence}: pairs are matched by stem, so rename or remove these files"
            + _by_case(lacking[0][0], second if lacking[0][1] == sources else first)
        )
    return [
        Pair(
            name=name,
            source=path,
            target=second[name],
            instance=third.get(name) if third else None,
            mask=fourth.get(name) if fourth else None,
        )
        for name, path in first.items()
        if name in second
    ]


def _by_case(names: Sequence[str], others: Iterable[str]) -> str:
    """Return the remark that names would match but for the case of their letters."""
    folded = {name.casefold(): name for name in others}
    for name in names:
        if (other := folded.get(name.casefold())) is not None:
            return f" ({name!r} and {other!r} differ in the case of letters, which counts)"
    return ""


def spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Return up to `count` of some pairs, spread evenly over them."""
    count = min(count, len(pairs))
    return [pairs[place * len(pairs) // count] for place in range(count)]


def named(names: Sequence[str]) -> str:
    """Return the first few of `names` with their count, for an error."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def in_order(pairs: Iterable[Pair]) -> list[Pair]:
    """Return pairs in natural order of their names."""
    return sorted(pairs, key=lambda pair: natural(pair.name))


def frame(path: Path) -> str:
    """Return the name of a file without Cityscapes' suffix: what one scene's files share."""
    return _KIND.sub("", stem(path))


def matched_frames(
    labels: Iterable[Path],
    photos: Iterable[Path],
    instances: Iterable[Path] | None,
    unmatched: Unmatched = None,
) -> list[Pair]:
    """Match label maps, photos and, where there are some, instance maps by `frame`.

    Files without a partner are added to `unmatched` where it is given, and left out.

    Raises:
        DataError: files have no partner (they are listed), or two of one kind share a frame.
    """
    kinds = {"label map": _by_frame(labels, unmatched), "photo": _by_frame(photos, unmatched)}
    if instances is not None:
        kinds["instance map"] = _by_frame(instances, unmatched)
    frames = {name for files in kinds.values() for name in files}
    if unmatched is not None:
        whole = kinds["label map"].keys() & kinds["photo"].keys()
        unmatched += [
            files[name] for files in kinds.values() for name in files if name not in whole
        ]
        if instances is not None:
            unmatched += [kinds["label map"][k] for k in whole if k not in kinds["instance map"]]
        kinds["label map"] = {k: path for k, path in kinds["label map"].items() if k in whole}
        frames = set()
    elif not frames:
        raise DataError("the folders of label maps and photos are empty: put the files there")
    lacking = []
    for kind, files in kinds.items():
        without = sorted((name for name in frames if name not in files), key=natural)
        if without:
            lacking.append(f"no {kind} for {named(without)}")
    if lacking:
        raise DataError(
            f"there is {' and '.join(lacking)}: files are matched by name, up to the suffix after "
            "the frame, so rename or remove these"
        )
    return [
        Pair(
            name=name,
            source=path,
            target=kinds["photo"][name],
            instance=kinds["instance map"].get(name) if instances is not None else None,
        )
        for name, path in kinds["label map"].items()
    ]


def _by_frame(files: Iterable[Path], unmatched: Unmatched = None) -> dict[str, Path]:
    frames: dict[str, Path] = {}
    for path in sorted(files, key=lambda path: natural(path.name)):
        other = frames.setdefault(frame(path), path)
        if other != path and unmatched is not None:
            unmatched.append(path)
        elif other != path:
            raise DataError(
                f"{other} and {path} are of one frame: files are matched by name, so rename or "
                "remove one"
            )
    return frames


def odd_width(path: Path, width: int, height: int) -> str:
    """Return the sentence on an image of odd width that should hold two."""
    return f"{path} is {width}x{height}: side-by-side pairs need an even width"
