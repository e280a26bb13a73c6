"""Synchronised batch norm: several processes compute what one computes with the whole batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from limner.networks.normalisation import SyncBatchNorm2d


def test_alone_it_is_batch_norm() -> None:
    ours, theirs = SyncBatchNorm2d(3), nn.BatchNorm2d(3)
    image = torch.randn(2, 3, 5, 5)
    assert torch.equal(ours(image), theirs(image))
    assert torch.equal(ours.eval()(image), theirs.eval()(image))
    for found, expected in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = 2 + 3 * torch.randn(3, 4, 6, 5, generator=generator)
    weights = torch.randn(3, 4, 6, 5, generator=generator)
    save_file({"batch": batch, "weights": weights}, tmp_path / "batch.safetensors")
    script = Path(__file__).with_name("batchnorm_rank.py")
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(script), str(rank), "2", str(tmp_path)]
        )
        for rank in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))

    norm = nn.BatchNorm2d(4)
    images = batch.clone().requires_grad_()
    output = norm(images)
    (output * weights).sum().backward()
    assert images.grad is not None
    assert norm.weight.grad is not None
    for name, expected in (("output", output), ("gradient", images.grad)):
        found = torch.cat([first[name], second[name]])
        assert torch.allclose(found, expected, atol=1e-6), name
    for found in (first, second):
        assert torch.allclose(found["weight"], norm.weight.grad, atol=1e-5)
        for name, value in norm.named_buffers():
            assert torch.allclose(found[name], value.float(), atol=1e-6), name
    assert torch.equal(first["running"], second["running"])
    assert first["running"].abs().max().item() > 0
