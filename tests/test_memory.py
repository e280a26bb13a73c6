"""Freed memory is kept while networks work, and given back afterwards."""

from __future__ import annotations

import platform

import pytest
import torch

from limner import memory

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc is told how to keep memory"
)


def faults() -> int:
    """Return the page faults of making a block of 48 MB: the least of several, as room may lack.

    48 MB are 12,000 pages of 4 KiB, or 24 of 2 MiB.
    """
    import resource

    def once() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(12_000_000)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    return min(once() for _ in range(8))


def test_blocks_fault_once_inside_and_each_time_outside() -> None:
    with memory.kept():
        inside = faults()
    assert inside * 3 < faults()


def test_an_inner_block_does_not_end_the_outer_one() -> None:
    with memory.kept():
        with memory.kept():
            faults()
        inside = faults()
    assert inside * 3 < faults()
