from __future__ import annotations

import pytest
import torch

from limner.errors import ConfigError
from limner.networks import (
    DISCRIMINATORS,
    ENCODERS,
    GENERATORS,
    count_parameters,
    initialise,
    make_discriminator,
    make_encoder,
    make_generator,
)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_generators_keep_the_size(name: str) -> None:
    network = make_generator(name, in_channels=1, out_channels=2, width=2, norm="instance")
    side = max(32, 2 * network.multiple)
    assert network(torch.zeros(1, 1, side, 2 * side)).shape == (1, 2, side, 2 * side)


@pytest.mark.parametrize("name", sorted(DISCRIMINATORS))
def test_discriminators_return_scales_of_layers(name: str) -> None:
    outputs = make_discriminator(name, in_channels=5, width=2)(torch.zeros(1, 5, 64, 64))
    assert [len(scale) > 1 for scale in outputs] == [True] * len(outputs)
    assert all(scale[-1].shape[1] == 1 for scale in outputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_generator("u-net"), "unknown generator 'u-net': did you mean 'unet'?"),
        (lambda: make_discriminator("pach"), "unknown discriminator 'pach': did you mean 'patch'?"),
        (lambda: make_encoder("feature"), "unknown encoder 'feature': did you mean 'features'?"),
    ],
)
def test_unknown_names_are_refused(make, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


MAKERS = {
    **dict.fromkeys(GENERATORS, make_generator),
    **dict.fromkeys(DISCRIMINATORS, make_discriminator),
    **dict.fromkeys(ENCODERS, make_encoder),
}


@pytest.mark.parametrize("name", MAKERS)
def test_initialise_reaches_every_weight_and_buffer(name: str) -> None:
    norm = "batch" if name == "spade" else "group"
    drawn = []
    for first in (0.0, 1.0):
        network = MAKERS[name](name, width=2, norm=norm)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(first)
        initialise(network, generator=torch.Generator().manual_seed(5))
        drawn.append(torch.cat([value.flatten() for value in network.state_dict().values()]))
    assert torch.equal(*drawn)


def test_frozen_parameters_count() -> None:
    network = torch.nn.BatchNorm2d(7).requires_grad_(False)
    assert count_parameters(network) == 14
