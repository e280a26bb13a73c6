"""The forms of exported files: how each is written, read back and told from others."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limner.errors import CheckpointError
from limner.inference.backends import OnnxRuntime, OpenVINO, first_line, library, openvino_core
from limner.inference.graphs import Inputs, recorded, write_onnx

KEY = "limner"
"""The name of the entry in a file's metadata; its value is JSON."""

Files = tuple[Path, ...]
Size = tuple[int, int] | None


@dataclass(frozen=True)
class Format:
    """A form of exported file.

    `suffixes` are those of its files, the one that is named first; `write(network, files, inputs=,
    size=, about=)` writes a prepared network, `read(files)` gives it back as a callable and
    `about(files)` what it says of itself. `needs` are the libraries that writing takes.
    """

    needs: tuple[str, ...]
    suffixes: tuple[str, ...]
    write: Callable[..., None]
    read: Callable[[Files], nn.Module]
    about: Callable[[Files], dict[str, Any]]

    def files(self, path: Path) -> Files:
        """Return the files that belong to the one at `path`."""
        return (path, *(path.with_suffix(suffix) for suffix in self.suffixes[1:]))


def _write_onnx(
    network: nn.Module, files: Files, *, inputs: Inputs, size: Size, about: dict[str, Any]
) -> None:
    onnx: Any = library("onnx")
    write_onnx(network, files[0], inputs=inputs, size=size)
    model = onnx.load(files[0])
    onnx.helper.set_model_props(model, {KEY: json.dumps(about)})
    onnx.save(model, files[0])


def _about_onnx(files: Files) -> dict[str, Any]:
    return _parsed(files[0], OnnxRuntime(files[0]).metadata().get(KEY))


def _write_openvino(
    network: nn.Module, files: Files, *, inputs: Inputs, size: Size, about: dict[str, Any]
) -> None:
    openvino: Any = library("openvino")
    with tempfile.TemporaryDirectory(dir=files[0].parent, prefix=".") as folder:
        graph, xml = Path(folder) / "generator.onnx", Path(folder) / "generator.xml"
        write_onnx(network, graph, inputs=inputs, size=size)
        model = openvino_core().read_model(str(graph))
        model.set_rt_info(json.dumps(about), [KEY])
        # Its own choice would be float16 weights.
        openvino.save_model(model, str(xml), compress_to_fp16=False)
        xml.replace(files[0])
        xml.with_suffix(".bin").replace(files[1])


def _about_openvino(files: Files) -> dict[str, Any]:
    model: Any = OpenVINO(*files).model
    known = model.has_rt_info([KEY])
    return _parsed(files[0], model.get_rt_info([KEY]).astype(str) if known else None)


class TorchScript(nn.Module):
    """A TorchScript file as a network. It is a program: read none that you do not trust."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        extra = {f"{KEY}.json": ""}
        try:
            with warnings.catch_warnings():
                # PyTorch announces TorchScript's successor; files of it are still used.
                warnings.simplefilter("ignore", DeprecationWarning)
                self.program = torch.jit.load(str(path), _extra_files=extra)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path} cannot be read as TorchScript: {first_line(error)}"
            ) from error
        self.text = extra[f"{KEY}.json"]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the picture of a source, and perhaps of a style code."""
        return self.program(*inputs)


def _write_torchscript(
    network: nn.Module, files: Files, *, inputs: Inputs, size: Size, about: dict[str, Any]
) -> None:
    module = recorded(network, inputs=inputs, size=size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # To memory: on a full disk PyTorch's own writer aborts the process.
        buffer = io.BytesIO()
        torch.jit.save(module, buffer, _extra_files={f"{KEY}.json": json.dumps(about)})
    files[0].write_bytes(buffer.getbuffer())


def _about_torchscript(files: Files) -> dict[str, Any]:
    return _parsed(files[0], TorchScript(files[0]).text)


def _parsed(path: Path, text: str | bytes | None) -> dict[str, Any]:
    if not text:
        raise CheckpointError(f"{path} was not written by limner export: it says nothing of a run")
    return json.loads(text)


FORMATS: dict[str, Format] = {
    "onnx": Format(
        needs=("onnx", "onnxruntime"),
        suffixes=(".onnx",),
        write=_write_onnx,
        read=lambda files: OnnxRuntime(files[0]),
        about=_about_onnx,
    ),
    "openvino": Format(
        needs=("openvino",),
        suffixes=(".xml", ".bin"),
        write=_write_openvino,
        read=lambda files: OpenVINO(*files),
        about=_about_openvino,
    ),
    "torchscript": Format(
        needs=(),
        suffixes=(".pt",),
        write=_write_torchscript,
        read=lambda files: TorchScript(files[0]),
        about=_about_torchscript,
    ),
}
"""By the name that --format takes. All keep float32 weights and let the sides of pictures vary."""
