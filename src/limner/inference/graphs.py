"""A generator as a graph of operators: the ONNX and TorchScript forms of its simplified network.

Height, width and number of pictures stay free. Both are recorded from one pass over an example,
by PyTorch's TorchScript exporter: the newer one (`dynamo=True`) exports dropout and the statistics
of batches as if they were off, and says nothing.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.onnx
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from limner.errors import ExportError
from limner.inference.folding import BATCH_NORMS, DROPOUTS, replace, simplified

OPSET = 17
OUTPUT = "picture"


@dataclass(frozen=True)
class Inputs:
    """What a generator is given: `channels` of a source and perhaps a style code of `latent`.

    Sides of sources are multiples of `multiple` and at least `smallest`; `home` is the size
    (height, width) at which a style code's first map needs no resizing.
    """

    channels: int
    latent: int
    multiple: int
    smallest: int
    home: tuple[int, int] | None

    @property
    def names(self) -> list[str]:
        """The names of the graph's inputs."""
        return ["source", "code"] if self.latent else ["source"]

    def example(self, count: int, size: tuple[int, int], *, seed: int = 0) -> tuple[Tensor, ...]:
        """Draw inputs for `count` pictures of `size` (height, width), in [-1, 1]; codes N(0, 1)."""
        rng = torch.Generator().manual_seed(seed)
        source = torch.rand(count, self.channels, *size, generator=rng) * 2 - 1
        code = (torch.randn(count, self.latent, generator=rng),) if self.latent else ()
        return source, *code

    def sizes(self, size: tuple[int, int] | None = None) -> list[tuple[int, int]]:
        """Return sizes to try a graph with: the fixed one, or some that differ in every way.

        The first is not `home`, so that what is recorded with it holds for every size.
        """
        if size is not None:
            return [size]
        least = -(-self.smallest // self.multiple) * self.multiple
        more = least + self.multiple
        tried = [(least, more), (more, least), (least, least)]
        return sorted(tried, key=lambda one: one == self.home) + ([self.home] if self.home else [])


def inputs_of(network: nn.Module) -> Inputs:
    """Return what a generator is given."""
    multiple = _number(network, "multiple")
    start = getattr(network, "start_size", None)
    return Inputs(
        channels=_number(network, "in_channels"),
        latent=_number(network, "latent", 0),
        multiple=multiple,
        smallest=_number(network, "smallest", 1),
        home=(start[0] * multiple, start[1] * multiple) if start else None,
    )


def _number(network: nn.Module, name: str, default: int | None = None) -> int:
    value = getattr(network, name, default)
    assert isinstance(value, int)
    return value


class DrawnDropout(nn.Module):
    """Dropout written in operators that every runtime has: draw, compare, multiply.

    Recorded graphs drop what their runtime takes for training, `nn.Dropout` included; this stays.
    """

    def __init__(self, dropout: nn.modules.dropout._DropoutNd) -> None:
        super().__init__()
        self.probability = dropout.p
        self.whole = isinstance(dropout, nn.Dropout2d)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with values, or channels, dropped and the others scaled up."""
        if self.probability == 1:
            return x * 0
        drawn = torch.rand_like(x[:, :, :1, :1] if self.whole else x)
        kept = (drawn >= self.probability).to(x.dtype)
        return x * (kept / (1 - self.probability))


class Scaled(nn.Module):
    """A batch norm with fixed statistics that no convolution takes in: a scale and a shift.

    The recorder's own form of it has to know how many channels come in, and does not always.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        shift = -norm.running_mean.double() * scale
        if norm.affine:
            scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
        self.register_buffer("scale", scale.float()[:, None, None])
        self.register_buffer("shift", shift.float()[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Return N x C x H x W, scaled and shifted channel by channel."""
        return x * self.scale + self.shift


def prepared(network: nn.Module, *, statistics: str, dropout: bool) -> nn.Module:
    """Return a generator's simplified network in the form in which it is recorded."""
    plain = simplified(network, statistics=statistics, dropout=dropout)
    replace(plain, DROPOUTS, DrawnDropout)
    replace(plain, BATCH_NORMS, Scaled)
    for module in plain.modules():
        # Recorders follow values better than memory that changes under them.
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.inplace = False
    return plain.eval()


def live_dropouts(network: nn.Module) -> int:
    """Return how many dropouts of a prepared network draw random numbers."""
    return sum(isinstance(m, DrawnDropout) and 0 < m.probability < 1 for m in network.modules())


@contextlib.contextmanager
def _recording() -> Iterator[None]:
    """Silence what the recorder says of itself, and of checks that do not belong in a graph."""
    # In this order: leaving inference mode would switch gradients on.
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", TracerWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="torch.onnx")
        yield


def write_onnx(
    network: nn.Module, path: Path, *, inputs: Inputs, size: tuple[int, int] | None = None
) -> None:
    """Write a prepared network as ONNX, weights included; `size` (height, width) or any.

    Raises:
        ExportError: the operators that this needs do not exist there.
    """
    names = [*inputs.names, OUTPUT]
    free = {0: "count"} if size else {0: "count", 2: "height", 3: "width"}
    axes = {name: {0: "count"} if name == "code" else free for name in names}
    try:
        with _recording():
            torch.onnx.export(
                network,
                inputs.example(2, inputs.sizes(size)[0]),
                str(path),
                input_names=inputs.names,
                output_names=[OUTPUT],
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(
            f"this generator cannot be written as ONNX ({reason}): take another form"
        ) from error


def recorded(
    network: nn.Module, *, inputs: Inputs, size: tuple[int, int] | None = None
) -> torch.jit.ScriptModule:
    """Return a prepared network as TorchScript."""
    with _recording():
        module = torch.jit.trace(
            network, inputs.example(2, inputs.sizes(size)[0]), check_trace=False
        )
    assert isinstance(module, torch.jit.ScriptModule)
    return module
