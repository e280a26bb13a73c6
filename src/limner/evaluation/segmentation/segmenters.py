"""Segmenters: an ONNX file, a TorchScript file, a Hugging Face model, or a Python callable.

All take float32 RGB in [0, 1], N x 3 x H x W, and give scores N x C x h x w, the higher the
likelier; h x w may be smaller than H x W. Normalisation lies inside: in the file of an ONNX or
TorchScript segmenter, and in `preprocessor_config.json` for a Hugging Face model.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import ConfigError, WeightsError, ran_out_of_memory
from limner.evaluation.segmentation.protocols import Size
from limner.networks import pretrained

MULTIPLE = 8
"""Sides of what a segmenter is given are multiples of it; see `predict`."""

PADDING = "edge pixels repeated at the right and the bottom, their scores cut off again"
RESAMPLING = "scores resampled bilinearly (half-pixel centres) to the label map, then the largest"

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_TORCHSCRIPT = (".pt", ".pth", ".ts", ".torchscript", ".jit")


@dataclass(frozen=True)
class Segmenter:
    """Something that gives scores of classes, what it is, and what sizes it takes.

    `size` is the one (height, width) that it takes, None for any multiple of `multiple`.
    """

    scores: Callable[[Tensor], Tensor]
    about: dict[str, Any] = field(default_factory=dict)
    multiple: int = MULTIPLE
    size: tuple[int, int] | None = None
    device: torch.device | str = "cpu"

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return str(self.about.get("file") or self.about.get("kind") or "the segmenter")


def load_segmenter(
    where: str | Path, *, device: torch.device | str = "cpu", trust_torchscript: bool = False
) -> Segmenter:
    """Return the segmenter in a file or folder, or of a name on the Hugging Face hub.

    `.onnx` is run by onnxruntime on the CPU. `.pt`, `.pth`, `.ts`, `.torchscript` and `.jit` are
    TorchScript: a program that runs as a program, with all that PyTorch can do, so it is loaded
    only with `trust_torchscript`. A folder with a config.json, or ORGANISATION/NAME where there is
    no such path, is a Hugging Face model; only safetensors weights and no code are taken from it.

    Raises:
        ConfigError: it is none of these, or needs an extra that is not installed.
        WeightsError: a file that cannot be used.
    """
    path = Path(where)
    suffix = path.suffix.lower()
    if suffix == ".onnx" or suffix in _TORCHSCRIPT:
        if not path.is_file():
            raise WeightsError(f"the segmenter {path} does not exist: give an existing file")
        if suffix == ".onnx":
            return onnx_segmenter(path)
        return torchscript_segmenter(path, device=device, trusted=trust_torchscript)
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file()):
        raise ConfigError(
            f"the segmenter {path} is no segmenter: give an .onnx file, a TorchScript file "
            f"({', '.join(_TORCHSCRIPT)}) or a Hugging Face folder with a config.json"
        )
    if not path.is_dir() and (path.is_absolute() or len(path.parts) != 2):
        raise WeightsError(f"the segmenter {path} does not exist: give an existing file or folder")
    return hugging_face_segmenter(where, device=device)


def callable_segmenter(
    function: Callable[[Tensor], Tensor],
    *,
    name: str = "",
    multiple: int = MULTIPLE,
    device: torch.device | str = "cpu",
) -> Segmenter:
    """Return a Python callable as a segmenter; `name` goes into the record."""
    called = name or getattr(function, "__name__", type(function).__name__)
    about = {"kind": "Python callable", "file": called}
    return Segmenter(function, about, multiple, device=device)


def onnx_segmenter(path: Path) -> Segmenter:
    """Return an ONNX file as a segmenter; an ONNX graph holds operators only, no program."""
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing("ONNX segmenters", "onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        # onnxruntime raises exceptions of its own for every kind of damage.
        raise WeightsError(f"{path} cannot be read as ONNX: {_first_line(error)}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = inputs[0].shape if inputs else []
    # A side or a number that is free is a name, or None, in place of a whole number.
    wrong = [n for n, wanted in zip(shape, (1, 3), strict=False) if type(n) is int and n != wanted]
    if len(inputs) != 1 or len(shape) != 4 or wrong:
        raise WeightsError(
            f"{path} takes {[(i.name, i.shape) for i in inputs]}: a segmenter takes one input, RGB "
            "N x 3 x H x W"
        )
    if inputs[0].type != "tensor(float)":
        raise WeightsError(f"{path} takes {inputs[0].type}: a segmenter takes float32 in [0, 1]")
    height, width = shape[2], shape[3]
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def scores(images: Tensor) -> Tensor:
        array = np.ascontiguousarray(images.cpu().numpy(), dtype=np.float32)
        return torch.from_numpy(session.run([outputs[0].name], {inputs[0].name: array})[0])

    about = {
        "kind": "ONNX",
        "file": path.name,
        "sha256": pretrained.sha256(path),
        "onnxruntime": onnxruntime.__version__,
    }
    return Segmenter(scores, about, size=fixed)


def torchscript_segmenter(
    path: Path, *, device: torch.device | str = "cpu", trusted: bool = False
) -> Segmenter:
    """Return a TorchScript file as a segmenter, if it is `trusted`: it runs as a program."""
    if not trusted:
        raise ConfigError(
            f"{path} is TorchScript, a program that runs with all your rights: if you trust its "
            "maker say --trust-torchscript, or give an ONNX file"
        )
    try:
        with warnings.catch_warnings():
            # PyTorch announces TorchScript's successor; files of it are still made and used.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(str(path), map_location=torch.device(device)).eval()
    except (RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read as TorchScript: {_first_line(error)}; a file of weights alone "
            "is no segmenter"
        ) from error
    about = {"kind": "TorchScript", "file": path.name, "sha256": pretrained.sha256(path)}
    return Segmenter(module, about, device=device)


def hugging_face_segmenter(where: str | Path, *, device: torch.device | str = "cpu") -> Segmenter:
    """Return a semantic segmentation model of transformers; its logits may be of a quarter size.

    The mean and deviation of `preprocessor_config.json` are laid over the input (ImageNet's where
    it has none); its resizing is not: the size is that of the evaluation.
    """
    try:
        import transformers  # pyright: ignore[reportMissingImports]
        from transformers import (  # pyright: ignore[reportMissingImports]
            AutoModelForSemanticSegmentation,
        )
    except ImportError as error:
        raise _missing("Hugging Face segmenters", "transformers") from error
    try:
        model = AutoModelForSemanticSegmentation.from_pretrained(
            str(where), use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{where} cannot be read as a Hugging Face segmentation model: {_first_line(error)}"
        ) from error
    model = model.eval().to(device)
    mean, deviation = _normalisation(where)
    middle = torch.tensor(mean, device=device).reshape(1, 3, 1, 1)
    spread = torch.tensor(deviation, device=device).reshape(1, 3, 1, 1)

    def scores(images: Tensor) -> Tensor:
        return model(pixel_values=(images - middle) / spread).logits

    about = {
        "kind": "Hugging Face",
        "file": str(where) if not Path(where).is_dir() else Path(where).name,
        "architecture": type(model).__name__,
        "revision": str(getattr(model.config, "_commit_hash", None) or ""),
        "transformers": transformers.__version__,
        "mean": list(mean),
        "std": list(deviation),
    }
    weights = Path(where) / "model.safetensors"
    if weights.is_file():
        about["sha256"] = pretrained.sha256(weights)
    # Patches and strides of transformers reach 32.
    return Segmenter(scores, about, multiple=32, device=device)


def padded_size(size: Size, multiple: int) -> Size:
    """Return the next height and width that are multiples of `multiple`."""
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


@torch.inference_mode()
def predict(segmenter: Segmenter, picture: Tensor, *, size: Size, name: str) -> tuple[Tensor, int]:
    """Return the channel with the largest score of each pixel, int64 of `size`, and how many.

    `picture` is uint8 3 x H x W. Where H and W are no multiples of `segmenter.multiple`, the last
    row and column are repeated up to the next multiple and their scores cut off again; scores that
    come smaller than what was given are first enlarged to it. Scores of another size than `size`
    are resampled bilinearly before the largest is taken, so that labels are never resized.

    Raises:
        ConfigError: the segmenter takes another size only.
        WeightsError: it fails or gives no scores.
    """
    height, width = picture.shape[1:]
    if segmenter.size not in (None, (height, width)):
        fixed = segmenter.size
        raise ConfigError(
            f"{segmenter.name} takes pictures of {fixed[0]}x{fixed[1]} (height x width) only and "
            f"{name} is {height}x{width}: say --segmentation-size {fixed[0]}x{fixed[1]}"
        )
    full = (height, width) if segmenter.size else padded_size((height, width), segmenter.multiple)
    images = picture.to(segmenter.device).float()[None] / 255
    if full != (height, width):
        images = F.pad(images, (0, full[1] - width, 0, full[0] - height), mode="replicate")
    try:
        scores = segmenter.scores(images)
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        # What a foreign network or program raises is its own affair; it cannot score the picture.
        raise WeightsError(
            f"{segmenter.name} failed on {name} ({height}x{width}): {_first_line(error)}"
        ) from error
    if not isinstance(scores, Tensor) or scores.ndim != 4 or len(scores) != 1:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise WeightsError(f"{segmenter.name} gave {shape}: a segmenter gives scores N x C x H x W")
    scores = scores.float()
    if torch.isnan(scores).any():
        raise WeightsError(
            f"{segmenter.name} gave scores of {name} that are no numbers: fetch it anew"
        )
    if tuple(scores.shape[2:]) != full:
        scores = _resampled(scores, full)
    scores = scores[:, :, :height, :width]
    if (height, width) != size:
        scores = _resampled(scores, size)
    return scores.argmax(dim=1)[0].cpu(), scores.shape[1]


def _resampled(scores: Tensor, size: Size) -> Tensor:
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


def _normalisation(where: str | Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of a model's preprocessor_config.json, for images in [0, 1]."""
    path: Path | None = Path(where) / "preprocessor_config.json"
    if not Path(where).is_dir():
        from transformers.utils import cached_file  # pyright: ignore[reportMissingImports]

        cached = cached_file(str(where), path.name, _raise_exceptions_for_missing_entries=False)
        path = Path(cached) if cached else None
    if path is None or not path.is_file():
        return _IMAGENET
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is not valid JSON: fetch the model anew") from error
    if settings.get("do_normalize") is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, deviation = settings.get("image_mean"), settings.get("image_std")
    return tuple(mean or _IMAGENET[0]), tuple(deviation or _IMAGENET[1])


def _missing(what: str, package: str) -> ConfigError:
    return ConfigError(
        f"{what} need {package}, which is not installed: pip install 'limner[segmentation]'"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
