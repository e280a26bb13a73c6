"""Imports all that a command of Limner comes to import, for a program that forks them.

Most of it is imported when it is used, which would cost each fork of a training some seconds.
Nothing here computes: no thread has begun when the program forks.
"""

# ruff: noqa: F401
from __future__ import annotations

import lightning_fabric.plugins
import lightning_fabric.strategies.ddp
import matplotlib.figure
import scipy.stats
import torch
import torch._dynamo
import torch.utils.tensorboard

import limner.api
import limner.checks.checking
import limner.cli.demo
import limner.evaluation.evaluate
import limner.export
import limner.reporting.run_page
import limner.training

torch.set_num_threads(1)
