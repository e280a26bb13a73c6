"""The metrics that compare each picture with its own target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from limner.errors import DataError
from limner.evaluation import similarity
from limner.evaluation.dists import DISTS
from limner.evaluation.extraction import CHUNK, in_threads
from limner.evaluation.features import exact, stacks
from limner.evaluation.lpips import LPIPS
from limner.evaluation.metrics import METRICS
from limner.evaluation.pictures import Coloured, Pictures, different_sizes

Judge = Callable[[Tensor, Tensor], Tensor]
"""From two N x C x H x W uint8 batches, real and fake, to N values."""

_PIXELS: dict[str, Judge] = {
    "l1": similarity.l1,
    "psnr": similarity.psnr,
    "ssim": similarity.ssim,
    "ms-ssim": similarity.ms_ssim,
    "edge-f": similarity.edge_f,
}


class Pairs:
    """Pictures and their targets as 2 x C x H x W, real first; `DataError` where sizes differ.

    Where one is grey and the other RGB the grey one is replicated; with `coloured` every grey one
    is, and other numbers of channels are refused.
    """

    def __init__(self, real: Pictures, fake: Pictures, *, coloured: bool) -> None:
        self.real, self.fake = real, fake
        self.in_colour = Coloured(real), Coloured(fake)
        self.coloured = coloured

    def __len__(self) -> int:
        return len(self.fake)

    def __getitem__(self, index: int) -> Tensor:
        a, b = self.real[index], self.fake[index]
        if self.coloured or {a.shape[0], b.shape[0]} == {1, 3}:
            a, b = (side[index] for side in self.in_colour)
        names = self.real.names[index], self.fake.names[index]
        if a.shape[1:] != b.shape[1:]:
            (h, w), (other_h, other_w) = a.shape[1:], b.shape[1:]
            raise different_sizes(names[0], (h, w), names[1], (other_h, other_w))
        if len(a) != len(b):
            raise DataError(
                f"{names[0]} has {len(a)} channels and {names[1]} {len(b)}: give both as many"
            )
        return torch.stack([a, b])


def judge(
    metric: str,
    *,
    states: Mapping[str, Mapping[str, Tensor]],
    paths: Mapping[str, Path],
    device: torch.device | str,
) -> Judge:
    """Return the judge of a paired metric of `METRICS`.

    `states` and `paths` hold the weights it needs by their names; `WeightsError` names the file
    that does not fit.
    """
    if metric in _PIXELS:
        return _PIXELS[metric]
    backbone, heads = METRICS[metric].weights
    network = DISTS() if heads == "dists" else LPIPS(backbone=heads.removeprefix("lpips-"))
    network.load(
        states[backbone],
        states[heads],
        backbone_origin=str(paths[backbone]),
        heads_origin=str(paths[heads]),
    )
    network.eval().to(device)
    if heads == "dists":
        return lambda real, fake: network(real.float() / 255, fake.float() / 255)
    return lambda real, fake: network(real.float() / 127.5 - 1, fake.float() / 127.5 - 1)


def compare(
    judges: Mapping[str, Judge],
    real: Pictures,
    fake: Pictures,
    *,
    batch_size: int,
    device: torch.device | str,
    advance: Callable[[int], None],
) -> dict[str, list[float]]:
    """Return the values of each judge, one for each pair in order, in one pass.

    On the CPU `CHUNK` pairs are compared at a time whatever `batch_size` is, each chunk by one
    thread, so the values do not depend on either (see `extraction`). `advance` is told of every so
    many pairs done. Raises `DataError` for pairs of different size
    and for pictures too small for a judge.
    """
    values: dict[str, list[float]] = {name: [] for name in judges}
    if not judges:
        return values
    pairs = Pairs(real, fake, coloured=any(METRICS[name].weights for name in judges))

    def work(chunk: list[Tensor]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {name: [] for name in judges}
        with exact(device):
            for stack in stacks(chunk, len(chunk)):
                a, b = stack.to(device).unbind(dim=1)
                for name, function in judges.items():
                    found[name] += function(a, b).tolist()
        return found

    on_cpu = torch.device(device).type == "cpu"
    starts = range(0, len(pairs), CHUNK if on_cpu else batch_size)
    parts = (
        in_threads(work, pairs, starts)
        if on_cpu
        else (work([pairs[i] for i in range(s, min(s + batch_size, len(pairs)))]) for s in starts)
    )
    for part in parts:
        for name, found in part.items():
            values[name] += found
        advance(len(next(iter(part.values()))))
    return values
