"""The Inception v3 of the Fréchet inception distance, without torchvision.

Architecture: Szegedy et al. 2015 (arXiv:1512.00567), in the form of TensorFlow's frozen graph of
2015-12-05 which Heusel et al. 2017 (arXiv:1706.08500) measure with. It differs from the paper's:
averages leave out the padding, the very last pool is a maximum, and there are 1008 classes.
Names are those of the published `pt_inception-2015-12-05-6726825d.pth`.

Once loaded it is `folded`: each batch norm goes into the convolution before it, and on the CPU
convolution, bias and ReLU are one oneDNN call on channels-last memory, where the separate layers
write every map three times: the same figures in half the time. All is float32 still: on processors
with AMX, three products of bfloat16 halves would leave an error of 1e-5 in the features and six
take longer than float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import WeightsError
from limner.inference.folding import fold_pair

SIZE = 299


class _Conv(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        same: bool = True,
    ) -> None:
        super().__init__()
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (high // 2, wide // 2) if same else 0
        self.conv = nn.Conv2d(channels, width, (high, wide), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Parallel chains of convolutions, joined by channel."""

    def chain(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self.get_submodule(name)(x)
        return x


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _largest(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=1, padding=1)


class _MixedA(_Mixed):
    """35 x 35: 1x1, 5x5, two 3x3, pool."""

    def __init__(self, channels: int, *, pool: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(channels, 64, 1)
        self.branch5x5_1 = _Conv(channels, 48, 1)
        self.branch5x5_2 = _Conv(48, 64, 5)
        self.branch3x3dbl_1 = _Conv(channels, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3)
        self.branch_pool = _Conv(channels, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [
                self.branch1x1(x),
                self.chain(x, "branch5x5_1", "branch5x5_2"),
                self.chain(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                self.branch_pool(_average(x)),
            ],
            dim=1,
        )


class _MixedB(_Mixed):
    """35 x 35 to 17 x 17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(channels, 384, 3, stride=2, same=False)
        self.branch3x3dbl_1 = _Conv(channels, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [
                self.branch3x3(x),
                self.chain(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                F.max_pool2d(x, 3, stride=2),
            ],
            dim=1,
        )


class _MixedC(_Mixed):
    """17 x 17: 7x7 as 1x7 and 7x1, once and twice."""

    def __init__(self, *, inner: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(768, 192, 1)
        self.branch7x7_1 = _Conv(768, inner, 1)
        self.branch7x7_2 = _Conv(inner, inner, (1, 7))
        self.branch7x7_3 = _Conv(inner, 192, (7, 1))
        self.branch7x7dbl_1 = _Conv(768, inner, 1)
        self.branch7x7dbl_2 = _Conv(inner, inner, (7, 1))
        self.branch7x7dbl_3 = _Conv(inner, inner, (1, 7))
        self.branch7x7dbl_4 = _Conv(inner, inner, (7, 1))
        self.branch7x7dbl_5 = _Conv(inner, 192, (1, 7))
        self.branch_pool = _Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [
                self.branch1x1(x),
                self.chain(x, *(f"branch7x7_{n}" for n in range(1, 4))),
                self.chain(x, *(f"branch7x7dbl_{n}" for n in range(1, 6))),
                self.branch_pool(_average(x)),
            ],
            dim=1,
        )


class _MixedD(_Mixed):
    """17 x 17 to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = _Conv(768, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2, same=False)
        self.branch7x7x3_1 = _Conv(768, 192, 1)
        self.branch7x7x3_2 = _Conv(192, 192, (1, 7))
        self.branch7x7x3_3 = _Conv(192, 192, (7, 1))
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [
                self.chain(x, "branch3x3_1", "branch3x3_2"),
                self.chain(x, *(f"branch7x7x3_{n}" for n in range(1, 5))),
                F.max_pool2d(x, 3, stride=2),
            ],
            dim=1,
        )


class _MixedE(_Mixed):
    """8 x 8: chains that fork into 1x3 and 3x1; `last` pools by maximum, as the graph does."""

    def __init__(self, channels: int, *, last: bool) -> None:
        super().__init__()
        self.pool = _largest if last else _average
        self.branch1x1 = _Conv(channels, 320, 1)
        self.branch3x3_1 = _Conv(channels, 384, 1)
        self.branch3x3_2a = _Conv(384, 384, (1, 3))
        self.branch3x3_2b = _Conv(384, 384, (3, 1))
        self.branch3x3dbl_1 = _Conv(channels, 448, 1)
        self.branch3x3dbl_2 = _Conv(448, 384, 3)
        self.branch3x3dbl_3a = _Conv(384, 384, (1, 3))
        self.branch3x3dbl_3b = _Conv(384, 384, (3, 1))
        self.branch_pool = _Conv(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        short = self.branch3x3_1(x)
        long = self.chain(x, "branch3x3dbl_1", "branch3x3dbl_2")
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(short),
                self.branch3x3_2b(short),
                self.branch3x3dbl_3a(long),
                self.branch3x3dbl_3b(long),
                self.branch_pool(self.pool(x)),
            ],
            dim=1,
        )


class FIDInception(nn.Module):
    """From N x 3 x 299 x 299 images in [-1, 1] to the N x 2048 features that FID and KID read."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2, same=False)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, same=False)
        self.Mixed_5b = _MixedA(192, pool=32)
        self.Mixed_5c = _MixedA(256, pool=64)
        self.Mixed_5d = _MixedA(288, pool=64)
        self.Mixed_6a = _MixedB(288)
        self.Mixed_6b = _MixedC(inner=128)
        self.Mixed_6c = _MixedC(inner=160)
        self.Mixed_6d = _MixedC(inner=160)
        self.Mixed_6e = _MixedC(inner=192)
        self.Mixed_7a = _MixedD()
        self.Mixed_7b = _MixedE(1280, last=False)
        self.Mixed_7c = _MixedE(2048, last=True)
        # Never called: the published file holds the classifier, and it is to load whole.
        self.fc = nn.Linear(2048, 1008)

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean over positions of the last block's output."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2)))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_6e(self.Mixed_6d(x))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean(dim=(2, 3))

    def load(self, state: Mapping[str, Tensor], *, origin: str = "the given state") -> None:
        """Load the published file's state strictly; `WeightsError` names `origin` on a misfit."""
        # Old files lack batch norm's counters; a plain dict (without version) may.
        try:
            self.load_state_dict(dict(state))
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()
            raise WeightsError(f"{origin} is not FID's Inception v3: {first}") from error


class RectifiedConv(nn.Module):
    """Convolution with bias, then ReLU, in one call where there is one; channels-last."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None, "a folded norm leaves a bias"
        self.register_buffer(
            "weight", conv.weight.detach().float().contiguous(memory_format=torch.channels_last)
        )
        self.register_buffer("bias", conv.bias.detach().float())
        self.stride = [int(n) for n in conv.stride]
        self.padding = [int(n) for n in conv.padding]  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        """Return the rectified maps."""
        if fused_calls() and x.device.type == "cpu":
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, self.padding, self.stride, [1, 1], 1, "relu", [], ""
            )
        return F.relu(F.conv2d(x, self.weight, self.bias, self.stride, self.padding))


def fused_calls() -> bool:
    """Whether this build of PyTorch has oneDNN's convolution with ReLU in one call."""
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )


def folded(network: FIDInception) -> FIDInception:
    """Return `network`, changed in place: each convolution with its norm and ReLU is one layer.

    It can only be used, no longer trained or loaded; give it channels-last images.
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, _Conv):
            fold_pair(module.conv, module.bn)
            network.set_submodule(name, RectifiedConv(module.conv))
    return network.eval()
