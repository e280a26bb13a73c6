"""Limner turns one image into another, learnt from pairs: the pix2pix family as one tool.

The public face; each name is imported when it is first used, so that `import limner` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.evaluation.evaluate import evaluate
    from limner.inference import Translator
    from limner.training import train

__all__ = ["Translator", "__version__", "evaluate", "train"]

__version__ = "0.1.0"

_HOMES = {
    "Translator": "limner.inference",
    "evaluate": "limner.evaluation.evaluate",
    "train": "limner.training",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'limner' has no attribute {name!r}")
