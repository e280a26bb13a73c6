"""Images kept on the device that trains on them: a step then waits for no copy and no decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

SHARE = 0.25
"""Part of the device's free memory, before a training begins, that its images may take."""


@dataclass
class Residence:
    """Where a data set's images stay: those that fit, in the order in which they are asked for.

    What is drawn of them (`PairedDataset`) is cut, mirrored and made float there, so that batches
    have the same values as without. Images that no longer fit are copied at each request.
    """

    device: torch.device
    limit_bytes: int
    held_bytes: int = 0
    _held: dict[int, Tensor] = field(default_factory=dict)

    def stack(self, index: int, read: Callable[[int], Tensor]) -> Tensor:
        """Return `read(index)` on the device; read it once if it fits."""
        if index in self._held:
            return self._held[index]
        image = read(index).to(self.device)
        if self.held_bytes + image.nbytes <= self.limit_bytes:
            self._held[index] = image
            self.held_bytes += image.nbytes
        return image


def residence(device: torch.device) -> Residence:
    """Return a residence on a CUDA device within `SHARE` of what is free there."""
    free, _ = torch.cuda.mem_get_info(device)
    return Residence(device, int(free * SHARE))
