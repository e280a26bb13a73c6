"""Freed memory is kept while networks work, and given back afterwards."""

from __future__ import annotations

import platform

import pytest
import torch

from limner.evaluation import memory

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc is told how to keep memory"
)


def faults(times: int = 4) -> int:
    """Return the page faults of making a block of 48 MB so many times."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(12_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_blocks_fault_once_inside_and_each_time_outside() -> None:
    with memory.kept():
        faults()
        inside = faults()
    # 48 MB are 12,000 pages of 4 KiB, or 24 of 2 MiB; one block may find no room among the others.
    assert inside * 3 < faults()
