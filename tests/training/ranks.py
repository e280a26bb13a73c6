"""Runs the command line in one of several processes and writes this process's final weights.

Usage under torchrun: ranks.py FOLDER COMMAND...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from safetensors.torch import save_file

import limner.api
from limner.cli import main
from limner.training.checkpoint import contiguous

folder, words = Path(sys.argv[1]), sys.argv[2:]
train = limner.api.train


def keeping(*arguments, **keywords):
    """Train, and write down the weights that this process ends with."""
    state = train(*arguments, **keywords)
    weights = {
        f"{name}.{key}": value
        for name, player in state.networks.items()
        for key, value in contiguous(player.plain).items()
    }
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / f"{os.environ['RANK']}.safetensors")
    return state


limner.api.train = keeping
sys.exit(main(words))
