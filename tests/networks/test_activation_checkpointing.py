"""Gradient checkpointing changes no output, no gradient and no state."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.networks import initialise, make_generator
from limner.networks.layers import checkpointed

SMALL: dict[str, dict[str, Any]] = {
    "pix2pixhd": {"width": 2, "downs": 2, "blocks": 2, "norm": "batch"},
    "pix2pixhd-local": {"width": 2, "downs": 1, "blocks": 1, "local_blocks": 1},
    "spade": {"width": 2, "hidden": 4, "norm": "sync-batch"},
}


def trained(network: nn.Module, image: Tensor) -> tuple[Tensor, dict[str, Tensor], dict]:
    """Two passes with their backward passes after both, as in accumulation turned inside out."""
    outputs = [network(image), network(image.flip(3))]
    (outputs[0].square().mean() + outputs[1].mean()).backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return torch.cat(outputs).detach(), gradients, network.state_dict()


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("training", [True, False])
def test_results_gradients_and_state_are_the_same(name: str, training: bool) -> None:
    plain = make_generator(name, **SMALL[name])
    initialise(plain, "xavier", gain=1.0, generator=torch.Generator().manual_seed(0))
    saving = make_generator(name, **SMALL[name], activation_checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 32, 64)
    expected = trained(plain.train(training), image)
    found = trained(saving.train(training), image)
    assert torch.equal(found[0], expected[0])
    assert found[1].keys() == expected[1].keys() == dict(plain.named_parameters()).keys()
    for ours, theirs in ((found[1], expected[1]), (found[2], expected[2])):
        for key, value in theirs.items():
            assert torch.allclose(ours[key], value, rtol=1e-5, atol=1e-8), key
    counts = [v.item() for n, v in found[2].items() if n.endswith("num_batches_tracked")]
    assert set(counts) <= {2 if training else 0}


def test_fewer_features_are_kept_and_dropout_is_the_same_again() -> None:
    segment = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Dropout(0.5), nn.Tanh())
    image = torch.randn(1, 1, 16, 16)

    def kept(checkpointing: bool) -> tuple[int, Tensor]:
        copied, sizes = copy.deepcopy(segment), []
        torch.manual_seed(3)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
        ):
            output = checkpointed(copied, image, enabled=checkpointing)
        torch.manual_seed(4)
        output.square().sum().backward()
        grad = copied.get_parameter("0.weight").grad
        assert grad is not None
        return sum(sizes), grad

    (most, expected), (fewest, found) = kept(False), kept(True)
    assert torch.equal(found, expected)
    assert fewest < most / 4


def test_without_gradients_nothing_is_done_twice() -> None:
    calls = []

    class Counting(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            calls.append(image)
            return image

    with torch.no_grad():
        checkpointed(Counting(), torch.zeros(1), enabled=True)
    assert len(calls) == 1
