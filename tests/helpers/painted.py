"""Scenes whose classes are colours, and a segmenter that tells them: red 0, green 1, blue 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor

HALF = TensorProto.FLOAT16


def by_colour(images: Tensor) -> Tensor:
    """Score each pixel by its three channels, of a fourth class when all are dark."""
    dark = 0.1 * torch.ones_like(images[:, :1])
    return torch.cat([images, dark], dim=1)


def paint(ids: np.ndarray, *, level: int = 200) -> np.ndarray:
    """Return the picture H x W x 3 of a label map with ids 0, 1, 2; others are black."""
    picture = np.zeros((*ids.shape, 3), dtype=np.uint8)
    for channel in range(3):
        picture[..., channel][ids == channel] = level
    return picture


def blocks(seed: int, *, height: int = 32, width: int = 48, classes: int = 3) -> np.ndarray:
    """Return a random label map of blocks of 8 x 8 pixels."""
    rng = np.random.RandomState(seed)
    small = rng.randint(0, classes, (height // 8, width // 8)).astype(np.uint8)
    return np.repeat(np.repeat(small, 8, 0), 8, 1)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def folders(root: Path, *, count: int = 3) -> tuple[Path, Path, Path]:
    """Write photos that show their labels, pictures in which the upper half is red, and labels."""
    for n in range(count):
        ids = blocks(n)
        save(root / "real" / f"s{n}.png", paint(ids))
        wrong = ids.copy()
        wrong[:16] = 0
        save(root / "fake" / f"s{n}.png", paint(wrong))
        save(root / "labels" / f"s{n}.png", ids)
    return root / "real", root / "fake", root / "labels"


def onnx_file(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    elements: int = TensorProto.FLOAT,
    outputs: int = 4,
) -> Path:
    """Write `by_colour` as an ONNX file: a convolution of 1 x 1; with `size` for that size only.

    `outputs` beyond the fourth are never the largest.
    """
    height, width = size or ("h", "w")
    kind = helper.tensor_dtype_to_np_dtype(elements)
    kernel = np.concatenate([np.eye(3), np.zeros((outputs - 3, 3))])[:, :, None, None]
    bias = np.array([0, 0, 0, 0.1, *[-1] * (outputs - 4)])
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "kernel", "bias"], ["scores"])],
        "by_colour",
        [helper.make_tensor_value_info("image", elements, ["n", 3, height, width])],
        [helper.make_tensor_value_info("scores", elements, ["n", outputs, height, width])],
        [
            numpy_helper.from_array(kernel.astype(kind), "kernel"),
            numpy_helper.from_array(bias.astype(kind), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
