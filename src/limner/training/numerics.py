"""Whether a training repeats to the last digit on a GPU, or takes the fastest kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def numerics(*, deterministic: bool) -> Iterator[None]:
    """Choose kernels for what runs within, and restore afterwards what was chosen before.

    With `deterministic` every operation that has a reproducible form takes it, and the others
    raise RuntimeError, naming themselves. Without, cuDNN tries its kernels at the first call of
    each shape and keeps the fastest, as pytorch-CycleGAN-and-pix2pix does. On the CPU both are the
    same.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if deterministic:
        # Read when cuBLAS is first used, which has to be after this.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
