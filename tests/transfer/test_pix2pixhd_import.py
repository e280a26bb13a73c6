"""pix2pixHD's options, names and channels; what its networks compute is in test_golden.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from limner.errors import CheckpointError, ConfigError
from limner.networks import initialise, make_discriminator, make_encoder, make_generator
from limner.transfer import (
    detect_options,
    from_project,
    import_network,
    network_settings,
    to_project,
)

PROJECT = "pix2pixHD"
MAKERS = {
    "generator": make_generator,
    "discriminator": make_discriminator,
    "encoder": make_encoder,
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "global": ("generator", {"ngf": 2, "n_blocks_global": 2, "input_nc": 6, "output_nc": 4}),
    "batch": ("generator", {"ngf": 2, "n_downsample_global": 1, "norm": "batch", "input_nc": 4}),
    "local": (
        "generator",
        {"netG": "local", "ngf": 2, "n_downsample_global": 2, "n_blocks_global": 1, "input_nc": 3},
    ),
    "local 2": (
        "generator",
        {
            "netG": "local",
            "ngf": 1,
            "n_downsample_global": 1,
            "n_blocks_global": 3,
            "n_local_enhancers": 2,
            "n_blocks_local": 1,
            "input_nc": 5,
            "norm": "batch",
        },
    ),
    "judge": ("discriminator", {"ndf": 2, "n_layers_D": 2, "num_D": 3, "input_nc": 9}),
    "judge in one": (
        "discriminator",
        {"ndf": 2, "n_layers_D": 4, "input_nc": 9, "getIntermFeat": False, "norm": "batch"},
    ),
    "encoder": ("encoder", {"nef": 2, "n_downsample_E": 3, "feat_num": 5}),
}


def drawn(role: str, options: dict[str, Any]) -> nn.Module:
    name, keywords = network_settings(PROJECT, role, **options)
    network = MAKERS[role](name, **keywords)
    initialise(network, "xavier", gain=1.0, generator=torch.Generator().manual_seed(1))
    return network


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_go_there_and_back_and_show_the_options(variant: str, tmp_path: Path) -> None:
    role, options = VARIANTS[variant]
    network = drawn(role, options)
    theirs = to_project(network.state_dict(), project=PROJECT, role=role, **options)
    ours = from_project(theirs, project=PROJECT, role=role, **options)
    assert ours.keys() == network.state_dict().keys()
    assert all(torch.equal(value, ours[n]) for n, value in network.state_dict().items())
    torch.save(theirs, tmp_path / "net.pth")
    found = detect_options(tmp_path / "net.pth", PROJECT)
    assert found is not None
    assert found[0] == role
    assert {name: found[1][name] for name in options} == options
    again = import_network(tmp_path / "net.pth", PROJECT, role, **found[1])
    assert again.state_dict().keys() == ours.keys()


def names(variant: str) -> set[str]:
    role, options = VARIANTS[variant]
    state = drawn(role, options).state_dict()
    return set(to_project(state, project=PROJECT, role=role, **options))


def test_layers_stand_where_pix2pixhd_puts_them() -> None:
    # Three downs of 3 places from the 4th on, blocks at the 16th and 17th, then four ups.
    assert {"model.13.weight", "model.16.conv_block.5.bias", "model.18.weight", "model.31.weight"} \
        <= names("global")  # fmt: skip
    assert {"model1_1.4.weight", "model1_2.0.conv_block.1.weight", "model2_2.1.weight",
            "model2_2.5.bias", "model1_2.2.running_mean"} <= names("local 2")  # fmt: skip
    assert "model1_2.5.weight" not in names("local 2")
    assert {"scale2_layer3.0.weight", "scale0_layer0.0.bias"} <= names("judge")
    assert {"layer1.0.weight", "layer1.2.weight", "layer1.3.running_var", "layer0.14.weight"} \
        <= names("judge in one")  # fmt: skip


def test_the_lowest_resolution_is_its_scale_0() -> None:
    role, options = VARIANTS["judge"]
    network = drawn(role, options)
    theirs = to_project(network.state_dict(), project=PROJECT, role=role, **options)
    full = network.get_parameter("scales.0.0.conv.weight")
    assert torch.equal(theirs["scale2_layer0.0.weight"], full)


@pytest.mark.parametrize(
    ("role", "options", "channels"),
    [
        ("generator", {}, 36),
        ("generator", {"label_nc": 20, "no_instance": True}, 20),
        ("generator", {"label_nc": 20, "instance_feat": True, "feat_num": 5}, 26),
        ("generator", {"label_nc": 0, "no_instance": True}, 3),
        ("generator", {"label_nc": 35, "input_nc": 36}, 36),
        ("generator", {"input_nc": 7}, 7),
        ("discriminator", {}, 39),
        ("discriminator", {"label_nc": 5, "no_instance": True, "output_nc": 1}, 6),
    ],
)
def test_channels_follow_from_its_options(role: str, options: dict, channels: int) -> None:
    assert network_settings(PROJECT, role, **options)[1]["in_channels"] == channels


@pytest.mark.parametrize(
    ("role", "options", "message"),
    [
        ("generator", {"netG": "lokal"}, "unknown netG 'lokal': did you mean 'local'?"),
        ("generator", {"ndf": 4}, "unknown option of pix2pixHD's generator 'ndf': did you mean"),
        ("generator", {"ngf": 0}, "ngf is 0: give a whole number of at least 1"),
        ("generator", {"no_instance": 1}, "no_instance is 1: give true or false"),
        ("generator", {"label_nc": 35, "input_nc": 35}, "label_nc=35 and 1 further channels do"),
        ("discriminator", {"norm": "group"}, "unknown norm 'group'"),
        ("critic", {}, "unknown role 'critic'"),
    ],
)
def test_wrong_options_are_refused(role: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        import_network("nowhere.pth", PROJECT, role, **options)


def test_the_option_that_differs_is_named() -> None:
    role, options = VARIANTS["local"]
    state = to_project(drawn(role, options).state_dict(), project=PROJECT, role=role, **options)
    with pytest.raises(CheckpointError) as caught:
        from_project(state, project=PROJECT, **{**options, "ngf": 4, "netG": "global"})
    assert "the file has netG local, you said global; the file has ngf 2, you said 4" in str(
        caught.value
    )
    with pytest.raises(CheckpointError, match="it holds a generator; import it with role="):
        from_project(state, project=PROJECT, role="encoder")
