from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from limner.errors import ConfigError, DataError
from limner.networks import DROPOUTS, NORMS, ResNet, count_parameters, initialise
from limner.networks.resnet import PADDINGS


@pytest.mark.parametrize(("blocks", "expected"), [(9, 11_378_179), (6, 7_837_699)])
def test_published_numbers_of_parameters(blocks: int, expected: int) -> None:
    with torch.device("meta"):
        assert count_parameters(ResNet(blocks=blocks, norm="instance")) == expected


@pytest.mark.parametrize(("norm", "kind"), list(itertools.product(sorted(NORMS), sorted(DROPOUTS))))
def test_every_norm_and_dropout_trains_every_weight(norm: str, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    network = ResNet(in_channels=2, out_channels=4, width=4, blocks=2, norm=norm,
                     dropout=0.5, dropout_kind=kind)  # fmt: skip
    initialise(network, "xavier", gain=1.0, generator=generator)
    out = network(torch.randn(1, 2, 20, 12, generator=generator))
    assert out.shape == (1, 4, 20, 12)
    assert out.abs().max().item() <= 1
    out.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("padding", sorted(PADDINGS))
def test_padding_decides_what_lies_beyond_the_border(padding: str) -> None:
    # A flat image stays flat inside where the border is reflected or repeated, not with zeros.
    network = ResNet(width=2, blocks=1, norm="none", padding=padding)
    initialise(network, "xavier", gain=1.0, generator=torch.Generator().manual_seed(0))
    hidden = network.first(torch.ones(1, 3, 16, 16))
    hidden = network.get_submodule("blocks.0.body")(hidden.repeat(1, 4, 1, 1))
    flat = (hidden - hidden[..., 8:9, 8:9]).abs().max().item() < 1e-5
    assert flat is (padding != "zero")


def test_dropout_stands_in_every_block_and_nowhere_else() -> None:
    with torch.device("meta"):
        network = ResNet(width=2, blocks=3, dropout=0.5)
    found = [n for n, m in network.named_modules() if isinstance(m, nn.Dropout)]
    assert found == [f"blocks.{i}.body.dropout" for i in range(3)]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((64, 62), "cannot take 62x64 images, both sides must be multiples of 4"),
        ((4, 64), "both sides must be at least 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(size: tuple[int, int], message: str) -> None:
    network = ResNet(width=2, blocks=1)
    with pytest.raises(DataError, match=message):
        network(torch.zeros(1, 3, *size))


def test_the_smallest_image_passes() -> None:
    assert ResNet(width=2, blocks=1)(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_unknown_padding_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown padding 'zeros': did you mean 'zero'"):
        ResNet(padding="zeros")
