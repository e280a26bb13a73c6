"""The back ends: ways to compute one generator's pictures, exact and approximate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from limner.errors import ConfigError, unknown_name
from limner.inference.folding import simplified
from limner.inference.packedconv import has_onednn
from limner.inference.packing import Packed
from limner.inference.runtimes import as_onnxruntime, as_openvino


@dataclass(frozen=True)
class Backend:
    """A way to compute pictures.

    `build(network, statistics=, dropout=)` returns a module that takes what the network takes and
    gives its pictures; `exact` ones differ by rounding in float32 alone (below 1e-5 on [-1, 1]).
    Only those that are `seeded` draw dropout from PyTorch's generator, so that it repeats.
    """

    about: str
    build: Callable[..., nn.Module]
    exact: bool = True
    seeded: bool = False
    cpu_only: bool = False


def _packed(network: nn.Module, *, statistics: str, dropout: bool, dtype: torch.dtype) -> Packed:
    if dtype == torch.float16:
        _check_float16(network)
    return Packed(simplified(network, statistics=statistics, dropout=dropout), dtype=dtype)


def _check_float16(network: nn.Module) -> None:
    """Raise ConfigError where the processor has no float16 or a weight is beyond its range."""
    weights = list(network.parameters())
    on_cpu = all(one.device.type == "cpu" for one in weights)
    if on_cpu and has_onednn() and not torch.ops.mkldnn._is_mkldnn_fp16_supported():
        raise ConfigError("this processor does not compute in float16: take bf16 or folded")
    if any(float(one.detach().abs().max()) > torch.finfo(torch.float16).max for one in weights):
        raise ConfigError("a weight of this run is too large for float16: take bf16 or folded")


def _itself(network: nn.Module, *, statistics: str, dropout: bool) -> nn.Module:
    return network


BACKENDS: dict[str, Backend] = {
    "eager": Backend("PyTorch, float32, the network as it was trained", _itself, seeded=True),
    "folded": Backend(
        "PyTorch, float32, norms folded in, weights laid out once",
        partial(_packed, dtype=torch.float32),
        seeded=True,
    ),
    "f16": Backend(
        "the same in float16, norms that stay in float32",
        partial(_packed, dtype=torch.float16),
        exact=False,
        seeded=True,
    ),
    "bf16": Backend(
        "the same in bfloat16, norms that stay in float32",
        partial(_packed, dtype=torch.bfloat16),
        exact=False,
        seeded=True,
    ),
    "onnxruntime": Backend("onnxruntime, float32", as_onnxruntime, cpu_only=True),
    "openvino": Backend("OpenVINO, float32", as_openvino, cpu_only=True),
    "openvino-f16": Backend(
        "OpenVINO, float16", partial(as_openvino, precision="f16"), exact=False, cpu_only=True
    ),
    "openvino-bf16": Backend(
        "OpenVINO, bfloat16", partial(as_openvino, precision="bf16"), exact=False, cpu_only=True
    ),
}
"""By name; the extra that onnxruntime and OpenVINO come with is `export`."""

DEFAULT = "folded"


def built(
    network: nn.Module, backend: str, *, statistics: str, dropout: bool, device: torch.device
) -> nn.Module:
    """Return a generator as `backend` computes it; the generator itself is not changed.

    Raises:
        ConfigError: no back end has that name, it cannot do what the run asks for, or its library
            is not installed.
    """
    if backend not in BACKENDS:
        raise unknown_name("back end", backend, BACKENDS)
    one = BACKENDS[backend]
    if dropout and not one.seeded:
        able = ", ".join(name for name, other in BACKENDS.items() if other.seeded)
        raise ConfigError(
            f"this run keeps dropout on, and {backend} cannot repeat what it draws: take {able}, "
            "or set inference.dropout=false"
        )
    if one.cpu_only and device.type != "cpu":
        raise ConfigError(f"the back end {backend} works on the CPU: give --device cpu")
    return one.build(network, statistics=statistics, dropout=dropout)
