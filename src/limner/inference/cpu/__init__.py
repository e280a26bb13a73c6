"""What is special to the speed of a CPU: weights and maps laid out as its kernels want them."""

from limner.inference.cpu.packed_convolutions import (
    PackedConv,
    PackedDoubling,
    has_onednn,
    packed,
    unseen,
)
from limner.inference.cpu.packed_networks import Packed

__all__ = ["Packed", "PackedConv", "PackedDoubling", "has_onednn", "packed", "unseen"]
