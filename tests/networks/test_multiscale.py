from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError, DataError
from limner.networks import (
    NORMS,
    MultiscaleDiscriminator,
    count_parameters,
    initialise,
    receptive_field,
)
from limner.networks.normalisation import SpectralConv2d
from limner.networks.patch import halved


def drawn(network: MultiscaleDiscriminator) -> MultiscaleDiscriminator:
    initialise(network, "default", generator=torch.Generator().manual_seed(0))
    return network


def test_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        pix2pixhd = MultiscaleDiscriminator(in_channels=39)
        assert count_parameters(pix2pixhd) == 5_603_202
        spade = MultiscaleDiscriminator(in_channels=39, spectral=True, bias=False)
        assert count_parameters(spade) == 5_601_410


def shapes(outputs: list[list[Tensor]]) -> list[list[tuple[int, ...]]]:
    return [[tuple(layer.shape[1:]) for layer in scale] for scale in outputs]


def test_outputs_are_every_block_of_every_scale_the_full_one_first() -> None:
    network = MultiscaleDiscriminator(in_channels=4, width=2, layers=2, scales=3)
    assert shapes(network(torch.zeros(2, 4, 32, 64))) == [
        [(2, 17, 33), (4, 9, 17), (8, 10, 18), (1, 11, 19)],
        [(2, 9, 17), (4, 5, 9), (8, 6, 10), (1, 7, 11)],
        [(2, 5, 9), (4, 3, 5), (8, 4, 6), (1, 5, 7)],
    ]


def test_scales_share_no_weights_and_see_the_image_halved() -> None:
    network = drawn(MultiscaleDiscriminator(in_channels=3, width=2, layers=1, scales=2))
    image = torch.randn(1, 3, 32, 48)
    outputs = network(image)
    lone = MultiscaleDiscriminator(in_channels=3, width=2, layers=1, scales=1)
    for index, seen in enumerate((image, halved(image))):
        state = {
            name.replace(f"scales.{index}.", "scales.0."): value
            for name, value in network.state_dict().items()
            if name.startswith(f"scales.{index}.")
        }
        lone.load_state_dict(state)
        for found, expected in zip(outputs[index], lone(seen)[0], strict=True):
            assert torch.equal(found, expected)


def test_halving_is_a_mean_of_what_lies_within() -> None:
    assert torch.allclose(halved(torch.ones(1, 1, 5, 8)), torch.ones(1, 1, 3, 4))
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert halved(image)[0, 0].tolist() == [[2.5, 4.0], [8.5, 10.0]]


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_receptive_field_measured_by_gradient(layers: int) -> None:
    field = receptive_field(layers)
    network = MultiscaleDiscriminator(in_channels=1, width=1, layers=layers, scales=2, norm="none")
    initialise(network, "default", generator=torch.Generator().manual_seed(0))
    network.double()
    image = torch.randn(1, 1, 4 * field, 4 * field, dtype=torch.float64, requires_grad=True)
    # The half resolution sees twice as far, and by its 3x3 means one pixel more.
    for scale, seen in zip(network(image), (field, 2 * field + 1), strict=True):
        middle = scale[-1].shape[-1] // 2
        logit = scale[-1][0, 0, middle, middle]
        (slope,) = torch.autograd.grad(logit, image, retain_graph=True)
        touched = slope[0, 0] != 0
        assert int(touched.any(dim=1).sum()) == seen
        assert int(touched.any(dim=0).sum()) == seen


@pytest.mark.parametrize("norm", sorted(NORMS))
@pytest.mark.parametrize("spectral", [True, False])
def test_every_norm_trains_every_weight(norm: str, spectral: bool) -> None:
    network = drawn(MultiscaleDiscriminator(width=4, layers=2, norm=norm, spectral=spectral))
    outputs = network(torch.randn(1, 6, 32, 24))
    torch.stack([scale[-1].square().mean() for scale in outputs]).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_spectral_norm_is_within() -> None:
    network = MultiscaleDiscriminator(width=2, layers=3, scales=2, spectral=True)
    inner = [n for n, m in network.named_modules() if isinstance(m, SpectralConv2d)]
    assert inner == [f"scales.{scale}.{layer}.conv" for scale in (0, 1) for layer in (1, 2, 3)]


def test_width_is_bounded() -> None:
    with torch.device("meta"):
        network = MultiscaleDiscriminator(width=128, layers=5, scales=1)
    widths = [network.get_parameter(f"scales.0.{i}.conv.weight").shape[0] for i in range(7)]
    assert widths == [128, 256, 512, 512, 512, 512, 1]


def test_features_are_activations_and_the_next_layer_leaves_them_alone() -> None:
    network = drawn(MultiscaleDiscriminator(in_channels=3, width=4, layers=2, scales=1))
    image = torch.randn(1, 3, 32, 32)
    (outputs,) = network(image)
    before = image
    for index, after in enumerate(outputs):
        assert torch.equal(network.get_submodule(f"scales.0.{index}")(before), after)
        before = after


def test_what_does_not_fit_is_refused() -> None:
    network = MultiscaleDiscriminator(width=2, layers=2, scales=2)
    with pytest.raises(DataError, match="at least 8: use larger images or fewer discriminator"):
        network(torch.zeros(1, 6, 8, 7))
    assert network(torch.zeros(1, 6, 8, 8))[1][-1].shape[1] == 1
    with pytest.raises(DataError, match="takes N x 6 x H x W"):
        network(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ConfigError, match="discriminator layers is 0"):
        MultiscaleDiscriminator(layers=0)
    with pytest.raises(ConfigError, match="discriminator scales is 0"):
        MultiscaleDiscriminator(scales=0)
