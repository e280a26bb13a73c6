"""The back ends: ways to compute one generator's pictures, exact and approximate."""

from __future__ import annotations

import abc
import functools
import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limner.errors import CheckpointError, ConfigError, unknown_name
from limner.inference.cpu.packed_convolutions import has_onednn
from limner.inference.cpu.packed_networks import Packed
from limner.inference.folding import simplified
from limner.inference.graphs import inputs_of, prepared, write_onnx
from limner.networks.cpu_speed import computes_in

EXTRA = "export"


def library(name: str) -> ModuleType:
    """Import an optional library.

    Raises:
        ConfigError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"this needs {name}, which is not installed: pip install 'limner[{EXTRA}]'"
        ) from None


@functools.cache
def openvino_core() -> Any:
    """Return OpenVINO's one core of this process, which is never let go.

    A core's CPU plugin gives the process a stack for signal handlers and takes it away at its end,
    in whatever order cores end: two of them can leave the process with a stack that is no longer
    mapped, and then the next signal (Ctrl-C, the end of a data worker) is a segmentation fault.

    Raises:
        ConfigError: OpenVINO is not installed.
    """
    return library("openvino").Core()


class Runtime(nn.Module, abc.ABC):
    """A graph as a network: float32 N x C x H x W (and codes) in, float32 out, no gradients."""

    anchor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anchor", torch.zeros(()))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the picture of a source, and perhaps of a style code."""
        arrays = [np.ascontiguousarray(one.numpy(force=True), np.float32) for one in inputs]
        return torch.from_numpy(self.run(arrays))

    @abc.abstractmethod
    def run(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Return the graph's output for its inputs, in their order."""


class OnnxRuntime(Runtime):
    """An ONNX file run by onnxruntime. ONNX is a list of operators: loading it runs no code.

    Raises:
        CheckpointError: the file is missing, damaged or needs operators that are not ONNX's own.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        runtime: Any = library("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # onnxruntime raises exceptions of its own for every kind of damage.
            raise CheckpointError(f"{path} cannot be read as ONNX: {first_line(error)}") from error
        self.names = [one.name for one in self.session.get_inputs()]

    def run(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Return the graph's output for its inputs, in their order."""
        (picture,) = self.session.run(None, dict(zip(self.names, arrays, strict=True)))
        return picture

    def metadata(self) -> dict[str, str]:
        """Return what is written in the file beside the graph."""
        return dict(self.session.get_modelmeta().custom_metadata_map)


class OpenVINO(Runtime):
    """A model of OpenVINO's own form, or an ONNX file, compiled for the CPU.

    `weights` is the file of the weights, where it does not lie beside with the suffix .bin.
    `precision` is "f32", "f16" or "bf16" and said in any case: left alone OpenVINO takes bf16 where
    the processor has it. The model is compiled anew for the shapes of the first call, for which it
    is then a quarter faster; other shapes go through the general one.

    Raises:
        CheckpointError: the file is missing or damaged.
    """

    def __init__(self, path: Path, weights: Path | None = None, *, precision: str = "f32") -> None:
        super().__init__()
        self.settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        try:
            self.model = openvino_core().read_model(str(path), str(weights or ""))
            self.compiled = openvino_core().compile_model(self.model, "CPU", self.settings)
        except Exception as error:
            # OpenVINO has one exception, RuntimeError, and ONNX's reader others.
            raise CheckpointError(
                f"{path} cannot be read by OpenVINO: {first_line(error)}"
            ) from error

        self.shapes: list[list[int]] | None = None
        self.fitted: Any = None

    def run(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Return the graph's output for its inputs, in their order."""
        shapes = [list(one.shape) for one in arrays]
        if self.shapes is None:
            self.shapes, self.fitted = shapes, self._fitted(shapes)
        compiled = self.fitted if shapes == self.shapes else self.compiled
        # A copy: the result lies in memory that the next call writes to.
        return np.array(compiled(arrays)[0])

    def _fitted(self, shapes: list[list[int]]) -> Any:
        model = self.model.clone()
        model.reshape(dict(enumerate(shapes)))
        return openvino_core().compile_model(model, "CPU", self.settings)


def first_line(error: BaseException) -> str:
    """Return what an error says first."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _through_onnx(
    network: nn.Module,
    *,
    statistics: str,
    dropout: bool,
    needs: str,
    load: Callable[[Path], Runtime],
) -> Runtime:
    """Return a generator as another runtime computes it: written as ONNX, and read by that."""
    library(needs)
    plain = prepared(network, statistics=statistics, dropout=dropout)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"
        write_onnx(plain, path, inputs=inputs_of(network))
        return load(path)


as_onnxruntime = partial(_through_onnx, needs="onnxruntime", load=OnnxRuntime)


def as_openvino(precision: str) -> Callable[..., Runtime]:
    """Return what builds a generator for OpenVINO to compute in "f32", "f16" or "bf16"."""
    load = partial(OpenVINO, precision=precision)
    return partial(_through_onnx, needs="openvino", load=load)


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
    """Raise ConfigError where a weight is beyond the range of float16."""
    weights = network.parameters()
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
    "openvino": Backend("OpenVINO, float32", as_openvino("f32"), cpu_only=True),
    "openvino-f16": Backend("OpenVINO, float16", as_openvino("f16"), exact=False, cpu_only=True),
    "openvino-bf16": Backend("OpenVINO, bfloat16", as_openvino("bf16"), exact=False, cpu_only=True),
}
"""By name; the extra that onnxruntime and OpenVINO come with is `export`."""

DEFAULT = "folded"

_NUMBERS = {"f16": "float16", "bf16": "bfloat16"}
"""What a back end asks of the processor."""


def lacking(backend: str, device: torch.device) -> str | None:
    """Say in one sentence why `DEFAULT` stands in for a back end; None where it need not.

    Not every processor has oneDNN's kernels for numbers of 16 bits.
    """
    if backend not in _NUMBERS or device.type != "cpu" or not has_onednn():
        return None
    numbers = _NUMBERS[backend]
    if computes_in(numbers):
        return None
    return f"this processor does not compute in {numbers}: {DEFAULT} is used in place of {backend}"


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
