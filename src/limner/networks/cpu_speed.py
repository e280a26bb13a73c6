"""What is special to a CPU's speed: convolutions by im2col or channels last, freed memory kept.

Deep in a U-Net a picture has shrunk to 8 x 8, 4 x 4, 1 x 1 positions while a layer has millions of
weights. There the CPU's convolution kernels spend their time on arranging the weights, above all
in the backward pass; a matrix product takes the weights as they lie. Measured in
docs/performance.md: at batch 1 they take a half to a third of the time. Further out it is the maps
that the kernels would arrange at each call, so there they are channels last throughout.

A layer's output of eight images is tens of MB. glibc gives such blocks back to the kernel when
they are freed, and every page of the next one faults and is filled with zeros: thousands of faults
an image in Inception. `kept_memory` keeps them. Which memory holds a number does not change it.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW = 256
"""Positions (of the smaller side, over the batch) up to which the matrix product was faster."""

THIN = 32
"""Up to so many positions a product waits for its weights: what bfloat16 saves in arithmetic, it
loses by converting weights and gradients, so float32 is both faster and exact."""


LIGHT = 2**19
"""Weights up to which float32 maps are channels last; of more, arranging them costs too much."""


def computes_in(numbers: str) -> bool:
    """Whether the processor has kernels for "float16" or "bfloat16", and need not imitate them."""
    kind = {"float16": "fp16", "bfloat16": "bf16"}[numbers]
    return bool(getattr(torch.ops.mkldnn, f"_is_mkldnn_{kind}_supported")())


def _uses_im2col(image: Tensor, positions: int) -> bool:
    """Whether to take the matrix product: on a CPU, in training.

    Without gradients the kernels' own order of summation is kept, so that a translated picture is
    the same to the last digit as the reference implementations'.
    """
    return image.device.type == "cpu" and torch.is_grad_enabled() and len(image) * positions <= FEW


def _arranged(image: Tensor, weight: Tensor) -> Tensor:
    """Return `image` channels last where its convolution is faster so: on a CPU, in training."""
    rounds = torch.is_autocast_enabled("cpu")
    if image.device.type != "cpu" or not torch.is_grad_enabled():
        return image
    if not rounds and weight.numel() > LIGHT:
        return image
    if image.requires_grad and image.is_contiguous():
        image.register_hook(_contiguous)
    return image.contiguous(memory_format=torch.channels_last)


def _contiguous(slope: Tensor | None) -> Tensor | None:
    return None if slope is None else slope.contiguous()


def _product(one: Tensor, other: Tensor, positions: int) -> Tensor:
    """Return the matrix product, under autocast in the numbers that are faster."""
    if positions > THIN or not torch.is_autocast_enabled("cpu"):
        return one @ other
    with torch.autocast("cpu", enabled=False):
        return (one.float() @ other.float()).to(torch.get_autocast_dtype("cpu"))


def _gathered(columns: Tensor) -> Tensor:
    """Return N x R x L as R x (N L); for one picture without a copy."""
    if len(columns) == 1:
        return columns[0]
    return columns.transpose(0, 1).reshape(columns.shape[1], -1)


def _spread(rows: Tensor, count: int) -> Tensor:
    """Return R x (N L) as N x R x L, the inverse of `_gathered`."""
    return rows.unflatten(1, (count, -1)).transpose(0, 1)


def concatenated(skip: Tensor, hidden: Tensor) -> Tensor:
    """Return the maps beside each other, N x C x H x W and N x D x H x W as N x (C + D) x H x W.

    Channels last, the gradient of `hidden` would be a slice of each pixel, over which batch norm's
    backward pass takes many times as long: it is written to memory of its own.
    """
    last = torch.channels_last
    on_cpu = hidden.device.type == "cpu"
    if on_cpu and hidden.requires_grad and hidden.is_contiguous(memory_format=last):
        hidden.register_hook(_dense)
    return torch.cat([skip, hidden], dim=1)


def _dense(slope: Tensor | None) -> Tensor | None:
    return None if slope is None else slope.contiguous(memory_format=torch.channels_last)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` for zero padding, one group and no dilation; the same up to rounding."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `input`, N x C x H x W."""
        height, width = (
            (side + 2 * int(pad) - kernel) // stride + 1
            for side, pad, kernel, stride in zip(
                input.shape[-2:], self.padding, self.kernel_size, self.stride, strict=True
            )
        )
        if not _uses_im2col(input, height * width):
            return super().forward(_arranged(input, self.weight))
        columns = F.unfold(input, self.kernel_size, padding=self.padding, stride=self.stride)  # pyright: ignore[reportArgumentType]
        columns = _gathered(columns)
        output = _product(self.weight.flatten(1), columns, columns.shape[1])
        output = _spread(output, len(input))
        output = output.unflatten(2, (height, width))
        return output if self.bias is None else output + self.bias[:, None, None].to(output.dtype)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`, likewise; without output padding."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve `input`, N x C x H x W."""
        height, width = input.shape[-2:]
        if output_size is not None or not _uses_im2col(input, height * width):
            return super().forward(_arranged(input, self.weight), output_size)
        sides = [
            (side - 1) * stride - 2 * int(pad) + kernel
            for side, pad, kernel, stride in zip(
                (height, width), self.padding, self.kernel_size, self.stride, strict=True
            )
        ]
        # In this order autocast and the gradient read and write the weights as they lie.
        pixels = _gathered(input.flatten(2)).t()
        columns = _product(pixels, self.weight.flatten(1), len(pixels)).t()
        output = F.fold(
            _spread(columns, len(input)),
            sides,  # pyright: ignore[reportArgumentType]
            self.kernel_size,
            padding=self.padding,  # pyright: ignore[reportArgumentType]
            stride=self.stride,
        )
        return output if self.bias is None else output + self.bias[:, None, None].to(output.dtype)


# The options of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3

_KEEP = {_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: 1 << 30, _TOP_PAD: 1 << 26}
"""Blocks below 1 GiB come from heaps, which grow by 64 MiB and keep 1 GiB that is free."""

_USUAL = {_MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26, _TOP_PAD: 1 << 17}
"""What glibc's own adjustment ends with, and its usual padding."""

_inside: ContextVar[bool] = ContextVar("inside a kept block", default=False)


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory of this process inside the block; elsewhere than on glibc do nothing.

    After the block, or the outermost of several, all that is free goes back to the kernel.
    """
    library = _glibc()
    if library is None or _inside.get():  # a validation does not end what its training began
        yield
        return
    token = _inside.set(True)
    _set(library, _KEEP)
    try:
        yield
    finally:
        _inside.reset(token)
        _set(library, _USUAL)
        library.malloc_trim(0)


def keep_memory() -> None:
    """Keep freed memory for the rest of this process, as a worker does."""
    library = _glibc()
    if library is not None:
        _set(library, _KEEP)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    known = all(hasattr(library, name) for name in ("mallopt", "malloc_trim"))
    return library if known else None


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(ctypes.c_int(option), ctypes.c_int(value))
