"""Benchmarks want a machine that has nothing else to do; how they time is `limner.timing`."""

from __future__ import annotations

import sys

from limner.timing import BUSY, busy_fraction, interleaved, machine, paired_ratio, table

__all__ = ["busy_fraction", "interleaved", "machine", "paired_ratio", "refuse_if_busy", "table"]


def refuse_if_busy(limit: float = BUSY) -> None:
    """Exit with a sentence where other processes use more than `limit` of the machine."""
    busy = busy_fraction()
    if busy > limit:
        sys.exit(f"the machine is {busy:.0%} busy with other work: timings would mean nothing")
