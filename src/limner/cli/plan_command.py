"""`limner plan`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from limner.cli.options import Json, Overrides, Weights, print_json, read_bytes, say

if TYPE_CHECKING:
    from limner.plan import Plan

Price = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=10**6))]


def plan(
    data: Path,
    *,
    preset: str | None = None,
    config: Path | None = None,
    overrides: Overrides = None,
    device: str = "cpu",
    memory: str | None = None,
    price: Price | None = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Tell what a training will take before it starts: parameters, memory, time, disk, cost.

    On this machine's CPU a few steps are taken in a process of its own and measured, with their
    validation and checkpoint; for a GPU that is named a step is counted and reckoned. Where it does
    not fit, changes that would make it fit are named, each with its own figures.

    **Examples**

    - `limner plan facades --preset pix2pix`
    - `limner plan cityscapes --preset pix2pixhd --device a100 --price 2.50`
    - `limner plan facades --preset pix2pix --set training.batch_size=16 --memory 8GiB --json`

    Parameters
    ----------
    data
        Folder of pairs, or a manifest, as for `limner train`.
    preset
        Where the settings begin: `limner presets` lists them; pix2pix if not given.
    config
        A config.yaml where the settings begin instead of a preset.
    device
        cpu (this machine), h100, a100, l4 or t4.
    memory
        What it must fit into, such as 24GiB; by itself what is free here, or the GPU's own.
    price
        Of an hour, in any currency.
    """
    from limner.cli.train_command import settings_of
    from limner.config import replace
    from limner.plan import plan_training
    from limner.terminal import status
    from limner.training.datasets import open_training_data

    chosen = settings_of(preset=preset, config=config, overrides=overrides)
    chosen = replace(chosen, {"data.root": str(data)})
    limit = read_bytes(memory, option="--memory")
    with status("reading the data") as show:
        planned = plan_training(
            chosen,
            open_training_data(chosen),
            device=device,
            memory=limit,
            price=price,
            weights=weights,
            progress=show,
        )
    if json:
        print_json(planned.to_json())
    else:
        for line in _lines(planned):
            say(line)


def _lines(planned: Plan) -> list[str]:
    """The plan in a few lines."""
    from limner.terminal import duration

    counts = planned.counts
    networks = [f"generator {_millions(counts.generator)}"]
    if counts.encoder is not None:
        networks.append(f"encoder {_millions(counts.encoder)}")
    networks += [f"discriminator {_millions(count)}" for count in counts.discriminators]
    by = ", ".join(f"{name} {_size(count)}" for name, count in planned.memory_by.items())
    word = "measured" if planned.measured else "reckoned"
    limit = planned.limit_bytes
    verdict = "" if limit is None else f"of {_size(limit)}: " + (
        "it fits" if planned.fits else "it does not fit"
    )  # fmt: skip
    cost = "" if planned.cost is None else f", cost {planned.cost:.2f}"
    lines = [
        f"device      {planned.device}",
        f"parameters  {', '.join(networks)}",
        f"step        {counts.macs / 1e9:.1f} billion multiply-adds, "
        f"{planned.seconds_per_step:.3g} s ({word})",
        f"memory      {_size(planned.peak_bytes)} at the peak ({word}) {verdict}".rstrip(),
        f"            {by}",
        f"training    {planned.steps:,} steps, {duration(planned.seconds)}, "
        f"{_size(planned.disk_bytes)} of disk{cost}",
    ]
    for advice in planned.advice:
        settings = " ".join(f"--set {shlex.quote(text)}" for text in advice.set)
        lines.append(
            f"smaller     {settings}: {_size(advice.peak_bytes)}, {advice.seconds:.3g} s a step"
        )
    return [*lines, *(f"assumed     {text}" for text in planned.assumptions)]


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} million"


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
