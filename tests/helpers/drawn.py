"""Images and weights drawn by program, the same on every machine and in every environment.

Needs torch and NumPy only: the tests and `scripts/reference_metrics.py`, which runs where the
reference packages are installed, both draw from here. Whole numbers and `RandomState`, whose
stream NumPy keeps, make the images; uniform draws of a CPU generator make the weights.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

# Sets smaller than 299 and one image larger, so that resizing goes both ways.
COUNT = 6
SIZES = [(96, 128)] * (COUNT - 1) + [(320, 310)]
REAL_SEED, FAKE_SEED = 100, 900

HEAD_CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


def image(seed: int, *, height: int = 96, width: int = 128, noise: int = 12) -> Tensor:
    """Return a uint8 3 x H x W picture: a ramp, boxes, discs and noise of up to `noise` levels."""
    rng = np.random.RandomState(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    start, end = rng.randint(0, 256, (2, 3, 1, 1))
    picture = start + (end - start) * (rows + columns) // (height + width)
    for _ in range(6):
        top, left = rng.randint(0, height - 8), rng.randint(0, width - 8)
        tall, wide = rng.randint(8, height // 2), rng.randint(8, width // 2)
        picture[:, top : top + tall, left : left + wide] = rng.randint(0, 256, (3, 1, 1))
    for _ in range(3):
        y, x, radius = rng.randint(0, height), rng.randint(0, width), rng.randint(4, height // 4)
        inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        picture = np.where(inside, rng.randint(0, 256, (3, 1, 1)), picture)
    picture = picture + rng.randint(-noise, noise + 1, picture.shape)
    return torch.from_numpy(picture.clip(0, 255).astype(np.uint8))


def blurred(picture: Tensor, *, times: int = 1) -> Tensor:
    """Return the picture averaged over 3 x 3 windows so many times, in whole numbers."""
    x = picture.to(torch.int64)
    height, width = x.shape[1:]
    for _ in range(times):
        rows = torch.arange(-1, height + 1).clamp(0, height - 1)
        columns = torch.arange(-1, width + 1).clamp(0, width - 1)
        padded = x[:, rows][:, :, columns]
        total = torch.zeros_like(x)
        for i in range(3):
            for j in range(3):
                total += padded[:, i : i + height, j : j + width]
        x = (total + 4) // 9
    return x.to(torch.uint8)


def noisy(picture: Tensor, *, levels: int, seed: int = 0) -> Tensor:
    """Return the picture with uniform noise of up to so many levels added."""
    rng = np.random.RandomState(seed)
    noise = torch.from_numpy(rng.randint(-levels, levels + 1, tuple(picture.shape)))
    return (picture.to(torch.int64) + noise).clamp(0, 255).to(torch.uint8)


def real_images() -> list[Tensor]:
    """Return the real set of the recorded figures."""
    return [image(REAL_SEED + n, height=h, width=w) for n, (h, w) in enumerate(SIZES)]


def fake_images() -> list[Tensor]:
    """Return the fake set: picture by picture the real one, blurred, noisy and paler."""
    return [
        noisy(blurred(picture, times=1 + n % 3) // 2 + 60, levels=4 + n, seed=FAKE_SEED + n)
        for n, picture in enumerate(real_images())
    ]


def weights(like: Mapping[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """Return random weights with the names and shapes of `like`, for outputs of order one.

    Each tensor depends on its own name, shape and the seed only, not on the order of names.
    Convolutions have He's variance, batch norm is near the identity, LPIPS heads are positive.
    """
    drawn: dict[str, Tensor] = {}
    for name, tensor in like.items():
        generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
        unit = torch.rand(tensor.shape, generator=generator)
        even = 2 * unit - 1
        if name.endswith("num_batches_tracked"):
            drawn[name] = torch.zeros_like(tensor)
        elif name.startswith("lin"):
            drawn[name] = unit
        elif tensor.ndim >= 2:
            drawn[name] = even * (6 / tensor[0].numel()) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            drawn[name] = 1 + 0.3 * even
        else:
            drawn[name] = 0.3 * even
    return drawn


def heads(backbone: str) -> dict[str, Tensor]:
    """Return random heads of LPIPS on `alex` or `vgg`, under the names of its files."""
    channels = enumerate(HEAD_CHANNELS[backbone])
    return weights({f"lin{k}.model.1.weight": torch.empty(1, c, 1, 1) for k, c in channels}, seed=3)
