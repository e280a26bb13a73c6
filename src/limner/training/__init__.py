"""Training: the state, the step, the loop, and what listens to them."""

from limner.training.loop import Interrupted

__all__ = ["Interrupted"]
