from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from limner.errors import ConfigError, DataError
from limner.networks import DROPOUTS, INITS, NORMS, UNet, count_parameters, depth_for, initialise


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, 54_413_955),
        ({"depth": 7}, 41_828_995),
        ({"bias": True}, 54_419_459),  # the study's U-Net, whose every convolution has a bias
    ],
)
def test_published_numbers_of_parameters(keywords: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        assert count_parameters(UNet(**keywords)) == expected


@pytest.mark.parametrize(
    ("size", "depth"),
    [
        ((256, 256), 8),
        ((128, 128), 7),
        ((64, 64), 6),
        ((1024, 1024), 8),
        ((256, 512), 8),
        ((192, 320), 6),
        ((600, 400), 3),
        ((4, 4), 2),
    ],
)
def test_depth_for(size: tuple[int, int], depth: int) -> None:
    assert depth_for(size) == depth


@given(st.integers(1, 300).map(lambda n: 4 * n), st.integers(1, 300).map(lambda n: 4 * n))
def test_depth_is_the_largest_that_divides(height: int, width: int) -> None:
    depth = depth_for((height, width))
    assert depth_for((width, height)) == depth
    assert height % 2**depth == 0
    assert width % 2**depth == 0
    assert depth == 8 or height % 2 ** (depth + 1) or width % 2 ** (depth + 1)


def test_sizes_that_no_unet_takes_name_one_that_fits() -> None:
    with pytest.raises(DataError, match=r"250x250.*multiples of 4.*256, 256"):
        depth_for((250, 250))


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (64, 48), (16, 40)])
def test_the_fitted_depth_trains_at_batch_1_with_batch_norm(size: tuple[int, int]) -> None:
    network = UNet(width=2, depth=depth_for(size))
    image = torch.randn(1, 3, *size)
    out = network(image)
    assert out.shape == image.shape
    assert out.abs().max().item() <= 1
    out.sum().backward()


@pytest.mark.parametrize(("norm", "kind"), list(itertools.product(sorted(NORMS), sorted(DROPOUTS))))
def test_every_norm_and_dropout_trains_every_weight(norm: str, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    network = UNet(in_channels=2, out_channels=4, width=4, depth=4, max_width_factor=2,
                   norm=norm, dropout_kind=kind)  # fmt: skip
    for init in INITS:
        initialise(network, init, generator=generator)
        network.zero_grad()
        out = network(torch.randn(1, 2, 32, 16, generator=generator))
        assert out.shape == (1, 4, 32, 16)
        out.square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            if ".conv.weight" in name:
                assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("depth", "factor", "levels"),
    [(8, 8, {1, 2, 3}), (7, 8, {1, 2}), (6, 8, {1}), (5, 8, set()), (5, 2, {1, 2})],
)
def test_dropout_sits_between_the_innermost_and_the_widening_levels(
    depth: int, factor: int, levels: set[int]
) -> None:
    with torch.device("meta"):
        network = UNet(width=2, depth=depth, max_width_factor=factor, dropout=0.3)
    found = {
        i for i, up in enumerate(network.ups) for m in up.modules() if isinstance(m, nn.Dropout)
    }
    assert found == levels
    assert all(m.p == 0.3 for m in network.modules() if isinstance(m, nn.Dropout))


def test_norms_stand_on_all_but_the_first_and_innermost_and_last() -> None:
    with torch.device("meta"):
        network = UNet(width=2, depth=5)
    normed = {
        n.rpartition(".")[0] for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)
    }
    assert normed == {"downs.1", "downs.2", "downs.3", "ups.0", "ups.1", "ups.2", "ups.3"}


def test_the_image_given_is_left_as_it_was() -> None:
    image = torch.randn(1, 3, 16, 16)
    kept = image.clone()
    UNet(width=2, depth=4)(image)
    assert torch.equal(image, kept)


def test_skips_carry_the_features_after_their_activation() -> None:
    # Concatenation followed by a ReLU hides the difference; other ways of joining will not.
    network = UNet(width=2, depth=3)
    found: dict[str, Tensor] = {}
    network.downs[0].register_forward_hook(lambda _m, _i, out: found.update(down=out.clone()))
    network.ups[2].register_forward_pre_hook(lambda _m, given: found.update(up=given[0].clone()))
    network(torch.randn(1, 3, 16, 16))
    assert (found["down"] < 0).any()
    assert torch.equal(found["up"][:, :2], nn.functional.leaky_relu(found["down"], 0.2))


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_gradients_are_right_despite_the_activations_in_place(norm: str) -> None:
    torch.manual_seed(3)
    network = UNet(in_channels=1, out_channels=1, width=1, depth=3, norm=norm).double()
    initialise(network, "default", generator=torch.Generator().manual_seed(3))
    image = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (image,), atol=1e-6)


@pytest.mark.parametrize("size", [(256, 250), (128, 256)])
def test_sizes_that_do_not_divide_are_refused_with_the_cure(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = UNet(width=2, depth=8)
        image = torch.zeros(1, 3, *size)
    assert network.multiple == 256
    with pytest.raises(DataError) as caught:
        network(image)
    assert "multiples of 256: resize or crop to 256x256, or lower generator.depth" in str(
        caught.value
    )


def test_wrong_channels_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"the U-Net takes N x 3 x H x W and was given 1 x 1 x 8 x 8"
    ):
        UNet(width=2, depth=3)(torch.zeros(1, 1, 8, 8))


def test_one_halving_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"generator.depth is 1: a U-Net needs at least 2"):
        UNet(depth=1)
