# pyright: basic, reportMissingImports=false
"""Other packages on random Inception weights, for reference_metrics.py and distance_parity.py.

Import it before anything that imports torchvision.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests" / "helpers"))
import drawn  # noqa: E402

# Builds of torchvision for another torch lack these operators and fail on import without them.
_ops = torch.library.Library("torchvision", "DEF")
_ops.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_ops.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

KID_SUBSETS = 100


def random_inception(home: Path) -> tuple[dict[str, Tensor], Path]:
    """Draw weights for FID's Inception, have pytorch-fid load them, and write them to `home`."""
    from pytorch_fid import inception

    shapes = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    state = drawn.weights(shapes.state_dict(), seed=1)
    inception.load_state_dict_from_url = lambda *_, **__: state
    file = home / "inception.pth"
    torch.save(state, file)
    return state, file


def fidelity(
    paths: Sequence[str], weights: Path, *, batch_size: int, subset_size: int
) -> dict[str, Any]:
    """Return FID and KID of two folders by torch-fidelity with these weights."""
    from torch_fidelity import calculate_metrics

    return calculate_metrics(
        input1=paths[0],
        input2=paths[1],
        cuda=False,
        batch_size=batch_size,
        fid=True,
        kid=True,
        kid_subsets=KID_SUBSETS,
        kid_subset_size=subset_size,
        feature_extractor_weights_path=str(weights),
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
