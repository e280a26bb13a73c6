"""What a picture shows at every place, as planes that can be compared across domains.

A picture becomes planes at a small working size: how much of each of a few colours (or classes)
lies at a place, its lightness, and its edges. Each plane is taken at three scales, less its local
mean, so that nothing counts but where things are. All planes stay what they are when a picture is
flipped: edges have a size and no sign.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

SIDE = 128  # pixels of the longer side at which pairs are compared
SCALES = 3  # at that size, at half of it, at a quarter
_LEAST = 32  # pixels of the shorter side: a narrower strip is stretched
_WINDOW = 9  # pixels of each scale over which the local mean is taken
_COLOURS = 10  # into which a picture's are sorted
_CLASSES = 24  # of a label map of ids, by area; what is left of them is one more
_FLAT = 90.0  # squared distance to the nearest of the colours up to which a side is a drawing
_TINY = 1e-6


@dataclass(frozen=True)
class Small:
    """A picture at its working size.

    `pixels`: H x W x 3 (0 to 255), or 2H x 2W ids of classes. `full`: its height and width before.
    """

    pixels: NDArray[np.generic]
    ids: bool
    full: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its planes."""
        height, width = self.pixels.shape[:2]
        return (height // 2, width // 2) if self.ids else (height, width)


@dataclass(frozen=True)
class Side:
    """How the pictures of one side become planes: by ids of classes, or by colours.

    `centres`: the ids, or colours x 3. `spread`: the squared distance over which colours blend.
    `level`: whether lightness and contrast of each picture are evened out first: of photos and
    scans they are accidents, of drawings they are not.
    """

    centres: NDArray[np.float32]
    ids: bool
    spread: float
    level: bool

    @property
    def planes(self) -> int:
        """How many planes a picture has."""
        return len(self.centres) + (1 if self.ids else 4)


def working_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width at which a picture is compared: multiples of 8, SIDE the longer."""
    longer = max(height, width)
    fitted = (max(_LEAST, round(SIDE * side / longer / 8) * 8) for side in (height, width))
    return next(fitted), next(fitted)


def shrink(image: NDArray[np.generic], size: tuple[int, int], *, ids: bool) -> Small:
    """Return an image C x H x W of any type at its working size."""
    full = (image.shape[1], image.shape[2])
    if ids:
        rows, columns = (
            (np.arange(2 * small) + 0.5) * large / (2 * small)
            for small, large in zip(size, full, strict=True)
        )
        places = np.ix_(rows.astype(int), columns.astype(int))
        return Small(np.ascontiguousarray(image[0][places]), True, full)
    colours = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    if colours.dtype != np.uint8:
        values = np.nan_to_num(colours.astype(np.float32))
        low, high = np.percentile(values, (0.5, 99.5))
        colours = ((values - low) / max(float(high - low), _TINY) * 255).clip(0, 255)
    picture = Image.fromarray(np.ascontiguousarray(colours.transpose(1, 2, 0)).astype(np.uint8))
    shrunk = picture.resize((size[1], size[0]), Image.Resampling.BOX)
    return Small(np.asarray(shrunk), False, full)


def describe(pictures: Sequence[Small], *, seed: int = 0) -> Side:
    """Learn from some pictures of a side how to make planes of them."""
    rng = np.random.default_rng(seed)
    if pictures[0].ids:
        values, counts = np.unique(
            np.concatenate([picture.pixels[::2, ::2].ravel() for picture in pictures]),
            return_counts=True,
        )
        most = values[np.argsort(-counts, kind="stable")[:_CLASSES]]
        return Side(np.sort(most).astype(np.float32), True, 1.0, False)
    some = _samples(pictures, rng, level=False)
    centres, spread = _clusters(some, rng)
    if spread <= _FLAT:
        return Side(centres, False, max(spread, 25.0), False)
    centres, spread = _clusters(_samples(pictures, rng, level=True), rng)
    return Side(centres, False, spread, True)


def _samples(
    pictures: Sequence[Small], rng: np.random.Generator, *, level: bool
) -> NDArray[np.float32]:
    each = max(32, 8000 // len(pictures))
    found = []
    for picture in pictures:
        pixels = _levelled(picture) if level else picture.pixels.astype(np.float32)
        found.append(rng.choice(pixels.reshape(-1, 3), each))
    return np.concatenate(found)


def _levelled(picture: Small) -> NDArray[np.float32]:
    """Return colours with the picture's mean lightness at 128 and its contrast at 50."""
    pixels = picture.pixels.astype(np.float32)
    light = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return (pixels - light.mean()) * (50 / max(float(light.std()), 4.0)) + 128


def _clusters(
    colours: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Sort colours by k-means (k-means++ start); returns the centres and the squared spread."""
    colours = colours[:8000]
    centres = colours[rng.integers(len(colours))][None]
    distance = ((colours - centres) ** 2).sum(1)
    while len(centres) < _COLOURS and distance.max() > 16:
        chosen = colours[rng.choice(len(colours), p=distance / distance.sum())]
        centres = np.concatenate([centres, chosen[None]])
        distance = np.minimum(distance, ((colours - chosen) ** 2).sum(1))
    for _ in range(8):
        distances = ((colours[:, None] - centres[None]) ** 2).sum(2)
        nearest = distances.argmin(1)
        for place in range(len(centres)):
            if (nearest == place).any():
                centres[place] = colours[nearest == place].mean(0)
    distances = ((colours[:, None] - centres[None]) ** 2).sum(2)
    return centres, float(distances.min(1).mean())


def planes(picture: Small, side: Side) -> list[Tensor]:
    """Return a picture's planes at each scale, finest first: P x H x W."""
    found = [_class_planes(picture, side) if side.ids else _colour_planes(picture, side)]
    while len(found) < SCALES:
        found.append(_halved(found[-1]))
    return found


def _halved(shown: Tensor) -> Tensor:
    rows = shown[:, ::2] + shown[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4


def less_local_mean(shown: Tensor) -> Tensor:
    """Return planes P x H x W less their mean over a window, which at an edge is smaller."""
    rows, columns = _averaging(shown.shape[1]), _averaging(shown.shape[2])
    return shown - rows @ shown @ columns.T


@functools.cache
def _averaging(length: int) -> Tensor:
    """Return the matrix that takes the mean of a window around each of `length` places."""
    places = torch.arange(length)
    near = ((places[:, None] - places).abs() <= _WINDOW // 2).float()
    return near / near.sum(1, keepdim=True)


def _class_planes(picture: Small, side: Side) -> Tensor:
    ids = torch.from_numpy(picture.pixels.astype(np.float32))
    classes = (ids[None] == torch.from_numpy(side.centres)[:, None, None]).float()
    shares = _halved(classes)
    return torch.cat([shares, _edges(shares)[2:]])


def _colour_planes(picture: Small, side: Side) -> Tensor:
    pixels = _levelled(picture) if side.level else picture.pixels.astype(np.float32)
    colours = torch.from_numpy(pixels).flatten(0, 1).T.contiguous()
    centres = torch.from_numpy(side.centres)
    far = (centres * centres).sum(1, keepdim=True) - 2 * centres @ colours
    shares = ((far - far.amin(0)) / (-2 * side.spread)).exp_()
    shares = (shares / shares.sum(0)).unflatten(1, picture.size)
    light = (torch.tensor([0.299, 0.587, 0.114]) @ colours).view(1, *picture.size)
    return torch.cat([shares, light / 50, _edges(light if side.level else shares)])


def _edges(shown: Tensor) -> Tensor:
    """Return the size of the change across, down, and both, each against the picture's usual."""
    wide = pad(shown, (1, 1, 1, 1), mode="replicate")
    across = (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]).abs_().sum(0, keepdim=True)
    down = (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]).abs_().sum(0, keepdim=True)
    both = (across * across + down * down).sqrt()
    return torch.cat([across, down, both]) / (both + both.mean() + _TINY)
