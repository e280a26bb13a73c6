"""Feature vectors of images: what the distances between distributions are measured on."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from limner.errors import ConfigError, DataError, unknown_name
from limner.evaluation.features.inception import SIZE, FIDInception, folded
from limner.evaluation.image_sets import Images
from limner.networks.vgg import VGGFeatures, imagenet_normalised


class Extractor(Protocol):
    """A network from uint8 images N x 3 x H x W to N x `dimensions` features.

    `preparation` is a sentence on what is done to the images before the network sees them.
    """

    dimensions: int
    preparation: str

    def __call__(self, images: Tensor, /) -> Tensor:
        """Return the features of uint8 images of one size."""
        ...


def _resized(images: Tensor) -> Tensor:
    """pytorch-fid's: levels to [0, 1], bilinear between pixel centres, then [-1, 1]."""
    x = F.interpolate(images.float() / 255, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return 2 * x - 1


def _resized_by_corner(images: Tensor) -> Tensor:
    """torch-fidelity's: TensorFlow 1's bilinear between upper left corners, then x / 128 - 1."""
    x = images.float()
    for dim in (2, 3):
        length = x.shape[dim]
        at = torch.arange(SIZE, dtype=torch.float32, device=x.device) * (length / SIZE)
        low = at.long()
        high = (low + 1).clamp(max=length - 1)
        share = (at - low).reshape((-1, 1) if dim == 2 else (-1,))
        below, above = x.index_select(dim, low), x.index_select(dim, high)
        x = below + (above - below) * share
    return (x - 128) / 128


def _resized_cleanly(images: Tensor) -> Tensor:
    """clean-fid's: Pillow's antialiased bicubic on float channels, clipped to levels, x / 128 - 1.

    Parmar et al. 2022 (arXiv:2104.11222). Levels are not rounded after resizing. Pillow itself is
    asked, since the figure is defined by what it does.
    """
    resized = np.empty((*images.shape[:2], SIZE, SIZE), dtype=np.float32)
    for number, image in enumerate(images.float().cpu().numpy()):
        for channel, levels in enumerate(image):
            enlarged = Image.fromarray(levels).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            resized[number, channel] = np.asarray(enlarged)
    x = torch.from_numpy(resized.clip(0, 255)).to(images.device)
    return (x - 128) / 128


PREPARATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "pytorch-fid": _resized,
    "torch-fidelity": _resized_by_corner,
    "clean-fid": _resized_cleanly,
}
"""How images come to 299 x 299 and about [-1, 1]; figures are comparable only within one."""


class InceptionExtractor(nn.Module):
    """FID's 2048 features: images resized by one of `PREPARATIONS`, Inception v3, mean pool."""

    dimensions = 2048

    def __init__(
        self,
        state: Mapping[str, Tensor],
        *,
        origin: str = "the given state",
        preparation: str = "pytorch-fid",
    ) -> None:
        super().__init__()
        if preparation not in PREPARATIONS:
            raise unknown_name("preparation", preparation, PREPARATIONS)
        self._prepare = PREPARATIONS[preparation]
        self.preparation = f"resized to {SIZE}x{SIZE} as {preparation} does"
        self.network = FIDInception()
        self.network.load(state, origin=origin)
        folded(self.network)

    def forward(self, images: Tensor) -> Tensor:
        """Return N x 2048 features of uint8 images N x 3 x H x W of any size."""
        x = self._prepare(images).contiguous(memory_format=torch.channels_last)
        return self.network(x)


class VGG16Extractor(nn.Module):
    """The 512 features of `fd-vgg16`.

    Images at their own size (16 pixels at least), levels / 255, ImageNet's mean taken off and
    divided by its deviation, VGG16's convolutions up to the last ReLU (relu5_3), mean over
    positions. The figure has no published counterpart: compare it only with itself.
    """

    dimensions = 512
    preparation = "at their own size, normalised by ImageNet's mean and deviation"

    def __init__(self, state: Mapping[str, Tensor], *, origin: str = "the given state") -> None:
        super().__init__()
        self.network = VGGFeatures(depth=16, taps=("relu5_3",))
        self.network.load(state, origin=origin)

    def forward(self, images: Tensor) -> Tensor:
        """Return N x 512 features of uint8 images N x 3 x H x W; `DataError` below 16 pixels."""
        height, width = images.shape[-2:]
        if min(height, width) < self.network.minimum_size:
            raise DataError(
                f"fd-vgg16 needs images of at least 16x16 pixels, not {width}x{height}: leave it "
                "out or measure larger images"
            )
        return self.network(imagenet_normalised(images.float() / 255))[0].mean(dim=(2, 3))


@dataclass(frozen=True)
class Kind:
    """How an extractor is built: the name of its weights and the class that takes their state."""

    weights: str
    build: Callable[..., InceptionExtractor | VGG16Extractor]


EXTRACTORS: dict[str, Kind] = {
    "inception": Kind("inception", InceptionExtractor),
    "inception-clean": Kind(
        "inception", functools.partial(InceptionExtractor, preparation="clean-fid")
    ),
    "vgg16": Kind("vgg16", VGG16Extractor),
}


def stacks(images: Images, batch_size: int) -> Iterator[Tensor]:
    """Yield runs of equally sized images, in order, as stacks of `batch_size` at most."""
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}: it must be at least 1")
    for start in range(0, len(images), batch_size):
        chunk = [images[i] for i in range(start, min(start + batch_size, len(images)))]
        for _, run in itertools.groupby(chunk, key=lambda image: image.shape):
            yield torch.stack(list(run))


@contextlib.contextmanager
def exact(device: torch.device | str) -> Iterator[None]:
    """Compute without gradients and, on CUDA, without TF32, whose 10 bits show in the figures."""
    with torch.inference_mode(), contextlib.ExitStack() as stack:
        if torch.device(device).type == "cuda":
            cudnn = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
            stack.enter_context(cudnn)
        yield
