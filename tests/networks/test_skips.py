from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.networks import UNet, count_parameters, initialise
from limner.networks.unet import JOINS, joins_for

STUDY: dict[str, Any] = {
    "bias": True,
    "dropout_kind": "channel",
    "dropout_innermost": True,
    "rectify_last_skip": False,
}


@pytest.mark.parametrize(
    ("skips", "expected"),
    [("concat", 54_419_459), ("add", 39_080_963), ("multiply", 39_080_963)],
)
def test_the_studys_numbers_of_parameters(skips: str, expected: int) -> None:
    with torch.device("meta"):
        assert count_parameters(UNet(skips=skips, **STUDY)) == expected


@pytest.mark.parametrize(("depth", "count"), [(8, 3), (7, 2), (6, 1), (5, 0)])
def test_dropout_lies_one_level_further_in_than_pix2pixs(depth: int, count: int) -> None:
    usual = list(range(1, count + 1))
    for settings, wanted in (({}, usual), ({"dropout_innermost": True}, [at - 1 for at in usual])):
        network: Any = UNet(width=1, depth=depth, dropout_kind="channel", **settings)
        ups = list(network.ups)[:-1]
        assert [at for at, up in enumerate(ups) if isinstance(up.dropout, nn.Dropout2d)] == wanted


def test_each_join_that_alternates_costs_what_its_kind_costs() -> None:
    with torch.device("meta"):
        narrow, wide = (count_parameters(UNet(skips=kind)) for kind in ("add", "concat"))
        alternating = count_parameters(UNet(skips="alternating"))
        one_by_one = [
            count_parameters(
                UNet(skips=["concat" if at == level else "multiply" for at in range(7)])
            )
            - narrow
            for level in range(7)
        ]
    assert sum(one_by_one) == wide - narrow
    assert alternating == narrow + sum(one_by_one[level] for level in (0, 2, 4, 6))


def test_words_and_lists_name_the_joins_from_the_outermost_inwards() -> None:
    assert joins_for("alternating", depth=4) == ("concat", "multiply", "concat")
    assert joins_for(["add", "concat"], depth=3) == ("add", "concat")


@pytest.mark.parametrize("skips", ["concat", "add", "multiply", "alternating"])
def test_the_studys_unet_computes_what_its_definition_says(skips: str) -> None:
    """Follow the definition of FIELD.md plainly: blocks from the outside in and back."""
    torch.manual_seed(1)
    network: Any = UNet(width=2, depth=5, skips=skips, **STUDY).eval()
    initialise(network, "default", generator=torch.Generator().manual_seed(2))
    image = torch.randn(2, 3, 64, 32)

    encoded = [network.downs[0](image)]
    for down in list(network.downs)[1:]:
        encoded.append(down(F.leaky_relu(encoded[-1], 0.2)))
    # The activations are in place, so what a skip carries has been through the next block's.
    carried = [F.leaky_relu(features, 0.2) for features in encoded[:-1]]
    hidden = encoded[-1]
    joins = joins_for(skips, depth=5)
    for number, up in enumerate(network.ups):
        if number == 4:
            hidden = up.conv(hidden)
            break
        hidden = up.norm(up.conv(F.relu(hidden)))
        if number == 3:
            hidden = F.relu(hidden)
        skip = carried[3 - number]
        hidden = {
            "concat": lambda a, b: torch.cat([a, b], dim=1),
            "add": lambda a, b: a + b,
            "multiply": lambda a, b: a * b,
        }[joins[3 - number]](skip, hidden)
    torch.testing.assert_close(network(image), torch.tanh(hidden))


def seen_by_the_last_block(network: Any, image: Tensor) -> Tensor:
    seen: dict[str, Tensor] = {}
    network.ups[-1].register_forward_pre_hook(lambda _m, given: seen.update(up=given[0].clone()))
    network(image)
    return seen["up"]


def test_a_join_that_multiplies_passes_zero_where_the_encoder_is_zero() -> None:
    network: Any = UNet(width=3, depth=3, skips="multiply")
    with torch.no_grad():
        network.downs[0].conv.weight[1] = 0
    seen = seen_by_the_last_block(network, torch.randn(1, 3, 16, 16))
    assert (seen[:, 1] == 0).all()
    assert (seen[:, [0, 2]] != 0).any()


def test_a_join_that_adds_passes_the_decoder_alone_where_the_encoder_is_zero() -> None:
    network: Any = UNet(width=3, depth=3, skips="add").eval()
    image = torch.randn(1, 3, 16, 16)
    decoded: dict[str, Tensor] = {}
    network.ups[-2].register_forward_hook(lambda _m, _i, out: decoded.update(out=out.clone()))
    with torch.no_grad():
        network.downs[0].conv.weight[1] = 0
    seen = seen_by_the_last_block(network, image)
    assert torch.equal(seen[:, 1], decoded["out"][:, 1])
    assert not torch.equal(seen[:, 0], decoded["out"][:, 0])


@pytest.mark.parametrize("skips", [*JOINS, "alternating"])
@pytest.mark.parametrize("rectify_last_skip", [True, False])
def test_gradients_are_right_through_every_join(skips: str, rectify_last_skip: bool) -> None:
    torch.manual_seed(3)
    network: Any = UNet(
        in_channels=1,
        out_channels=1,
        width=2,
        depth=3,
        norm="none",
        dropout=0.0,
        skips=skips,
        rectify_last_skip=rectify_last_skip,
    ).double()
    initialise(network, "default", generator=torch.Generator().manual_seed(3))
    image = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (image,), atol=1e-6)


def test_unknown_joins_and_lists_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(ConfigError, match="alternating"):
        UNet(skips="cat")
    with pytest.raises(ConfigError, match="multiply"):
        UNet(depth=3, skips=["concat", "alternating"])
    with pytest.raises(ConfigError, match=r"lists 2 joins: a U-Net of depth 8 has 7"):
        UNet(skips=["concat", "add"])
