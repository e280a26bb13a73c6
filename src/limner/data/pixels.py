"""Images as tensors: their channels, their way to floats, resizing, one draw for all fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import ConfigError, DataError, unknown_name

# Which counts can be made from which: a colour part (grey or RGB) and, in 2 and 4, alpha.
_KNOWN = {1: (1, False), 2: (1, True), 3: (3, False), 4: (3, True)}
_LUMA = (19595, 38470, 7471)  # ITU-R BT.601's 0.299, 0.587, 0.114 in 65536ths


def channel_problem(
    have: int, channels: int, *, convert: bool, path: Path, cure: str | None = None
) -> str | None:
    """Return why an image with `have` channels cannot be used as one with `channels`, or None.

    `cure` replaces the advice of settings, where none can be given or more is known.
    """
    if have == channels:
        return None
    convertible = is_convertible(have, channels)
    if convert and convertible:
        return None
    if cure is None:
        cure = f"set data.channels={have}"
        if convertible:
            cure += ", or data.convert=true to convert it"
        elif convert:
            cure += " (data.convert knows 1, 2, 3 and 4 channels only)"
    stored = f"{have} channel{'' if have == 1 else 's'}"
    return f"{path} has {stored} where data.channels asks for {channels}: {cure}"


def is_convertible(have: int, channels: int) -> bool:
    """Tell whether `as_channels` can make `channels` of `have`."""
    return have in _KNOWN and channels in _KNOWN


def as_channels(
    image: Tensor, channels: int, *, convert: bool, path: Path, cure: str | None = None
) -> Tensor:
    """Return a C x H x W uint8 or uint16 image with `channels` channels.

    Never silently: without `convert` a different count is a `DataError` that names `path`. With it
    grey becomes RGB by repetition, RGB grey by the luma of ITU-R BT.601 (rounded), alpha is
    dropped, or added opaque; other counts stay an error, whose sentence ends with `cure`.
    """
    problem = channel_problem(len(image), channels, convert=convert, path=path, cure=cure)
    if problem is not None:
        raise DataError(problem)
    if len(image) == channels:
        return image
    colours, has_alpha = _KNOWN[len(image)]
    wanted, wants_alpha = _KNOWN[channels]
    colour = image[:colours]
    if colours == 1 and wanted == 3:
        colour = colour.expand(3, -1, -1)
    elif colours == 3 and wanted == 1:
        colour = _luma(colour)
    if not wants_alpha:
        return colour.contiguous()
    if image.dtype not in (torch.uint8, torch.uint16):
        raise DataError(f"{path} holds measured values, to which no alpha can be added")
    opaque = torch.full_like(image[:1], torch.iinfo(image.dtype).max)
    return torch.cat([colour, image[colours:] if has_alpha else opaque])


def to_float(image: Tensor) -> Tensor:
    """Return a uint8 or uint16 image as float32 in [-1, 1], by the full range of its type.

    Raises:
        DataError: samples of another type have no range of their own.
    """
    if image.dtype not in (torch.uint8, torch.uint16):
        raise DataError(
            f"samples of type {image.dtype} have no range of their own: state one in data.range"
        )
    return image.to(torch.float32).div_(torch.iinfo(image.dtype).max).mul_(2).sub_(1)


def to_uint16(image: Tensor) -> Tensor:
    """Return a uint8 image as uint16; `to_float` gives the same for both, to the last bit."""
    # 65535 = 255 * 257, so that v * 257 / 65535 and v / 255 are one number, rounded once.
    return image.to(torch.int32).mul_(257).to(torch.uint16) if image.dtype == torch.uint8 else image


def _luma(rgb: Tensor) -> Tensor:
    if rgb.dtype not in (torch.uint8, torch.uint16):
        weights = torch.tensor(_LUMA, dtype=torch.float64).div(0x10000)[:, None, None]
        grey = (rgb.double() * weights).sum(dim=0, keepdim=True)
        return (grey if rgb.is_floating_point() else grey.round()).to(rgb.dtype)
    wide = rgb.to(torch.int64)
    red, green, blue = (weight * channel for weight, channel in zip(_LUMA, wide, strict=True))
    return ((red + green + blue + 0x8000) >> 16).to(rgb.dtype)[None]


class _Kind(NamedTuple):
    mode: str  # torch's name
    antialias: bool


INTERPOLATIONS = {
    "nearest": _Kind("nearest-exact", False),
    "bilinear": _Kind("bilinear", True),
    "bicubic": _Kind("bicubic", True),
    "lanczos": _Kind("lanczos", True),
}

# Constants of `looks_like_labels`, found on CMP Facades, CamVid and drawn images.
_PALETTE = 64  # colours of a lossless label map
_GREYS = 8  # levels that a drawing is looked at in
_REACH = 4  # pixels from a flat place within which a lossless label map lies
_SAMPLE = 8000  # pixels looked at
_CLUSTERS = 24
_TIGHT, _WIDE = 8, 32  # levels around a cluster's middle


def checked_interpolation(name: str) -> str:
    """Return `name` if it is a known interpolation; raises `ConfigError` otherwise."""
    if name not in INTERPOLATIONS:
        raise unknown_name("interpolation", name, [*INTERPOLATIONS, "auto"])
    return name


def resize(image: Tensor, size: tuple[int, int], *, interpolation: str) -> Tensor:
    """Resize a C x H x W image of any type to (height, width) = `size`.

    All but nearest are antialiased, as Pillow's are. uint8 is within 1 level of Pillow's result (2
    in a few pixels of a million), unless one side grows and the other shrinks: there Pillow changes
    the order of the two passes.
    """
    kind = INTERPOLATIONS[checked_interpolation(interpolation)]
    if tuple(image.shape[-2:]) == size:
        return image
    batch = image[None]
    if image.dtype == torch.uint8 or image.is_floating_point():
        return F.interpolate(batch, size, mode=kind.mode, antialias=kind.antialias)[0]
    # torch resizes no uint16; every one of its values is a float32.
    result = F.interpolate(batch.float(), size, mode=kind.mode, antialias=kind.antialias)[0]
    ends = torch.iinfo(image.dtype)
    return result.round_().clamp_(ends.min, ends.max).to(image.dtype)


def looks_like_labels(image: Tensor) -> bool:
    """Tell whether a C x H x W uint8 or uint16 image shows label colours or class ids.

    Lossless label maps are flat but for thin borders and have few colours. Those that went through
    JPEG have noise along the borders; there the colours lie in several tight clusters, while those
    of a photo spread (a grey photo or a large white background have one tight cluster at most).
    A grey drawing, whose lines hold no areas, is none.
    """
    if image.dtype not in (torch.uint8, torch.uint16):
        return False  # measured values
    pixels = image.numpy().transpose(1, 2, 0)
    if min(pixels.shape[:2]) < 3 or _is_drawing(pixels):
        return False
    return _flat_with_few_colours(pixels) or (
        image.dtype == torch.uint8 and _clustered(pixels.astype(np.int16))
    )


def looks_like_ids(image: Tensor) -> bool:
    """Tell whether a C x H x W image is a map of class ids: flat areas of numbers up to 254.

    Grey that is written as red, green and blue counts, and 255 as void.
    """
    if image.dtype not in (torch.uint8, torch.uint16) or len(image) not in (1, 3):
        return False
    grey = bool((image[1:] == image[:1]).all())
    return grey and int(image.numpy().max()) <= 255 and looks_like_labels(image)


def _is_drawing(pixels: np.ndarray) -> bool:
    """Tell whether an image is grey lines: what is not background is thin, even after JPEG."""
    if pixels.shape[2] > 1 and (pixels[..., 1:3] != pixels[..., :1]).any():
        return False
    step = max(1, int(pixels.max()) // _GREYS)
    greys = pixels[..., :1] // step
    values, counts = np.unique(greys, return_counts=True)
    lines = greys[1:-1, 1:-1, 0] != values[counts.argmax()]
    return bool(lines.any()) and (_still(greys) & lines).sum() < 0.5 * lines.sum()


def _still(pixels: np.ndarray) -> np.ndarray:
    """Return where the eight neighbours have a pixel's own value; the outermost left out."""
    still = np.ones((pixels.shape[0] - 2, pixels.shape[1] - 2), dtype=bool)
    centre = pixels[1:-1, 1:-1]
    for top in range(3):
        for left in range(3):
            moved = pixels[top : top + still.shape[0], left : left + still.shape[1]]
            still &= (moved == centre).all(axis=2)
    return still


def _flat_with_few_colours(pixels: np.ndarray) -> bool:
    still, centre = _still(pixels), pixels[1:-1, 1:-1]
    if still.mean() < 0.5:
        return False
    width = 2 * _REACH + 1
    near = F.max_pool2d(torch.from_numpy(still)[None].float(), width, stride=1, padding=_REACH)
    if near.mean() < 0.95:
        return False
    counts = np.sort(np.unique(_codes(centre[still]), return_counts=True)[1])
    return counts[-_PALETTE:].sum() >= 0.95 * still.sum()


def _clustered(pixels: np.ndarray) -> bool:
    """Find clusters greedily, densest first; tight ones must hold much of the image.

    A cluster is tight where at least half of what lies within 32 levels of its middle lies within
    8 (a quarter or less, if colours were spread evenly).
    """
    flat = pixels.reshape(-1, pixels.shape[2])
    rng = np.random.default_rng(0)  # which pixels are looked at is no part of a run's randomness
    left = rng.choice(flat, size=min(_SAMPLE, len(flat)), replace=False)
    total = len(left)
    tight = []
    for _ in range(_CLUSTERS):
        bins = np.unique(_codes(left // 4), return_inverse=True)[1]
        middle = np.median(left[bins == np.bincount(bins).argmax()], axis=0)
        distance = np.abs(left - middle).max(axis=1)
        inner, outer = (distance <= _TIGHT).sum(), (distance <= _WIDE).sum()
        if inner >= 0.5 * outer:
            tight.append(inner / total)
        left = left[distance > _WIDE]
        if len(left) < 0.02 * total:
            break
    return sum(tight) >= 0.3 and sum(tight) - max(tight, default=0) >= 0.1


def _codes(colours: np.ndarray) -> np.ndarray:
    """Return one integer for each colour of N x C, the same for the same colour.

    Ten times faster than NumPy's unique rows; two colours that share a code would be a coincidence
    of 1 in 2**64.
    """
    factors = np.random.default_rng(0).integers(2**62, size=colours.shape[1]) * 2 + 1
    return (colours.astype(np.int64) * factors).sum(axis=1)


@dataclass(frozen=True)
class Mode:
    """How images come to their size: whether they are resized first, whether they are cropped."""

    resize: bool
    crop: bool


MODES = {
    "resize_crop": Mode(resize=True, crop=True),  # to load_size, then a crop of size (pix2pix)
    "crop": Mode(resize=False, crop=True),  # a crop of size out of the image as it is
    "resize": Mode(resize=True, crop=False),  # to size
    "none": Mode(resize=False, crop=False),  # as the image is
}


@dataclass(frozen=True)
class Draw:
    """What was drawn for one sample: the window, in pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def checked_mode(name: str, *, size: tuple[int, int], load_size: tuple[int, int]) -> Mode:
    """Return the mode of that name; raises `ConfigError` for an unknown one or sizes that clash."""
    if name not in MODES:
        raise unknown_name("data.mode", name, MODES)
    mode = MODES[name]
    if mode.resize and mode.crop and (load_size[0] < size[0] or load_size[1] < size[1]):
        raise ConfigError(
            f"data.load_size {load_size[0]}x{load_size[1]} is smaller than data.size "
            f"{size[0]}x{size[1]} (height x width): crops are taken from images of load_size, so "
            "make it the larger one"
        )
    return mode


def resized_to(
    mode: Mode, *, size: tuple[int, int], load_size: tuple[int, int], augment: bool
) -> tuple[int, int] | None:
    """Return the (height, width) that images are resized to before the crop, None for as they are.

    Without augmentation what would be cropped at random is resized to `size` itself.
    """
    if not mode.resize:
        return None
    return load_size if mode.crop and augment else size


def draw(
    rng: np.random.Generator, *, height: int, width: int, size: tuple[int, int], flip: bool
) -> Draw:
    """Draw a window of `size` (height, width) in an image, and with `flip` a mirroring, p = 0.5.

    The generator is used alike whatever `flip` says, so that it changes nothing else.
    """
    _fits(height, width, size)
    top = int(rng.integers(height - size[0] + 1))
    left = int(rng.integers(width - size[1] + 1))
    mirrored = bool(rng.random() < 0.5)
    return Draw(top, left, size[0], size[1], flip and mirrored)


def central(*, height: int, width: int, size: tuple[int, int]) -> Draw:
    """Return the window of `size` (height, width) in the middle, never mirrored."""
    _fits(height, width, size)
    return Draw((height - size[0]) // 2, (width - size[1]) // 2, size[0], size[1], flip=False)


def apply(draw: Draw, image: Tensor) -> Tensor:
    """Cut the window of `draw` out of an image (..., H, W) and mirror it left to right if drawn."""
    bottom, right = draw.top + draw.height, draw.left + draw.width
    window = image[..., draw.top : bottom, draw.left : right]
    return mirrored(window) if draw.flip else window


def mirrored(image: Tensor) -> Tensor:
    """Return an image (..., H, W) mirrored left to right."""
    if image.dtype == torch.uint16:  # torch mirrors no uint16
        return image.view(torch.int16).flip(-1).view(torch.uint16)
    return image.flip(-1)


def _fits(height: int, width: int, size: tuple[int, int]) -> None:
    if height < size[0] or width < size[1]:
        raise DataError(
            f"an image of {width}x{height} has no room for a crop of {size[1]}x{size[0]} "
            "(width x height): lower data.size, or set data.mode to one that resizes"
        )
