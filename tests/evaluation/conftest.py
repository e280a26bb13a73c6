"""Random weights that several test files share, drawn once a session."""

from __future__ import annotations

from pathlib import Path

import drawn
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from limner.evaluation.features.inception import FIDInception
from limner.networks.vgg import AlexNetFeatures, VGGFeatures


@pytest.fixture(scope="session")
def inception_state() -> dict[str, Tensor]:
    return drawn.weights(FIDInception().state_dict(), seed=1)


@pytest.fixture(scope="session")
def alexnet_state() -> dict[str, Tensor]:
    return drawn.weights(AlexNetFeatures().state_dict(), seed=2)


@pytest.fixture(scope="session")
def vgg16_state() -> dict[str, Tensor]:
    return drawn.weights(VGGFeatures(depth=16).state_dict(), seed=2)


@pytest.fixture(scope="session")
def weights_folder(
    tmp_path_factory: pytest.TempPathFactory,
    alexnet_state: dict[str, Tensor],
    vgg16_state: dict[str, Tensor],
) -> Path:
    """A folder with random weights under the names that `--weights` looks for, less Inception's."""
    folder = tmp_path_factory.mktemp("weights")
    save_file({k: v.half() for k, v in vgg16_state.items()}, folder / "vgg16_features.safetensors")
    save_file(alexnet_state, folder / "alexnet_features.safetensors")
    torch.save(drawn.heads("alex"), folder / "lpips_v0.1_alex.pth")
    torch.save(drawn.heads("vgg"), folder / "vgg.pth")
    return folder


@pytest.fixture(scope="session")
def inception_file(
    tmp_path_factory: pytest.TempPathFactory, inception_state: dict[str, Tensor]
) -> Path:
    path = tmp_path_factory.mktemp("inception") / "random_inception.pth"
    torch.save(inception_state, path)
    return path
