"""One of several processes that share a batch; writes what it computed.

Usage: batchnorm_rank.py RANK WORLD_SIZE FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from limner.networks import SPADEGenerator, initialise
from limner.networks.normalisation import SyncBatchNorm2d

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
given = load_file(folder / "batch.safetensors")
# The first process takes one sample more than the others.
mine = given["batch"].split([len(given["batch"]) - world + 1, *[1] * (world - 1)])[rank]
weights = given["weights"].split([len(given["batch"]) - world + 1, *[1] * (world - 1)])[rank]

norm = SyncBatchNorm2d(mine.shape[1])
images = mine.clone().requires_grad_()
output = norm(images)
(output * weights).sum().backward()
assert images.grad is not None
assert norm.weight.grad is not None
# Sums over processes of the weights' gradients are the optimiser's wrapper's business.
dist.all_reduce(norm.weight.grad)
found = {"output": output.detach(), "gradient": images.grad, "weight": norm.weight.grad}
found |= {name: value.float().clone() for name, value in norm.named_buffers()}

with torch.inference_mode():  # one process by itself must not wait for the others
    if rank == 0:
        norm(images)

network = SPADEGenerator(in_channels=3, width=1, hidden=2, activation_checkpointing=True)
initialise(network, gain=0.5, generator=torch.Generator().manual_seed(0))
network(torch.full((1, 3, 32, 64), float(rank))).square().mean().backward()
found["running"] = network.get_buffer("blocks.0.norm1.norm.running_mean")
save_file(
    {name: value.contiguous() for name, value in found.items()}, folder / f"{rank}.safetensors"
)
# As the command line does: gloo's threads must not outlive the interpreter.
dist.destroy_process_group()
