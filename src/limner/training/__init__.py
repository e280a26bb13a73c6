"""Training: the state, the step, the loop, and what listens to them."""

from limner.training.loop import Interrupted
from limner.training.start import train

__all__ = ["Interrupted", "train"]
