"""Spectral norm: sigma is found, state is kept, PyTorch's own computes the same."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from limner.networks import initialise
from limner.networks.normalisation import SpectralConv2d


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(init: str = "xavier") -> SpectralConv2d:
    conv = SpectralConv2d(6, 10, 3, padding=1)
    initialise(conv, init, generator=seeded())
    return conv


def largest(weight: torch.Tensor) -> float:
    return torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item()


def test_training_brings_the_spectral_norm_to_1() -> None:
    conv = drawn()
    assert abs(largest(conv.normalised_weight()) - 1) < 0.1  # from the first draw on
    for _ in range(100):
        conv.normalised_weight()
    assert abs(largest(conv.normalised_weight()) - 1) < 1e-4
    assert abs(largest(conv.weight) - 1) > 0.1  # the weight itself stays as it is


def test_evaluation_changes_nothing() -> None:
    conv = drawn().eval()
    before = {name: value.clone() for name, value in conv.state_dict().items()}
    image = torch.randn(1, 6, 5, 5)
    assert torch.equal(conv(image), conv(image))
    assert all(torch.equal(before[name], value) for name, value in conv.state_dict().items())
    conv.train()(image)
    assert not torch.equal(before["u"], conv.u)
    assert not torch.equal(before["v"], conv.v)


def test_it_computes_what_pytorch_does_steps_and_gradients_included() -> None:
    ours = drawn()
    plain = nn.Conv2d(6, 10, 3, padding=1)
    plain.load_state_dict({"weight": ours.weight, "bias": ours.bias})
    theirs = nn.utils.spectral_norm(plain)
    theirs.weight_u.copy_(ours.u)  # type: ignore[operator]
    theirs.weight_v.copy_(ours.v)  # type: ignore[operator]
    for _ in range(3):
        image = torch.randn(2, 6, 7, 7)
        outputs = [conv(image) for conv in (ours, theirs)]
        assert torch.allclose(*outputs, atol=1e-6)
        for output in outputs:
            output.square().mean().backward()
        weight = theirs.get_parameter("weight_orig")
        assert ours.weight.grad is not None
        assert weight.grad is not None
        assert torch.allclose(ours.weight.grad, weight.grad, atol=1e-6)


def test_two_passes_may_go_before_one_backward() -> None:
    conv = drawn()
    image = torch.randn(1, 6, 4, 4)
    (conv(image).sum() + conv(image).sum()).backward()
    conv.zero_grad()
    first = conv.eval()(image)
    conv.train()(image)
    first.sum().backward()
    assert conv.weight.grad is not None


def test_the_same_seed_gives_the_same_vectors_and_the_global_one_stays() -> None:
    before = torch.get_rng_state()
    first = SpectralConv2d(3, 4, 3)
    torch.manual_seed(99)
    second = SpectralConv2d(3, 4, 3)
    torch.set_rng_state(before)
    for conv in (first, second):
        initialise(conv, generator=seeded(5))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.u, second.u)
    assert torch.equal(first.v, second.v)


def test_state_passes_through_files_and_copies() -> None:
    conv = drawn()
    conv(torch.randn(1, 6, 4, 4))
    state = load(save(conv.state_dict()))
    assert set(state) == {"weight", "bias", "u", "v"}
    other = SpectralConv2d(6, 10, 3, padding=1)
    other.load_state_dict(state)
    image = torch.randn(1, 6, 4, 4)
    expected = conv.eval()(image)
    assert torch.equal(other.eval()(image), expected)
    assert torch.equal(copy.deepcopy(conv)(image), expected)


def test_lower_precision_leaves_sigma_exact() -> None:
    conv = drawn().eval()
    exact = conv.normalised_weight()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(conv.normalised_weight(), exact)


@pytest.mark.parametrize("twice", [False, True])
def test_first_and_second_derivatives_are_those_of_the_division(twice: bool) -> None:
    conv = SpectralConv2d(2, 3, 2).double()
    initialise(conv, "xavier", generator=seeded())
    vectors = conv.u.clone(), conv.v.clone()

    def divided(weight: torch.Tensor) -> torch.Tensor:
        conv.held = vectors  # no iteration: the same vectors for every difference
        return torch.func.functional_call(conv, {"weight": weight}, image).square()

    image = torch.randn(1, 2, 3, 3, dtype=torch.float64, generator=seeded(1))
    weight = conv.weight.detach().clone().requires_grad_()
    check = torch.autograd.gradgradcheck if twice else torch.autograd.gradcheck
    assert check(divided, weight)
