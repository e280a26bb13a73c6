"""Every network says which of its modules work at which depth."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limner.networks import DISCRIMINATORS, GENERATORS, make_discriminator, make_generator

SMALL = {
    "unet": {"width": 4, "depth": 3},
    "resnet": {"width": 4, "blocks": 2},
    "pix2pixhd": {"width": 4, "downs": 2, "blocks": 2},
    "pix2pixhd-local": {"width": 4, "downs": 2, "blocks": 2, "enhancers": 2},
    "spade": {"width": 4, "hidden": 4},
    "patch": {"width": 4},
    "pixel": {"width": 4},
    "multiscale": {"width": 4, "scales": 3},
}


def make(name: str) -> nn.Module:
    kind = make_generator if name in GENERATORS else make_discriminator
    return kind(name, **SMALL[name])


@pytest.mark.parametrize("name", [*GENERATORS, *DISCRIMINATORS])
def test_each_parameter_is_in_one_stage(name: str) -> None:
    network = make(name)
    stages = network.stages()  # type: ignore[operator]
    for parameter, _ in network.named_parameters():
        holders = [
            stage
            for stage in stages
            if any(parameter.startswith(f"{module}.") for module in stage.modules)
        ]
        assert len(holders) == 1, parameter


@pytest.mark.parametrize("name", [*GENERATORS, *DISCRIMINATORS])
def test_stages_work_in_the_order_in_which_they_are_told(name: str) -> None:
    network = make(name)
    called: list[int] = []
    for number, stage in enumerate(network.stages()):  # type: ignore[operator]
        for module in stage.modules:
            for inner in network.get_submodule(module).modules():
                if isinstance(inner, nn.Conv2d | nn.ConvTranspose2d):
                    inner.register_forward_hook(lambda *_, number=number: called.append(number))
    with torch.no_grad():
        network(torch.zeros(1, network.in_channels, 64, 64))  # type: ignore[arg-type]
    if name == "multiscale":  # one resolution after the other
        called = called[: len(called) // 3]
    assert called == sorted(called)
    assert set(called) == set(range(len(network.stages())))  # type: ignore[operator]
