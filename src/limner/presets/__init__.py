"""Named configurations to start from: one file each, its docstring says what and at what cost."""

from __future__ import annotations

import importlib

from limner.config import Config
from limner.errors import unknown_name

PRESETS = {
    "pix2pix": "limner.presets.pix2pix",
    "pix2pix-small": "limner.presets.pix2pix_small",
    "pix2pixhd": "limner.presets.pix2pixhd",
    "pix2pixhd-global": "limner.presets.pix2pixhd_global",
    "pix2pixhd-small": "limner.presets.pix2pixhd_small",
    "spade": "limner.presets.spade",
    "spade-vae": "limner.presets.spade_vae",
    "spade-small": "limner.presets.spade_small",
    "study-base": "limner.presets.study_base",
    "study": "limner.presets.study",
    "study-add": "limner.presets.study_add",
    "study-multiply": "limner.presets.study_multiply",
    "study-alternating": "limner.presets.study_alternating",
}


def preset(name: str) -> Config:
    """Return the configuration of that name.

    Raises:
        ConfigError: no preset has that name; the message lists those that there are.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return importlib.import_module(PRESETS[name]).PRESET


def about(name: str) -> str:
    """Return what a preset's file says of itself."""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return (importlib.import_module(PRESETS[name]).__doc__ or "").strip()
