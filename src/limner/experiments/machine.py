"""The machine that figures come from: what it is, and how busy others keep it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

BUSY = 0.05
"""The part of the machine that others may use before a timing is worth a warning."""


def machine() -> str:
    """Return the processor, the cores, and the GPU where there is one."""
    import torch

    name = platform.processor() or platform.machine()
    path = Path("/proc/cpuinfo")
    if path.exists():
        models = [
            line.split(":", 1)[1] for line in path.read_text().splitlines() if "model name" in line
        ]
        name = models[0].strip() if models else name
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores{gpu}"


class Watch:
    """How much of all cores' time other processes use from its making on."""

    def __init__(self) -> None:
        self.total, self.idle = _ticks()
        self.own = _own_seconds()

    def others(self) -> float:
        """Return that part, from 0 to 1; 0 where the system does not tell (no /proc)."""
        total, idle = _ticks()
        passed = total - self.total
        if not passed:
            return 0.0
        ticks = os.sysconf("SC_CLK_TCK")
        busy = passed - (idle - self.idle) - (_own_seconds() - self.own) * ticks
        return min(1.0, max(0.0, busy / passed))


def _ticks() -> tuple[int, int]:
    """Return all cores' clock ticks since the machine began: all, and those of nothing to do."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0, 0
    fields = [int(word) for word in path.read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def _own_seconds() -> float:
    """Return the processor time of this process."""
    return sum(os.times()[:2])
