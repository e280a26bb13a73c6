from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError, DataError
from limner.networks import (
    NORMS,
    PatchDiscriminator,
    PixelDiscriminator,
    count_parameters,
    initialise,
    receptive_field,
)
from limner.networks.patch import KERNELS, shape_for_field


@pytest.mark.parametrize(("layers", "expected"), [(3, 2_768_705), (5, 11_159_361)])
def test_published_numbers_of_parameters(layers: int, expected: int) -> None:
    with torch.device("meta"):
        assert count_parameters(PatchDiscriminator(layers=layers)) == expected


@pytest.mark.parametrize(("kernel", "expected", "side"), [(4, 2_767_809, 15), (2, 2_761_665, 17)])
def test_the_studys_two_discriminators(kernel: int, expected: int, side: int) -> None:
    with torch.device("meta"):
        network = PatchDiscriminator(norm="instance", last_stride=2, kernel=kernel)
        assert count_parameters(network) == expected
        assert network(torch.zeros(1, 6, 256, 256))[-1][-1].shape == (1, 1, side, side)
    assert receptive_field(3, kernel=kernel, last_stride=2) == {4: 94, 2: 62}[kernel]


def test_published_number_of_parameters_of_the_pixel_discriminator() -> None:
    with torch.device("meta"):
        assert count_parameters(PixelDiscriminator()) == 9_024


def measured_field(network: torch.nn.Module, side: int) -> tuple[int, int]:
    """Return height and width of the pixels that the middle logit depends on."""
    initialise(network, "default", generator=torch.Generator().manual_seed(0))
    network.double()
    image = torch.randn(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    logits = network(image)[-1][-1]
    middle = logits.shape[-1] // 2
    (slope,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    seen = slope[0, 0] != 0
    return int(seen.any(dim=1).sum()), int(seen.any(dim=0).sum())


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_the_receptive_field_measured_by_gradient(layers: int, field: int) -> None:
    assert receptive_field(layers) == field
    network = PatchDiscriminator(in_channels=1, width=1, layers=layers, norm="none")
    assert measured_field(network, 2 * field + 2**layers) == (field, field)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("last_stride", [1, 2])
@pytest.mark.parametrize("scale", [1, 2])
def test_the_field_of_every_shape_measured_by_gradient(
    kernel: int, last_stride: int, scale: int
) -> None:
    field = receptive_field(2, kernel=kernel, last_stride=last_stride)
    network = PatchDiscriminator(
        in_channels=1,
        width=2,
        layers=2,
        norm="none",
        kernel=kernel,
        last_stride=last_stride,
        scale=scale,
    )
    side = scale * (2 * field + 16)
    assert measured_field(network, side) == (scale * field, scale * field)


@pytest.mark.parametrize(
    ("field", "last_stride", "shape"),
    [(70, 1, (3, 4)), (34, 1, (2, 4)), (94, 2, (3, 4)), (62, 2, (3, 2)), (62, 1, (3, 3))],
)
def test_a_field_picks_layers_and_kernel(
    field: int, last_stride: int, shape: tuple[int, int]
) -> None:
    assert shape_for_field(field, last_stride=last_stride) == shape
    network = PatchDiscriminator(
        in_channels=1, width=1, norm="none", field=field, last_stride=last_stride
    )
    assert measured_field(network, 2 * field + 32) == (field, field)


def test_a_field_that_cannot_be_had_names_those_near_it() -> None:
    with pytest.raises(ConfigError, match=r"sees 71 pixels: choose a field of 54, 62, 70 or 78"):
        PatchDiscriminator(field=71)


def test_the_pixel_discriminator_sees_one_pixel() -> None:
    network = PixelDiscriminator(in_channels=1, width=2, norm="none")
    assert measured_field(network, 8) == (1, 1)


def shapes(outputs: list[list[Tensor]]) -> list[list[tuple[int, ...]]]:
    return [[tuple(layer.shape) for layer in scale] for scale in outputs]


def test_outputs_are_one_scale_of_all_layers_with_the_logits_last() -> None:
    network = PatchDiscriminator(in_channels=6, width=2, layers=3)
    assert shapes(network(torch.zeros(2, 6, 64, 128))) == [
        [(2, 2, 32, 64), (2, 4, 16, 32), (2, 8, 8, 16), (2, 16, 7, 15), (2, 1, 6, 14)]
    ]
    pixel = PixelDiscriminator(in_channels=4, width=2)
    assert shapes(pixel(torch.zeros(2, 4, 8, 9))) == [[(2, 2, 8, 9), (2, 4, 8, 9), (2, 1, 8, 9)]]


def test_features_are_activations_and_the_next_layer_leaves_them_alone() -> None:
    network = PatchDiscriminator(in_channels=3, width=4, layers=2, norm="none")
    initialise(network, "default", generator=torch.Generator().manual_seed(0))
    image = torch.randn(1, 3, 32, 32)
    (outputs,) = network(image)
    inputs = [image, *outputs[:-1]]
    for block, before, after in zip(network.blocks, inputs, outputs, strict=True):
        assert torch.equal(block(before), after)
    conv = network.get_submodule("blocks.0.conv")
    assert torch.equal(outputs[0], torch.nn.functional.leaky_relu(conv(image), 0.2))


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_every_norm_trains_every_weight(norm: str) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 6, 32, 24, generator=generator)
    for network in (
        PatchDiscriminator(width=4, layers=2, norm=norm),
        PixelDiscriminator(width=4, norm=norm),
    ):
        initialise(network, "normal", generator=generator)
        network(image)[-1][-1].square().mean().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("last_stride", [1, 2])
def test_the_smallest_image_of_every_shape_can_be_learned_from(
    kernel: int, last_stride: int
) -> None:
    network = PatchDiscriminator(
        width=2, layers=2, norm="instance", kernel=kernel, last_stride=last_stride, scale=2
    )
    side = network.smallest
    assert network(torch.randn(1, 6, side, side))[-1][-1].isfinite().all()
    with pytest.raises(DataError, match=f"must be at least {side}"):
        network(torch.zeros(1, 6, side - 1, side))


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_smallest_image_gives_one_logit_and_smaller_ones_are_refused(layers: int) -> None:
    network = PatchDiscriminator(width=2, layers=layers)
    side = network.smallest
    assert network(torch.zeros(1, 6, side, side))[-1][-1].shape == (1, 1, 1, 1)
    with pytest.raises(DataError, match=f"must be at least {side}: use larger images or fewer"):
        network(torch.zeros(1, 6, side, side - 1))


def test_wrong_channels_are_refused() -> None:
    with pytest.raises(DataError, match="the discriminator takes N x 6 x H x W"):
        PatchDiscriminator(width=2)(torch.zeros(1, 3, 32, 32))


def test_no_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"at least 1; for single pixels use .* 'pixel'"):
        PatchDiscriminator(layers=0)
