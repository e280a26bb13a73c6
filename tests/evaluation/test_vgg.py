"""The backbones: torchvision's names, taps by name, sizes, and files that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError, WeightsError
from limner.networks import pretrained as store
from limner.networks.vgg import AlexNetFeatures, VGGFeatures, imagenet_normalised


def test_names_and_parameters_are_torchvisions() -> None:
    # torchvision counts 138,357,544 and 143,667,240 with classifiers of 123,642,856.
    counts = {16: 14_714_688, 19: 20_024_384}
    numbers = {16: [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]}
    numbers[19] = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    for depth in (16, 19):
        network = VGGFeatures(depth=depth)
        assert sum(p.numel() for p in network.parameters()) == counts[depth]
        names = {f"features.{n}.{kind}" for n in numbers[depth] for kind in ("weight", "bias")}
        assert set(network.state_dict()) == names
    alex = AlexNetFeatures()
    assert sum(p.numel() for p in alex.parameters()) == 2_469_696
    assert {int(name.split(".")[1]) for name in alex.state_dict()} == {0, 3, 6, 8, 10}


def test_the_files_load_with_and_without_classifier(
    shared: Path, vgg16_state: dict[str, Tensor]
) -> None:
    network = VGGFeatures(depth=16)
    network.load({**vgg16_state, "classifier.0.weight": torch.ones(1)})
    assert torch.equal(network.state_dict()["features.28.bias"], vgg16_state["features.28.bias"])
    for name, backbone in (("vgg16", network), ("alexnet", AlexNetFeatures())):
        state = store.load(name, weights=shared / "weights", download=False)
        backbone.load(state)
        for key, tensor in backbone.state_dict().items():
            assert torch.equal(tensor, state[key])


def test_taps_are_the_layers_named(vgg16_state: dict[str, Tensor]) -> None:
    images = torch.rand(1, 3, 32, 48)
    whole = VGGFeatures(depth=16)
    whole.load(vgg16_state)
    taps = whole(images)
    assert [tuple(t.shape[1:]) for t in taps] == [
        (64, 32, 48),
        (128, 16, 24),
        (256, 8, 12),
        (512, 4, 6),
        (512, 2, 3),
    ]
    assert whole.channels == (64, 128, 256, 512, 512)
    x = images
    for number, layer in enumerate(whole.features):
        x = layer(x)
        if number == 8:  # conv, relu, conv, relu, pool, conv, relu, conv, relu
            assert torch.equal(x, taps[1])
    # Taps in any order, and nothing built behind the last.
    short = VGGFeatures(depth=16, taps=("relu2_2", "relu1_1"))
    short.load(vgg16_state)
    assert torch.equal(short(images)[0], taps[1])
    assert len(short.features) == 9
    assert short(images)[1].shape == (1, 64, 32, 48)


def test_taps_are_not_changed_by_later_layers(alexnet_state: dict[str, Tensor]) -> None:
    # An in-place ReLU behind a tap would.
    network = AlexNetFeatures()
    network.load(alexnet_state)
    first = AlexNetFeatures(taps=("relu1",))
    first.load(alexnet_state)
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(network(images)[0], first(images)[0])
    assert network.channels == (64, 192, 384, 256, 256)


@pytest.mark.parametrize(
    "network", [AlexNetFeatures(), VGGFeatures(), VGGFeatures(depth=19, taps=("relu3_1",))]
)
def test_the_least_size_is_the_least_that_works(network: VGGFeatures | AlexNetFeatures) -> None:
    least = network.minimum_size
    assert all(tap.numel() for tap in network(torch.rand(1, 3, least, least)))
    with pytest.raises(RuntimeError):
        network(torch.rand(1, 3, least - 1, least - 1))


def test_normalisation_is_imagenets() -> None:
    grey = torch.full((1, 3, 2, 2), 0.5)
    values = imagenet_normalised(grey)[0, :, 0, 0].tolist()
    assert values == pytest.approx([0.015 / 0.229, 0.044 / 0.224, 0.094 / 0.225], rel=1e-5)


def test_what_does_not_fit_is_refused(
    alexnet_state: dict[str, Tensor], vgg16_state: dict[str, Tensor]
) -> None:
    with pytest.raises(WeightsError, match=r"x\.pth: 'features\.0\.weight' has shape"):
        VGGFeatures().load(alexnet_state, origin="x.pth")
    with pytest.raises(WeightsError, match=r"holds no 'features\.\d+\.\w+', so it is not a VGG19"):
        VGGFeatures(depth=19).load(vgg16_state)
    with pytest.raises(ConfigError, match="depth 11"):
        VGGFeatures(depth=11)
    with pytest.raises(ConfigError, match="did you mean 'relu5_3'"):
        VGGFeatures(taps=("relu5_33",))
    with pytest.raises(ConfigError, match="at least one tap"):
        AlexNetFeatures(taps=())
