"""Networks whose weights lie as the processor's kernels want them, once and for all.

PyTorch's eager convolutions bring their weights into oneDNN's blocked layout at every call: for
pix2pix's U-Net that moves 218 MB twice for each picture, more than the arithmetic costs. Here it
is done at the first call; maps are channels-last, and bias and rectifier belong to the same call.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLAIN = {
    "none": lambda x: x,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
}
"""What one call can do after the convolution, by oneDNN's name, and how it is done without."""


class PackedConv(nn.Module):
    """A convolution, transposed or not, and what follows it, in one call on channels-last maps.

    Weights and bias are of `dtype`, which the maps have to be, too. Where there is no oneDNN, or
    the maps are not on the CPU, plain operations do the same.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.transposed = isinstance(conv, nn.ConvTranspose2d)
        weight = conv.weight.detach().to(dtype)
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        channels = conv.out_channels
        bias = weight.new_zeros(channels) if conv.bias is None else conv.bias.detach().to(dtype)
        self.register_buffer("bias", bias)
        self.stride = [int(n) for n in conv.stride]
        self.padding = [int(n) for n in conv.padding]
        self.output_padding = [int(n) for n in conv.output_padding]
        self.border: tuple[str, list[int]] | None = None
        if conv.padding_mode != "zeros":
            self.border = conv.padding_mode, [int(n) for n in conv._reversed_padding_repeated_twice]
            self.padding = [0, 0]
        self.after: tuple[str, list[float]] = ("none", [])
        self.packed: Tensor | None = None
        self.packed_padding = self.padding
        self.cropped_for: tuple[int, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps, N x out_channels x h x w."""
        if self.border is not None:
            x = F.pad(x, self.border[1], mode=self.border[0])
        if not has_onednn() or x.device.type != "cpu":
            return self._plainly(x)
        if self.packed is None or self.cropped_for not in (None, tuple(x.shape[-2:])):
            self._pack(list(x.shape))
        name, numbers = self.after
        if self.transposed:
            return torch.ops.mkldnn._convolution_transpose_pointwise(
                x, self.packed, self.bias, self.padding, self.output_padding, self.stride,
                [1, 1], 1, name, numbers, "",
            )  # fmt: skip
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.packed, self.bias, self.packed_padding, self.stride, [1, 1], 1, name, numbers,
            "",
        )  # fmt: skip

    def _pack(self, shape: list[int]) -> None:
        """Lay the weights out for inputs of `shape`; others are computed as well, if slower.

        Rows and columns of a kernel that see nothing but padding in such maps (a U-Net's innermost
        convolution has 4 x 4 weights for 2 x 2 positions) are left out, and the weights kept for
        maps of another size.
        """
        if self.transposed:
            self.packed = torch.ops.mkldnn._reorder_convolution_transpose_weight(
                self.weight, self.padding, self.output_padding, self.stride, [1, 1], 1, shape
            )
            del self.weight
            return
        weight, self.packed_padding, self.cropped_for = self.weight, self.padding, None
        rims = [
            unseen(size, kernel, pad)
            for size, kernel, pad in zip(shape[-2:], weight.shape[-2:], self.padding, strict=True)
        ]
        if any(rims):
            for axis, rim in zip((2, 3), rims, strict=True):
                weight = weight.narrow(axis, rim, weight.shape[axis] - 2 * rim)
            weight = weight.contiguous(memory_format=torch.channels_last)
            self.packed_padding = [pad - rim for pad, rim in zip(self.padding, rims, strict=True)]
            self.cropped_for = (shape[-2], shape[-1])
        else:
            del self.weight
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(
            weight, self.packed_padding, self.stride, [1, 1], 1, shape
        )

    def _plainly(self, x: Tensor) -> Tensor:
        if self.transposed:
            x = F.conv_transpose2d(
                x, self.weight, self.bias, self.stride, self.padding, self.output_padding
            )
        else:
            x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        name, numbers = self.after
        return PLAIN[name](x, *numbers)


class PackedDoubling(nn.Module):
    """A transposed convolution of kernel 4, stride 2, padding 1 as one plain convolution.

    Each quarter of the result's pixels (even or odd row, even or odd column) sees a 2x2 kernel of
    its own. So a 2x2 convolution to four times the channels, whose results are interlaced, makes
    the same products; oneDNN's plain convolutions are up to four times as fast as its transposed
    ones.
    """

    def __init__(self, conv: nn.ConvTranspose2d, *, dtype: torch.dtype) -> None:
        super().__init__()
        into, out = conv.in_channels, conv.out_channels
        self.channels = out
        plain = nn.Conv2d(into, 4 * out, 2, padding=1, device="meta")
        # The padded map's two rows at a place (r) are seen by the kernel's rows 3 and 1 for even
        # rows of the result (e = 0), 2 and 0 for odd ones (e = 1): turned round, row 2r + e.
        weight = conv.weight.detach().flip(2, 3).reshape(into, out, 2, 2, 2, 2)
        # in, out, r, e, s, f  to  (e, f, out), r, s, in: channels-last already
        parts = weight.permute(3, 5, 1, 2, 4, 0).reshape(4 * out, 2, 2, into)
        plain.weight = nn.Parameter(parts.permute(0, 3, 1, 2), requires_grad=False)
        bias = weight.new_zeros(out) if conv.bias is None else conv.bias.detach()
        plain.bias = nn.Parameter(bias.repeat(4), requires_grad=False)
        self.conv = PackedConv(plain, dtype=dtype)
        self.single: PackedConv | None = None

    def forward(self, x: Tensor, into: Tensor | None = None) -> Tensor:
        """Return the maps, N x out_channels x 2h x 2w; written to `into` where it is given."""
        count, _, height, width = x.shape
        channels = self.channels
        if single := self._for_one_position(x):
            quarters, apart = single(x), 0  # N x (row, column, C) x 1 x 1
        else:
            quarters, apart = self.conv(x), 1  # N x (row, column, C) x (h+1) x (w+1)
        if into is None:
            into = torch.empty(
                (count, channels, 2 * height, 2 * width),
                dtype=x.dtype,
                device=x.device,
                memory_format=torch.channels_last,
            )
        # Pixel (2y + e, 2x + f) is quarter (e, f) at (y + e, x + f), of one position at (0, 0): one
        # copy between two views.
        one, channel, row, column = quarters.stride()
        quarter = (apart * row + 2 * channels * channel, apart * column + channels * channel)
        ours = (one, row, quarter[0], column, quarter[1], channel)
        one, channel, row, column = into.stride()
        theirs = (one, 2 * row, row, 2 * column, column, channel)
        shape = (count, height, 2, width, 2, channels)
        into.as_strided(shape, theirs, into.storage_offset()).copy_(
            quarters.as_strided(shape, ours, quarters.storage_offset())
        )
        return into

    def _for_one_position(self, x: Tensor) -> PackedConv | None:
        """Return the convolution for maps of 1 x 1, where each quarter sees one weight of four."""
        if x.shape[-2:] != (1, 1) or (self.single is None and self.conv.packed is not None):
            return None
        if self.single is None:
            out, into = self.channels, x.shape[1]
            parts = self.conv.weight.permute(0, 2, 3, 1).reshape(2, 2, out, 2, 2, into)
            plain = nn.Conv2d(into, 4 * out, 1, device="meta")
            seen = torch.stack([parts[e, f, :, 1 - e, 1 - f] for e in (0, 1) for f in (0, 1)])
            plain.weight = nn.Parameter(seen.reshape(4 * out, into, 1, 1), requires_grad=False)
            plain.bias = nn.Parameter(self.conv.bias, requires_grad=False)
            self.single = PackedConv(plain, dtype=self.conv.weight.dtype)
            self.single.after = self.conv.after
        return self.single


def unseen(size: int, kernel: int, pad: int) -> int:
    """Return how many of a kernel's places at either end meet only padding, on `size` positions.

    At the far end those that lie behind the image even at the first position; there are never
    fewer at the near end, where the last position is as far from the padding's end or farther.
    """
    return max(0, kernel - size - pad)


def packed(conv: nn.Conv2d | nn.ConvTranspose2d, *, dtype: torch.dtype) -> nn.Module:
    """Return a convolution packed in the form that is fastest."""
    doubles = (conv.kernel_size, conv.stride, conv.padding) == ((4, 4), (2, 2), (1, 1))
    if isinstance(conv, nn.ConvTranspose2d) and doubles and conv.output_padding == (0, 0):
        return PackedDoubling(conv, dtype=dtype)
    return PackedConv(conv, dtype=dtype)


def has_onednn() -> bool:
    """Whether this build of PyTorch has oneDNN's convolutions with what follows in one call."""
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_convolution_transpose_pointwise"
    )
