from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from junyanz_restated import Restated, draw_patch, draw_pixel, draw_resnet, draw_unet
from safetensors.torch import save_file
from torch import Tensor, nn

from limner.transfer import detect_options, from_project, import_network, to_project

NORMS = ["batch", "instance", "none"]


def drawn_image(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / "latest_net.pth")
    return folder / "latest_net.pth"


def difference(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    assert expected.std() > 1e-2, "an output that is all the same proves nothing"
    assert expected.abs().median() < 0.99, "nor does a saturated one"
    return (found - expected).abs().max().item()


@pytest.mark.parametrize(
    ("depth", "norm", "dropout"), list(itertools.product([5, 6, 7], NORMS, [True, False]))
)
@torch.inference_mode()
def test_unet(depth: int, norm: str, dropout: bool, tmp_path: Path) -> None:
    state = draw_unet(depth, width=2, norm=norm)
    network = import_network(
        saved(state, tmp_path), netG=f"unet_{2**depth}", norm=norm, ngf=2, dropout=dropout
    )
    assert not network.training
    image = drawn_image(2, 3, 2**depth, 2 ** (depth + 1))
    assert difference(network(image), Restated(state, norm).unet(image)) < 1e-10


@pytest.mark.parametrize("norm", NORMS)
@torch.inference_mode()
def test_unet_in_training_with_dropout_at_its_places(norm: str, tmp_path: Path) -> None:
    state = draw_unet(7, width=2, norm=norm)
    network = import_network(saved(state, tmp_path), netG="unet_128", norm=norm, ngf=2).train()
    image = drawn_image(2, 3, 128, 128)
    dropouts = [m for m in network.modules() if isinstance(m, nn.Dropout)]
    assert [m.p for m in dropouts] == [0.5, 0.5]
    for probability, silent in ((0.0, False), (1.0, True)):
        for dropout in dropouts:
            dropout.p = probability
        expected = Restated(state, norm, training=True).unet(image, silent=silent)
        assert difference(network(image), expected) < 1e-10


@pytest.mark.parametrize(
    ("blocks", "norm", "dropout"), list(itertools.product([6, 9], NORMS, [True, False]))
)
@torch.inference_mode()
def test_resnet(blocks: int, norm: str, dropout: bool, tmp_path: Path) -> None:
    state = draw_resnet(blocks, width=2, norm=norm, dropout=dropout)
    network = import_network(
        saved(state, tmp_path),
        netG=f"resnet_{blocks}blocks",
        norm=norm,
        ngf=2,
        no_dropout=not dropout,
    )
    image = drawn_image(1, 3, 20, 32)
    expected = Restated(state, norm).resnet(image, blocks, dropout=dropout)
    assert difference(network(image), expected) < 1e-10


@pytest.mark.parametrize(("layers", "norm"), list(itertools.product([1, 3, 5], NORMS)))
@torch.inference_mode()
def test_patch_discriminator(layers: int, norm: str, tmp_path: Path) -> None:
    state = draw_patch(layers, width=2, norm=norm)
    options = {"netD": "n_layers", "n_layers_D": layers, "norm": norm, "ndf": 2}
    file = saved(state, tmp_path)
    network = import_network(file, role="discriminator", **options)
    image = drawn_image(1, 6, 128, 160)
    expected = Restated(state, norm).patch(image, layers)
    (found,) = network(image)
    for ours, theirs in zip(found, expected, strict=True):
        assert difference(ours, theirs) < 1e-10
    if layers == 3:
        basic = import_network(file, role="discriminator", norm=norm, ndf=2)
        assert torch.equal(basic(image)[-1][-1], found[-1])


@pytest.mark.parametrize("norm", NORMS)
@torch.inference_mode()
def test_pixel_discriminator(norm: str, tmp_path: Path) -> None:
    state = draw_pixel(width=4, norm=norm)
    network = import_network(
        saved(state, tmp_path), role="discriminator", netD="pixel", norm=norm, ndf=4
    )
    image = drawn_image(1, 6, 16, 8)
    for ours, theirs in zip(network(image)[0], Restated(state, norm).pixel(image), strict=True):
        assert difference(ours, theirs) < 1e-10


CASES = [
    (draw_unet(6, width=3, norm=norm), "generator", {"netG": "unet_64", "norm": norm, "ngf": 3})
    for norm in NORMS
] + [
    (
        draw_resnet(6, width=3, norm=norm, dropout=dropout),
        "generator",
        {"netG": "resnet_6blocks", "norm": norm, "ngf": 3, "dropout": dropout},
    )
    for norm, dropout in itertools.product(NORMS, [True, False])
] + [
    (
        draw_patch(layers, width=3, norm=norm),
        "discriminator",
        {**kind, "norm": norm, "ndf": 3},
    )
    for norm, (layers, kind) in itertools.product(
        NORMS,
        [(3, {"netD": "basic"}), (2, {"netD": "n_layers", "n_layers_D": 2})],
    )
] + [
    (draw_pixel(width=3, norm=norm), "discriminator", {"netD": "pixel", "norm": norm, "ndf": 3})
    for norm in NORMS
]  # fmt: skip


@pytest.mark.parametrize(("state", "role", "options"), CASES)
def test_the_options_are_detected_whatever_the_order_of_names(
    state: dict[str, Tensor], role: str, options: dict[str, Any], tmp_path: Path
) -> None:
    channels = {"input_nc": 3, "output_nc": 3} if role == "generator" else {"input_nc": 6}
    save_file(dict(sorted(state.items(), reverse=True)), tmp_path / "net.safetensors")
    assert detect_options(tmp_path / "net.safetensors") == (role, options | channels)


@pytest.mark.parametrize(("state", "role", "options"), CASES)
def test_names_go_there_and_back(
    state: dict[str, Tensor], role: str, options: dict[str, Any]
) -> None:
    ours = from_project(state, role=role, **options)
    back = to_project(ours, role=role, **options)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())


class Block(nn.Module):
    """A residual block of a fork that lets its convolutions pad with zeros."""

    def __init__(self, channels: int, *, dropout: bool) -> None:
        super().__init__()
        layers = [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        layers += [nn.Dropout(0.5)] if dropout else []
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def zero_padded(*, dropout: bool) -> nn.Module:
    """Return a fork's resnet_6blocks; its outer convolutions reflect like all others."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, 2, 7)]
    layers += [nn.BatchNorm2d(2), nn.ReLU()]
    for c in (2, 4):
        conv = nn.Conv2d(c, 2 * c, 3, stride=2, padding=1)
        layers += [conv, nn.BatchNorm2d(2 * c), nn.ReLU()]
    layers += [Block(8, dropout=dropout) for _ in range(6)]
    for c in (8, 4):
        conv = nn.ConvTranspose2d(c, c // 2, 3, stride=2, padding=1, output_padding=1)
        layers += [conv, nn.BatchNorm2d(c // 2), nn.ReLU()]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(2, 3, 7), nn.Tanh()]
    network = nn.Module()
    network.model = nn.Sequential(*layers)
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and conv.out_channels != 3:
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)  # the project's have none before a batch norm
            conv.bias = None
    return network.eval()


@pytest.mark.parametrize("dropout", [False, True])
@torch.inference_mode()
def test_blocks_padded_with_zeros(dropout: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = zero_padded(dropout=dropout)
    for norm in theirs.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            nn.init.normal_(norm.running_mean, 0, 0.2)
            nn.init.uniform_(norm.weight, 0.5, 2)
    file = saved(theirs.state_dict(), tmp_path)
    detected = detect_options(file)
    assert detected is not None
    role, options = detected
    assert role == "generator"
    assert options["padding_type"] == "zero"
    assert options["dropout"] is dropout
    ours = import_network(file, **options)
    assert isinstance(theirs.model, nn.Module)
    image = drawn_image(1, 3, 32, 40).float()
    assert difference(ours(image), theirs.model(image)) < 1e-5
    back = to_project(ours.state_dict(), **options)
    assert back.keys() == theirs.state_dict().keys()
