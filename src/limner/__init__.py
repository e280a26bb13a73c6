"""Limner turns one image into another, learnt from pairs: the pix2pix family as one tool.

The public face; each name is imported when it is first used, so that `import limner` is quick:

    limner.train("facades", preset="pix2pix", direction="BtoA", epochs=50, out="runs/facades")
    translator = limner.Translator.load("runs/facades")
    network = limner.networks.UNet(in_channels=3, out_channels=3, depth=8)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner import losses, networks
    from limner.api import check, train
    from limner.config import Config, read_config, replace
    from limner.data import open_dataset
    from limner.errors import LimnerError
    from limner.evaluation.evaluate import evaluate
    from limner.evaluation.measure import compare_folders, measure
    from limner.health.diagnosis import diagnose
    from limner.inference import Translator
    from limner.presets import preset
    from limner.transfer.shift import shift

    __version__: str

__all__ = [
    "Config",
    "LimnerError",
    "Translator",
    "__version__",
    "check",
    "compare_folders",
    "diagnose",
    "evaluate",
    "losses",
    "measure",
    "networks",
    "open_dataset",
    "preset",
    "read_config",
    "replace",
    "shift",
    "train",
]

_HOMES = {
    "Config": "limner.config",
    "LimnerError": "limner.errors",
    "Translator": "limner.inference",
    "check": "limner.api",
    "compare_folders": "limner.evaluation.measure",
    "diagnose": "limner.health.diagnosis",
    "evaluate": "limner.evaluation.evaluate",
    "measure": "limner.evaluation.measure",
    "open_dataset": "limner.data",
    "preset": "limner.presets",
    "read_config": "limner.config",
    "replace": "limner.config",
    "shift": "limner.transfer.shift",
    "train": "limner.api",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # takes a while, and few ask

        return version("limner")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in ("losses", "networks"):
        return importlib.import_module(f"limner.{name}")
    raise AttributeError(f"module 'limner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
