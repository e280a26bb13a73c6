"""The figures of pix2pix's evaluation, restated, on matrices that decide between definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.evaluation.segmentation.confusion import (
    FIGURES,
    class_scores,
    confusion,
    intervals,
)


def original(labels: list[np.ndarray], predictions: list[np.ndarray], n: int) -> dict[str, object]:
    """The definition in pix2pix's script: histograms summed, 1e-12 below, NaN left out of means."""
    hist = np.zeros((n, n))
    for a, b in zip(labels, predictions, strict=True):
        kept = (a >= 0) & (a < n)
        hist += np.bincount(n * a[kept].astype(int) + b[kept], minlength=n * n).reshape(n, n)
    right = np.diag(hist)
    accuracy = right / (hist.sum(1) + 1e-12)
    iou = right / (hist.sum(1) + hist.sum(0) - right + 1e-12)
    return {
        "pixel_accuracy": right.sum() / (hist.sum() + 1e-12),
        "class_accuracy": np.nanmean(accuracy),
        "class_iou": np.nanmean(iou),
        "accuracy": accuracy,
        "iou": iou,
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_the_figures_are_those_of_the_original_script(seed: int) -> None:
    rng = np.random.RandomState(seed)
    # Labels 6 and 7 never occur, 7 is never predicted either; 255 and -1 are left out.
    values = np.array([0, 1, 2, 3, 4, 5, 255, -1])
    labels = [values[rng.randint(0, 8, (9, 11))] for _ in range(4)]
    predictions = [rng.randint(0, 7, (9, 11)) for _ in range(4)]
    total = sum(
        confusion(torch.from_numpy(a), torch.from_numpy(b), classes=8)
        for a, b in zip(labels, predictions, strict=True)
    )
    assert isinstance(total, torch.Tensor)
    found = class_scores(total)
    for name, value in original(labels, predictions, 8).items():
        assert np.allclose(getattr(found, name), value, rtol=0, atol=1e-12), name


def test_a_class_without_labels_counts_as_zero_and_is_told_apart() -> None:
    # Rows are labels. Class 2 has none, but one pixel of class 0 was taken for it.
    found = class_scores(torch.tensor([[5, 0, 1, 0], [0, 4, 0, 0], [0, 0, 0, 0]]))
    assert found.class_accuracy == pytest.approx((5 / 6 + 1 + 0) / 3)
    assert found.class_accuracy_present == pytest.approx((5 / 6 + 1) / 2)
    assert found.class_iou == pytest.approx((5 / 6 + 1 + 0) / 3)
    assert found.class_iou_present == pytest.approx((5 / 6 + 1) / 2)
    assert found.pixels == (6, 4, 0)


def test_what_is_recognised_as_no_class_is_wrong_but_no_false_pixel() -> None:
    labels = torch.tensor([0, 0, 0, 1, 9])
    matrix = confusion(labels, torch.tensor([0, 7, -1, 1, 0]), classes=2)
    assert matrix.tolist() == [[1, 0, 2], [0, 1, 0]]
    found = class_scores(matrix)
    assert found.pixel_accuracy == pytest.approx(2 / 4)
    assert found.iou == pytest.approx((1 / 3, 1.0))


def test_frequency_weights_are_those_of_the_labels() -> None:
    found = class_scores(torch.tensor([[6, 2, 0], [1, 1, 0]]))
    assert found.frequency_weighted_iou == pytest.approx(0.8 * (6 / 9) + 0.2 * (1 / 4))


def test_no_label_at_all_gives_zeros() -> None:
    found = class_scores(confusion(torch.tensor([5]), torch.tensor([0]), classes=2))
    assert found.pixel_accuracy == found.class_iou_present == found.frequency_weighted_iou == 0


def test_pictures_alike_have_no_interval_and_others_one_around_the_figure() -> None:
    one = torch.tensor([[6, 2, 0], [1, 1, 0]])
    for name, (low, high) in intervals(one.expand(5, 2, 3), draws=20).items():
        figure = getattr(class_scores(one), name)
        assert low == pytest.approx(figure), name
        assert high == pytest.approx(figure), name
    generator = torch.Generator().manual_seed(0)
    many = torch.randint(0, 40, (50, 2, 3), generator=generator)
    whole = class_scores(many.sum(0))
    found = intervals(many, draws=250, seed=1)
    assert tuple(found) == FIGURES
    for name, (low, high) in found.items():
        assert low < getattr(whole, name) < high, name
    assert found == intervals(many, draws=250, seed=1)
    # The exact deviation of the mean of 50 bounds how wide an interval of the sum's share can be.
    low, high = found["pixel_accuracy"]
    shares = (many[:, 0, 0] + many[:, 1, 1]) / many.sum((1, 2))
    assert 2 * 50**-0.5 * shares.std() < high - low < 6 * 50**-0.5 * shares.std()
