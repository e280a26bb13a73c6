"""Freed memory is kept while networks work, and given back afterwards."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc is told how to keep memory"
)

# In a process of its own: what other tests left free decides whether a block faults.
SCRIPT = """
import json, resource
import numpy as np
from limner.networks import cpu_speed

def faults():  # of a block of 48 MB: 12,000 pages of 4 KiB, or 24 of 2 MiB
    def once():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(6_000_000)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return min(once() for _ in range(8))

found = {"before": faults()}
with cpu_speed.kept_memory():
    found["inside"] = faults()
    with cpu_speed.kept_memory():
        faults()
    found["after an inner block"] = faults()
found["after"] = faults()
print(json.dumps(found))
"""


def test_blocks_fault_once_inside_and_each_time_outside() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    for inside in ("inside", "after an inner block"):
        for outside in ("before", "after"):
            assert found[inside] * 3 < found[outside], found
