"""Scores of a segmentation from its confusion matrix; pure functions.

The figures are those of pix2pix's script `scripts/eval_cityscapes` (which took them from
Shelhamer's FCN): one matrix is summed over all pictures, and the figures are taken of the sum, not
averaged over pictures. As there, a class that occurs in no label counts as 0 in the two means; the
mean over the classes that do occur is given beside them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.evaluation.statistics import percentile_interval

FIGURES = ("pixel_accuracy", "class_accuracy", "class_iou", "frequency_weighted_iou")


def confusion(labels: Tensor, predictions: Tensor, *, classes: int) -> Tensor:
    """Return the int64 matrix classes x (classes + 1): rows are labels, columns predictions.

    Both are integer tensors of one shape. Pixels whose label lies outside 0..classes-1 (void) are
    left out. A prediction outside that range is counted in the last column: it is wrong, but no
    class gets a false pixel by it. (pix2pix's script sorts such a prediction into another class's
    row, or drops the whole picture, so it must not have any.)
    """
    labels, predictions = labels.flatten().long(), predictions.flatten().long()
    counted = (labels >= 0) & (labels < classes)
    labels, predictions = labels[counted], predictions[counted]
    other = (predictions < 0) | (predictions >= classes)
    predictions = predictions.masked_fill(other, classes)
    width = classes + 1
    counts = torch.bincount(width * labels + predictions, minlength=classes * width)
    return counts.reshape(classes, width)


@dataclass(frozen=True)
class ClassScores:
    """The figures of a confusion matrix.

    `accuracy` and `iou` hold one number a class, 0 for a class without any pixel; `pixels` the
    labels' pixels of each. The `_present` means leave out the classes that no label has.
    """

    pixel_accuracy: float
    class_accuracy: float
    class_iou: float
    frequency_weighted_iou: float
    class_accuracy_present: float
    class_iou_present: float
    accuracy: tuple[float, ...]
    iou: tuple[float, ...]
    pixels: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain numbers and lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def class_scores(matrix: Tensor) -> ClassScores:
    """Return the figures of a matrix as `confusion` gives it.

    With n_ij pixels of class i taken for class j and t_i = sum_j n_ij: pixel accuracy is
    sum_i n_ii / sum_i t_i, class accuracy the mean of n_ii / t_i, class IoU the mean of
    n_ii / (t_i + sum_j n_ji - n_ii), and frequency-weighted IoU sum_i t_i IoU_i / sum_i t_i (Long,
    Shelhamer and Darrell 2015, arXiv:1411.4038, section 5; means as in pix2pix's script, which
    adds 1e-12 to the denominators: the same doubles for classes of more than 10,000 pixels).
    """
    correct, truth, union = _sums(matrix.double())
    accuracy, iou = _share(correct, truth), _share(correct, union)
    present = truth > 0
    means = _figures(matrix.double())
    return ClassScores(
        *(float(value) for value in means),
        class_accuracy_present=float(_share(accuracy[present].sum(), present.sum().double())),
        class_iou_present=float(_share(iou[present].sum(), present.sum().double())),
        accuracy=tuple(accuracy.tolist()),
        iou=tuple(iou.tolist()),
        pixels=tuple(int(count) for count in truth.tolist()),
    )


def intervals(
    matrices: Tensor, *, draws: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return a bootstrap interval of each of `FIGURES` over the pictures.

    `matrices` is N x classes x (classes + 1), one a picture. Each draw sums the matrices of N
    pictures drawn with replacement, so the figures keep their definition: a figure of the sum.
    """
    count = len(matrices)
    flat = matrices.double().reshape(count, -1)

    def figures(index: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = torch.from_numpy(index)
        times = torch.zeros(drawn.shape, dtype=torch.float64)
        times.scatter_add_(-1, drawn, torch.ones_like(times))
        summed = (times @ flat).reshape(*drawn.shape[:-1], *matrices.shape[1:])
        return _figures(summed).numpy()

    low, high = percentile_interval(figures, count=count, resamples=draws, seed=seed)
    return {name: (float(low[k]), float(high[k])) for k, name in enumerate(FIGURES)}


def _sums(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return correct pixels, labels' pixels and union of each class, (..., classes)."""
    square = matrix[..., :-1]
    correct = square.diagonal(dim1=-2, dim2=-1)
    truth = matrix.sum(-1)
    return correct, truth, truth + square.sum(-2) - correct


def _figures(matrix: Tensor) -> Tensor:
    """Return `FIGURES` of (..., classes, classes + 1) float64 matrices, 4 x ..."""
    correct, truth, union = _sums(matrix)
    iou = _share(correct, union)
    return torch.stack(
        [
            _share(correct.sum(-1), truth.sum(-1)),
            _share(correct, truth).mean(-1),
            iou.mean(-1),
            _share((truth * iou).sum(-1), truth.sum(-1)),
        ]
    )


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, 0 where there is nothing."""
    return torch.where(whole > 0, part / whole.clamp(min=1e-300), torch.zeros_like(part))
