"""How far a generator sees, and how much memory it takes: measured, not listed by family."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from limner.config import Config
from limner.networks.normalisation import SpectralConv2d

BATCH_NORMS = nn.modules.batchnorm._BatchNorm
PICTURE_NORMS = (nn.InstanceNorm2d, nn.GroupNorm)


@dataclass(frozen=True)
class Reach:
    """How a generator sees: over how many pixels, and whether anything spans the whole picture.

    `multiple` is the network's total stride. What lies further than `pixels` beyond a block of
    pixels whose sides are multiples of it changes nothing within, as long as the statistics of
    norms stay. `whole` tells that they do not: instance and group norm, and batch norm that takes
    the picture's own statistics, see all of the picture.
    """

    multiple: int
    pixels: int
    whole: bool

    @property
    def halo(self) -> int:
        """The reach as a multiple of the stride."""
        return -(-self.pixels // self.multiple) * self.multiple


def reach_of(config: Config) -> Reach:
    """Measure how far a run's generator sees.

    A twin of few filters, all weights positive and its norms left out, is shown a long strip: the
    pixels with a gradient are those that are seen. Kernels are square, so that one axis speaks for
    both, and the number of filters changes nothing.
    """
    twin, whole = _twin(config)
    multiple = int(twin.multiple)  # pyright: ignore[reportArgumentType]
    height = max(2 * multiple, int(getattr(twin, "smallest", 1)))
    strides = 4
    while True:
        width = (2 * strides + 1) * multiple
        begin, end = strides * multiple, (strides + 1) * multiple
        # Small numbers, so that neither tanh nor products of skips leave the straight part.
        image = torch.full((1, 1, height, width), 1e-3, dtype=torch.float64, requires_grad=True)
        with torch.inference_mode(False), torch.enable_grad():
            twin(image)[..., begin:end].sum().backward()
        assert image.grad is not None
        seen = torch.nonzero(image.grad.abs().sum((0, 1, 2))).flatten()
        first, last = int(seen[0]), int(seen[-1])
        if first > 0 and last < width - 1:
            return Reach(multiple, max(begin - first, last + 1 - end), whole)
        strides *= 2


def _twin(config: Config) -> tuple[nn.Module, bool]:
    """Return the twin, and whether a norm of the network it stands for spans the picture."""
    few = {"width": 2, "hidden": 1, "latent": 0, "spectral": False}
    keywords = {key: few.get(key, value) for key, value in config.generator.keywords.items()}
    with torch.inference_mode(False), torch.no_grad():
        twin = config.generator.network(**keywords, in_channels=1, out_channels=1).double().eval()
        whole = False
        for name, module in list(twin.named_modules()):
            own = isinstance(module, BATCH_NORMS) and config.inference.statistics == "batch"
            if isinstance(module, PICTURE_NORMS) or own:
                whole = True
            if isinstance(module, (*PICTURE_NORMS, BATCH_NORMS)):
                twin.set_submodule(name, nn.Identity())
        for module in twin.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                assert not isinstance(module, SpectralConv2d)
                module.weight.fill_(1 / module.weight[0].numel())
                if module.bias is not None:
                    module.bias.zero_()
    return twin.requires_grad_(False), whole


class _LiveBytes(TorchDispatchMode):
    """Adds up the bytes of the tensors that are made within, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in self._known:
                    self._known.add(key)
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._gone, key, storage.nbytes())
        return made

    def _gone(self, key: int, nbytes: int) -> None:
        self._known.discard(key)
        self.now -= nbytes


LIBRARIES = 1.5
"""What libraries take beside tensors: copies in layouts of their own, and room kept for more."""


def bytes_a_pixel(work: Callable[[], object], pixels: int) -> float:
    """Measure what `work` on so many pixels takes, in bytes a pixel."""
    with _LiveBytes() as live:
        work()
    return LIBRARIES * live.peak / pixels
