"""Convolutions as matrix products: the same function, taken only where it is meant to be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from limner.networks import cpu_speed

PAIRS = {
    "conv": (cpu_speed.Conv2d, nn.Conv2d),
    "transposed": (cpu_speed.ConvTranspose2d, nn.ConvTranspose2d),
}


def _gradients(layer: nn.Module, image: Tensor, weighing: Tensor | None) -> list[Tensor]:
    image = image.clone().requires_grad_()
    layer.zero_grad()
    made = layer(image)
    (made if weighing is None else made * weighing).sum().backward()
    found = [made.detach(), image.grad, *(p.grad for p in layer.parameters())]
    return [value for value in found if value is not None]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(PAIRS)),
    count=st.integers(1, 3),
    inside=st.integers(1, 5),
    outside=st.integers(1, 5),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    kernel=st.integers(2, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    bias=st.booleans(),
)
def test_output_and_gradients_are_those_of_the_convolution(
    kind, count, inside, outside, height, width, kernel, stride, padding, bias
):
    """In float64, for any shape: pictures, their gradients, and those of weights and bias."""
    if min(height, width) + 2 * padding < kernel:
        return
    torch.manual_seed(0)
    ours, plain = (
        layer(inside, outside, kernel, stride=stride, padding=padding, bias=bias).double()
        for layer in PAIRS[kind]
    )
    plain.load_state_dict(ours.state_dict())
    image = torch.randn(count, inside, height, width, dtype=torch.float64)
    weighing = torch.randn_like(plain(image)).detach()
    for found, wanted in zip(
        _gradients(ours, image, weighing), _gradients(plain, image, weighing), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", PAIRS)
def test_without_gradients_the_digits_are_the_convolutions_own(kind):
    """A translated picture must not depend on how training was made faster."""
    ours, plain = (layer(7, 5, 4, stride=2, padding=1) for layer in PAIRS[kind])
    plain.load_state_dict(ours.state_dict())
    with torch.no_grad():
        image = torch.randn(1, 7, 8, 8)
        assert torch.equal(ours(image), plain(image))


@pytest.mark.parametrize("kind", PAIRS)
def test_many_positions_take_the_convolution(kind, monkeypatch):
    """Over `FEW` positions, counted over the batch, the kernels of the library are faster."""

    def refused(*arguments, **keywords):
        raise AssertionError("a matrix product was taken")

    ours = PAIRS[kind][0](3, 3, 4, stride=2, padding=1)
    monkeypatch.setattr(cpu_speed.F, "unfold", refused)
    monkeypatch.setattr(cpu_speed.F, "fold", refused)
    few = 16 if kind == "transposed" else 32  # sides that make 256 positions
    with pytest.raises(AssertionError, match="matrix product"):
        ours(torch.randn(1, 3, few, few))
    ours(torch.randn(2, 3, few, few))
    ours(torch.randn(1, 3, 2 * few, 2 * few))


@pytest.mark.parametrize("kind", PAIRS)
def test_bfloat16_gives_what_the_convolution_gives_within_its_precision(kind):
    """Under autocast too, gradients arriving in the weights' own float32."""
    torch.manual_seed(0)
    ours, plain = (layer(16, 8, 4, stride=2, padding=1) for layer in PAIRS[kind])
    plain.load_state_dict(ours.state_dict())
    image = torch.randn(1, 16, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = (_gradients(layer, image, None) for layer in (ours, plain))
    assert [value.dtype for value in found] == [value.dtype for value in wanted]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("kind", PAIRS)
def test_large_maps_are_channels_last_in_training_alone(kind):
    """Light weights always, heavy ones under autocast; without gradients nothing is rearranged."""
    side = 64 if kind == "conv" else 32  # 1,024 positions
    image = torch.randn(1, 64, side, side)
    light, heavy = (
        PAIRS[kind][0](64, 128 * times, 4, stride=2, padding=1, bias=False) for times in (1, 8)
    )
    assert light.weight.numel() <= cpu_speed.LIGHT < heavy.weight.numel()

    def is_last(layer: nn.Module) -> bool:
        made = layer(image)
        assert made.is_contiguous() != made.is_contiguous(memory_format=torch.channels_last)
        return not made.is_contiguous()

    assert light(torch.randn(1, 64, 2, 2)).is_contiguous()  # a matrix product
    assert is_last(light)
    assert not is_last(heavy)
    with torch.autocast("cpu", torch.bfloat16):
        assert is_last(light)
        assert is_last(heavy)
    with torch.no_grad():
        assert not is_last(light)


@pytest.mark.parametrize("kind", PAIRS)
def test_gradients_lie_as_the_maps_that_they_belong_to(kind):
    """Where the format changes, so does that of what comes back."""
    layer = PAIRS[kind][0](4, 4, 4, stride=2, padding=1)
    leaf = torch.randn(1, 4, 64, 64, requires_grad=True)
    image, found = leaf * 2, []
    made = layer(image)
    assert not made.is_contiguous()
    image.register_hook(found.append)
    made.sum().backward()
    assert found[0].is_contiguous()
    (expected,) = torch.autograd.grad(PAIRS[kind][1].forward(layer, leaf).sum(), leaf)
    torch.testing.assert_close(found[0], expected)


def test_a_joined_maps_gradient_lies_as_the_norms_before_it_want_it():
    """A slice of each pixel would send batch norm's backward pass over memory in steps."""
    last = torch.channels_last
    skip, hidden = (
        torch.randn(2, channels, 4, 5).contiguous(memory_format=last).requires_grad_()
        for channels in (3, 2)
    )
    found = []
    behind = hidden * 2
    joined = cpu_speed.concatenated(skip, behind)
    behind.register_hook(found.append)  # after its own hook, as the operation before sees it
    assert torch.equal(joined, torch.cat([skip, behind], dim=1))
    weighing = torch.randn_like(joined)
    (joined * weighing).sum().backward()
    assert torch.equal(found[0], weighing[:, 3:])
    assert not weighing[:, 3:].is_contiguous(memory_format=last)
    assert found[0].is_contiguous(memory_format=last)
    assert torch.equal(skip.grad, weighing[:, :3])
