from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from limner.errors import ConfigError, DataError
from limner.networks.layers import (
    DROPOUTS,
    INITS,
    check_image,
    conv_bias,
    dropout_layer,
    initialise,
)
from limner.networks.normalisation import NORMS, norm_layer


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(16, 32, 4),
        nn.BatchNorm2d(32),
        nn.ConvTranspose2d(32, 8, 4),
        nn.GroupNorm(1, 8),
        nn.Linear(8, 64),
    )


@given(st.integers(1, 1100))
def test_group_norm_splits_channels_into_equal_groups(channels: int) -> None:
    norm = norm_layer("group", channels)
    assert isinstance(norm, nn.GroupNorm)
    assert channels % norm.num_groups == 0
    assert norm.num_groups <= 32
    assert norm.num_groups == 1 or channels // norm.num_groups >= 8


def test_group_norm_of_usual_widths() -> None:
    groups = {c: norm_layer("group", c).num_groups for c in (8, 32, 64, 128, 256, 512)}
    assert groups == {8: 1, 32: 4, 64: 8, 128: 16, 256: 32, 512: 32}


def test_instance_norm_has_neither_parameters_nor_statistics() -> None:
    assert norm_layer("instance", 4).state_dict() == {}
    assert set(norm_layer("instance-affine", 4).state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("norm", sorted(set(NORMS) - {"none"}))
def test_norms_bring_mean_0_and_variance_1(norm: str) -> None:
    images = 3 + 5 * torch.randn(2, 16, 12, 12, generator=seeded())
    out = norm_layer(norm, 16)(images)
    assert abs(out.mean().item()) < 1e-5
    assert out.var(correction=0).item() == pytest.approx(1, abs=1e-3)


def test_dropout_drops_elements_or_whole_channels() -> None:
    ones = torch.ones(1, 200, 8, 8)
    torch.manual_seed(0)
    dropped = {kind: dropout_layer(kind, 0.25)(ones) for kind in DROPOUTS}
    assert torch.equal(dropped["none"], ones)
    for kind in ("element", "channel"):
        assert (dropped[kind] == 0).float().mean().item() == pytest.approx(0.25, abs=0.08)
        kept = dropped[kind][dropped[kind] != 0]
        assert torch.allclose(kept, torch.full_like(kept, 1 / 0.75))
    per_channel = (dropped["channel"] == 0).flatten(2).float().mean(dim=2)
    assert set(per_channel.flatten().tolist()) == {0.0, 1.0}
    assert 0 < (dropped["element"][0, 0] == 0).float().mean().item() < 1


def test_dropout_of_0_draws_nothing() -> None:
    before = torch.get_rng_state()
    dropout_layer("element", 0.0)(torch.ones(1, 1, 4, 4))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("batch", False), ("instance", True), ("instance-affine", False), ("none", True)],
)
def test_convolutions_have_a_bias_where_the_norm_has_none(norm: str, expected: bool) -> None:
    assert conv_bias(norm, None) is expected
    assert conv_bias(norm, not expected) is (not expected)


@pytest.mark.parametrize("init", sorted(INITS))
def test_the_same_seed_gives_the_same_weights_and_the_global_one_stays(init: str) -> None:
    networks = [small_network() for _ in range(3)]
    before = torch.get_rng_state()
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        initialise(network, init, generator=seeded(seed))
    assert torch.equal(torch.get_rng_state(), before)
    first, same, other = (nn.utils.parameters_to_vector(n.parameters()) for n in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


# Expected standard deviation of a convolution 16 -> 32, 4 x 4: fan in 256, fan out 512.
@pytest.mark.parametrize(
    ("init", "gain", "spread"),
    [
        ("normal", 0.02, 0.02),
        ("xavier", 0.5, 0.5 * math.sqrt(2 / (256 + 512))),
        ("kaiming", 0.02, math.sqrt(2 / 256)),
        ("orthogonal", 0.5, 0.5 * math.sqrt(1 / 256)),
    ],
)
def test_initialisations_have_their_spread(init: str, gain: float, spread: float) -> None:
    network = small_network()
    initialise(network, init, gain=gain, generator=seeded())
    layers: list[Any] = list(network)
    conv, batch, _, group, _ = layers
    assert conv.weight.std().item() == pytest.approx(spread, rel=0.05)
    for layer in layers:
        assert torch.count_nonzero(layer.bias) == 0
    for norm in (batch, group):
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.02)
    assert batch.weight.std().item() == pytest.approx(0.02, rel=0.4)


def test_orthogonal_weights_are_orthogonal() -> None:
    network = small_network()
    initialise(network, "orthogonal", gain=2.0, generator=seeded())
    rows = network.get_parameter("0.weight").flatten(1)
    assert torch.allclose(rows @ rows.T, 4 * torch.eye(32), atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [lambda: nn.Conv2d(3, 5, 4), lambda: nn.ConvTranspose2d(3, 5, 4), lambda: nn.Linear(3, 5)],
)
def test_default_is_what_pytorch_does(make) -> None:
    torch.manual_seed(7)
    expected = make()
    layer = make()
    initialise(layer, "default", generator=seeded(7))
    assert torch.equal(layer.weight, expected.weight)
    assert torch.equal(layer.bias, expected.bias)


def test_default_leaves_norms_at_1() -> None:
    norm = nn.BatchNorm2d(4)
    initialise(norm, "normal", generator=seeded())
    assert not torch.equal(norm.weight, torch.ones(4))
    initialise(norm, "default", generator=seeded())
    assert torch.equal(norm.weight, torch.ones(4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: norm_layer("bach", 3), "unknown norm 'bach': did you mean 'batch'?"),
        (lambda: dropout_layer("pixel", 0.5), "unknown dropout kind 'pixel'"),
        (
            lambda: initialise(nn.Conv2d(1, 1, 1), "xavia", generator=seeded()),
            "unknown init 'xavia': did you mean 'xavier'?",
        ),
    ],
)
def test_unknown_names_are_refused(call, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert message in str(caught.value)


def check(image: Tensor) -> None:
    check_image(image, channels=3, multiple=8, smallest=16, network="net", cure=", or pray")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 16, 16), "the net takes N x 3 x H x W and was given 1 x 4 x 16 x 16"),
        ((3, 16, 16), "was given 3 x 16 x 16"),
        ((1, 3, 16, 30), "cannot take 30x16 images, both sides must be multiples of 8"),
        ((1, 3, 16, 30), "resize or crop to 32x16, or pray"),
        ((1, 3, 8, 16), "cannot take 16x8 images, both sides must be at least 16"),
    ],
)
def test_images_that_do_not_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError) as caught:
        check(torch.zeros(shape))
    assert message in str(caught.value)


def test_images_that_fit_pass() -> None:
    check(torch.zeros(2, 3, 16, 24))
