"""LPIPS behaves as a distance (the package's figures: test_reference_metrics.py)."""

from __future__ import annotations

from pathlib import Path

import drawn
import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError, DataError, WeightsError
from limner.evaluation.metrics.learned import LPIPS
from limner.networks import pretrained as store


@pytest.fixture(scope="module")
def network(alexnet_state: dict[str, Tensor]) -> LPIPS:
    network = LPIPS(backbone="alex").eval()
    network.load(alexnet_state, drawn.heads("alex"))
    return network.requires_grad_(False)


@pytest.fixture(scope="module", params=["alex", "vgg"])
def real_network(request: pytest.FixtureRequest, shared: Path) -> LPIPS:
    network = LPIPS(backbone=request.param).eval()
    backbone = {"alex": "alexnet", "vgg": "vgg16"}[request.param]
    folder = shared / "weights"
    network.load(
        store.load(backbone, weights=folder, download=False),
        store.load(f"lpips-{request.param}", weights=folder, download=False),
    )
    return network.requires_grad_(False)


def unit(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def test_zero_to_itself_symmetric_and_each_image_alone(network: LPIPS) -> None:
    a = unit(torch.stack([drawn.image(n) for n in range(3)]))
    b = unit(torch.stack([drawn.image(n + 10) for n in range(3)]))
    assert network(a, a).tolist() == [0, 0, 0]
    assert network(a, b).min() > 0
    assert network(a, b).tolist() == pytest.approx(network(b, a).tolist(), rel=1e-6)
    alone = [network(a[n : n + 1], b[n : n + 1]).item() for n in range(3)]
    assert network(a, b).tolist() == pytest.approx(alone, rel=1e-5)


def test_grows_with_blur_and_noise(real_network: LPIPS) -> None:
    x = drawn.image(5, height=64, width=64, noise=2)
    for damaged in (
        [drawn.blurred(x, times=n) for n in (1, 3, 9)],
        [drawn.noisy(x, levels=n) for n in (4, 20, 80)],
    ):
        fake = unit(torch.stack(damaged))
        assert real_network(unit(x).expand_as(fake), fake).diff().min() > 0


def test_another_picture_is_further_than_the_same_one_a_little_paler(real_network: LPIPS) -> None:
    x, other = (drawn.image(n, height=64, width=64) for n in (5, 6))
    near, far = unit(x // 2 + 64)[None], unit(other)[None]
    assert real_network(unit(x)[None], near) < real_network(unit(x)[None], far)


def test_the_gradient_reaches_the_image(network: LPIPS) -> None:
    fake = unit(drawn.image(1))[None].requires_grad_()
    network(unit(drawn.image(2))[None], fake).sum().backward()
    gradient = fake.grad
    assert isinstance(gradient, Tensor)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_pictures_too_small_are_refused(network: LPIPS) -> None:
    x = torch.rand(1, 3, 30, 64)
    with pytest.raises(DataError, match="AlexNet needs images of at least 31x31 pixels, not 64x30"):
        network(x, x)


def test_what_does_not_fit_is_refused(alexnet_state: dict[str, Tensor]) -> None:
    network = LPIPS(backbone="alex")
    with pytest.raises(WeightsError, match=r"h\.pth has no 'lin1\.model\.1\.weight' of shape"):
        network.load(alexnet_state, drawn.heads("vgg"), heads_origin="h.pth")
    with pytest.raises(WeightsError, match=r"b\.pth"):
        LPIPS(backbone="vgg").load(alexnet_state, drawn.heads("vgg"), backbone_origin="b.pth")
    with pytest.raises(ConfigError, match="did you mean 'vgg'"):
        LPIPS(backbone="vgg16")
