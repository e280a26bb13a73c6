"""The two image classifiers whose inner layers serve as measure: VGG and AlexNet.

Only the convolutions, with torchvision's names (`features.N.weight`), so that its published files
and files which hold the convolutions alone both load. Sources: Simonyan and Zisserman 2014
(arXiv:1409.1556), Krizhevsky 2014 (arXiv:1404.5997).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from limner.errors import ConfigError, WeightsError, unknown_name

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

VGG_DEPTHS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_VGG_WIDTHS = (64, 128, 256, 512, 512)

# output channels, kernel, stride, padding of each convolution, and whether a pool stands before it
_ALEXNET = (
    (64, 11, 4, 2, False),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, True),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, False),
)


def imagenet_normalised(images: Tensor) -> Tensor:
    """Return N x 3 x H x W images in [0, 1] with ImageNet's mean taken off, over its deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device, dtype=images.dtype)
    std = torch.tensor(IMAGENET_STD, device=images.device, dtype=images.dtype)
    return (images - mean[:, None, None]) / std[:, None, None]


class _Taps(nn.Module):
    """A chain of layers of which some outputs are returned; `at[name]` is a tap's layer number."""

    title: str
    minimum_size: int
    """The least height and width (pixels) for which every tap has at least one position."""

    def _build(self, layers: list[nn.Module], at: dict[str, int], taps: Sequence[str]) -> None:
        if not taps:
            raise ConfigError(f"{self.title} needs at least one tap of {', '.join(at)}")
        for tap in taps:
            if tap not in at:
                raise unknown_name(f"tap of {self.title}", tap, at)
        self.taps = tuple(taps)
        self._wanted = [at[tap] for tap in taps]
        # What lies behind the last tap is neither built nor loaded.
        self.features = nn.Sequential(*layers[: max(self._wanted) + 1])
        widths: list[int] = []
        for layer in layers:
            widths.append(layer.out_channels if isinstance(layer, nn.Conv2d) else widths[-1])
        self.channels = tuple(widths[number] for number in self._wanted)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the taps of ImageNet-normalised N x 3 x H x W images, in the order asked for."""
        outputs: dict[int, Tensor] = {}
        x = images
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self._wanted:
                outputs[number] = x
        return [outputs[number] for number in self._wanted]

    def load(self, state: Mapping[str, Tensor], *, origin: str = "the given state") -> None:
        """Load the convolutions from a state dict that may hold a classifier as well.

        Raises:
            WeightsError: a tensor is missing or has another shape; `origin` names the file in it.
        """
        own = self.state_dict()
        for name, tensor in own.items():
            if name not in state:
                raise WeightsError(f"{origin} holds no {name!r}, so it is not a {self.title} file")
            if state[name].shape != tensor.shape:
                raise WeightsError(
                    f"{origin}: {name!r} has shape {tuple(state[name].shape)} where {self.title} "
                    f"has {tuple(tensor.shape)}"
                )
        self.load_state_dict({name: state[name] for name in own})


class VGGFeatures(_Taps):
    """VGG's convolutions with taps named `relu<block>_<number>`, without batch norm.

    `depth` is 16 or 19. The default taps are those of LPIPS: the last ReLU of each block
    (relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 at depth 16). pix2pixHD's perceptual loss is
    `VGGFeatures(depth=19, taps=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"))`.
    """

    def __init__(self, *, depth: int = 16, taps: Sequence[str] | None = None) -> None:
        super().__init__()
        if depth not in VGG_DEPTHS:
            raise ConfigError(f"VGG has no depth {depth}: known are 16 and 19")
        self.title = f"VGG{depth}"
        blocks = VGG_DEPTHS[depth]
        layers: list[nn.Module] = []
        at: dict[str, int] = {}
        channels = 3
        for block, (count, width) in enumerate(zip(blocks, _VGG_WIDTHS, strict=True), start=1):
            for number in range(1, count + 1):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                at[f"relu{block}_{number}"] = len(layers) - 1
                channels = width
            layers.append(nn.MaxPool2d(2))
        if taps is None:
            taps = [f"relu{block}_{count}" for block, count in enumerate(blocks, start=1)]
        self._build(layers, at, taps)
        self.minimum_size = 2 ** max(int(tap[4]) - 1 for tap in taps)


class AlexNetFeatures(_Taps):
    """AlexNet's convolutions (the one-tower form) with taps relu1 to relu5, all by default."""

    title = "AlexNet"
    minimum_size = 31

    def __init__(self, *, taps: Sequence[str] | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        at: dict[str, int] = {}
        channels = 3
        for number, (width, kernel, stride, padding, pooled) in enumerate(_ALEXNET, start=1):
            if pooled:
                layers.append(nn.MaxPool2d(3, stride=2))
            layers += [nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU()]
            at[f"relu{number}"] = len(layers) - 1
            channels = width
        self._build(layers, at, list(at) if taps is None else taps)
