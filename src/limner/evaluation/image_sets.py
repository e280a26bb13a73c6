"""Folders of pictures as sequences of uint8 tensors, and what had to be done to read them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from limner import files
from limner.data import left_out
from limner.data.decode import EXTENSIONS, decode, header
from limner.errors import DataError

logger = logging.getLogger(__name__)

_LISTED = 10


class Images(Protocol):
    """Anything of a length that gives an image for each index below it: a list, a lazy folder."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Tensor: ...


class Pictures:
    """uint8 C x H x W images of any sequence, checked and made measurable one at a time.

    16-bit images are scaled to 8 bits (divided by 257, rounded); what was done is counted in `done`
    by sentence.

    Raises:
        DataError: something is not such an image.
    """

    def __init__(self, images: Images, names: Sequence[str]) -> None:
        self.images = images
        self.names = tuple(names)
        self._sizes: dict[int, str] = {}
        self._done: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image, name = self.images[index], self.names[index]
        if image.ndim != 3 or image.dtype not in (torch.uint8, torch.uint16):
            raise DataError(
                f"{name} is {image.dtype} of shape {tuple(image.shape)}: metrics read images of "
                "8 or 16 bits, C x H x W; state the range of others (limner compare --range "
                "LOW,HIGH)"
            )
        if image.dtype == torch.uint16:
            image = ((image.to(torch.int32) + 128) // 257).to(torch.uint8)
            self.note(index, "16 bits scaled to 8 (divided by 257, rounded)")
        self._sizes[index] = f"{image.shape[2]}x{image.shape[1]}"
        return image

    def without_alpha(self, index: int, image: Tensor) -> Tensor:
        """Return the picture at `index` without its last channel, that being opaque alpha."""
        self.note(index, "opaque alpha channel left out")
        return image[:-1]

    def note(self, index: int, what: str) -> None:
        """Remember that `what` was done to the picture at `index`."""
        self._done.setdefault(what, set()).add(index)

    def seen(self) -> tuple[dict[int, str], dict[str, set[int]]]:
        """Return what reading has shown so far, for `remember` in another process or run."""
        return dict(self._sizes), {what: set(indices) for what, indices in self._done.items()}

    def remember(self, seen: tuple[dict[int, str], dict[str, set[int]]]) -> None:
        """Take over what reading showed where the pictures were read."""
        self._sizes |= seen[0]
        for what, indices in seen[1].items():
            self._done.setdefault(what, set()).update(indices)

    @property
    def done(self) -> dict[str, int]:
        """The number of pictures for each thing that was done to some."""
        return {what: len(indices) for what, indices in sorted(self._done.items())}

    @property
    def sizes(self) -> dict[str, int]:
        """The number of pictures read of each size, width x height, the commonest first."""
        return dict(Counter(self._sizes.values()).most_common())


class Coloured:
    """The same pictures with three channels: grey is replicated (and noted), others refused."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        image = self.pictures[index]
        if has_opaque_alpha(image):
            image = self.pictures.without_alpha(index, image)
        if image.shape[0] == 1:
            self.pictures.note(index, "grey replicated to three channels")
            return image.expand(3, -1, -1)
        if image.shape[0] != 3:
            raise DataError(
                f"{self.pictures.names[index]} has {image.shape[0]} channels and no opaque alpha: "
                "lpips, dists and all distances between sets (fid, kid, ...) read 1 or 3, so leave "
                "them out"
            )
        return image


def has_opaque_alpha(image: Tensor) -> bool:
    """Whether the last channel of an image of 2 or 4 is 255 everywhere."""
    return image.shape[0] in (2, 4) and bool((image[-1] == 255).all())


class Pairs:
    """Pictures and their targets as 2 x C x H x W, real first; `DataError` where sizes differ.

    Where one is grey and the other RGB the grey one is replicated; with `coloured` every grey one
    is, and other numbers of channels are refused. Alpha that is opaque on every side that has it is
    left out; otherwise it is compared as any channel.
    """

    def __init__(self, real: Pictures, fake: Pictures, *, coloured: bool) -> None:
        self.real, self.fake = real, fake
        self.in_colour = Coloured(real), Coloured(fake)
        self.coloured = coloured

    def __len__(self) -> int:
        return len(self.fake)

    def __getitem__(self, index: int) -> Tensor:
        a, b = self.real[index], self.fake[index]
        if self._alpha_says_nothing(a, b):
            a, b = (
                side.without_alpha(index, image) if has_opaque_alpha(image) else image
                for side, image in ((self.real, a), (self.fake, b))
            )
        if self.coloured or {a.shape[0], b.shape[0]} == {1, 3}:
            a, b = (side[index] for side in self.in_colour)
        names = self.real.names[index], self.fake.names[index]
        if a.shape[1:] != b.shape[1:]:
            (h, w), (other_h, other_w) = a.shape[1:], b.shape[1:]
            raise different_sizes(names[0], (h, w), names[1], (other_h, other_w))
        if len(a) != len(b):
            raise DataError(
                f"{names[0]} has {len(a)} channels and {names[1]} {len(b)}: give both as many"
            )
        return torch.stack([a, b])

    @staticmethod
    def _alpha_says_nothing(a: Tensor, b: Tensor) -> bool:
        with_alpha = [image for image in (a, b) if image.shape[0] in (2, 4)]
        return all(has_opaque_alpha(image) for image in with_alpha)


class Files:
    """Image files, decoded when asked for, and shown as `view` makes them where it is given."""

    def __init__(
        self, paths: Sequence[Path], view: Callable[[Tensor, Path], Tensor] | None = None
    ) -> None:
        self.paths = tuple(paths)
        self.view = view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        image = decode(self.paths[index])
        return image if self.view is None else self.view(image, self.paths[index])


def listed(folder: Path) -> list[Path]:
    """Return the image files in `folder`, sorted: those right in it, or those of its folders.

    Raises:
        DataError: there are none, and where there are both: nobody could tell which are meant.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give a folder of images")
    images = [
        path
        for path in files.listed_tree(folder)
        if path.suffix.lower() in EXTENSIONS and path.is_file()
    ]
    here = [path for path in images if path.parent == folder]
    below = [path for path in images if path.parent != folder]
    if here and below:
        raise DataError(
            f"{folder} holds images and, in {below[0].parent}, a folder of images: give a folder "
            "of either"
        )
    if not images:
        raise DataError(f"{folder} holds no images ({', '.join(sorted(EXTENSIONS))})")
    if (others := left_out(images)) is not None:
        logger.warning("%s", others)
    return images


def name_in(folder: Path, path: Path) -> str:
    """Return what a picture in `folder`, or below it, is called: its path less the suffix."""
    return path.relative_to(folder).with_suffix("").as_posix()


def matched(real: Path, fake: Path) -> list[tuple[Path, Path]]:
    """Return the images of two folders paired by name, sorted by it.

    Raises:
        DataError: some have no partner, or two are of different sizes; for that only the
            files' headers are read.
    """
    left, right = _by_name(real), _by_name(fake)
    lonely = [
        f"only in {folder}: {_some(names)}"
        for folder, names in (
            (real, left.keys() - right.keys()),
            (fake, right.keys() - left.keys()),
        )
        if names
    ]
    if lonely:
        raise DataError(
            f"pictures are compared with those of the same name, and some have no partner "
            f"({'; '.join(lonely)}): make the names equal, or ask only for fid, kid, fd-vgg16"
        )
    pairs = [(left[name], right[name]) for name in sorted(left)]
    for a, b in pairs:
        (_, *size), (_, *other) = header(a), header(b)
        if size != other:
            raise different_sizes(str(a), (size[0], size[1]), str(b), (other[0], other[1]))
    return pairs


def different_sizes(
    name: str, size: tuple[int, int], other_name: str, other: tuple[int, int]
) -> DataError:
    """Return the error for two pictures whose (height, width) are not the same."""
    return DataError(
        f"{name} is {size[1]}x{size[0]} and {other_name} is {other[1]}x{other[0]}: pictures are "
        "compared at one size, so resize one of them"
    )


def _by_name(folder: Path) -> dict[str, Path]:
    by_name: dict[str, Path] = {}
    for path in listed(folder):
        name = name_in(folder, path)
        if name in by_name:
            raise DataError(f"{by_name[name]} and {path.name} have one name: remove one of them")
        by_name[name] = path
    return by_name


def _some(some: Collection[str]) -> str:
    names = sorted(some)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
