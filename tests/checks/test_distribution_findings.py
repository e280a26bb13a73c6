"""Clusters of unequal weight and held-out pictures of another light are told; even ones are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import flawed
import numpy as np
import pytest


def write(root: Path, split: str, number: int, *, level: float, tint: tuple[int, int, int]) -> None:
    _, picture = flawed.pair(number, side=48)
    pixels = (picture * level + np.array(tint)).clip(0, 255).astype(np.uint8)
    for role in ("source", "target"):
        flawed.write(root / split / role / f"p{number}x.png", pixels)


@pytest.mark.parametrize("level", [1.0, 0.5])
def test_a_darker_test_split_is_a_shift(tmp_path: Path, found: Callable, level: float) -> None:
    for number in range(36):
        split = "train" if number < 18 else "test"
        light = level if split == "test" else 1.0
        write(tmp_path, split, number, level=light, tint=(0, 0, 0))
    findings = found(tmp_path)
    assert (("split-shift", "test") in findings) == (level < 1)
    assert ("split-shift", "train") not in findings


@pytest.mark.parametrize("seldom", [4, 15])
def test_a_cluster_that_is_seldom_is_told(tmp_path: Path, found: Callable, seldom: int) -> None:
    for number in range(30):
        tint = (150, 0, 0) if number < seldom else (0, 0, 150)
        write(tmp_path, "train", number, level=0.15, tint=tint)
    findings = found(tmp_path)
    assert (("cluster", "train") in findings) == (seldom == 4)
