"""pix2pixHD's options, names and channels; what its networks compute is in test_golden.py."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from variants import VARIANTS, drawn, theirs

from limner.errors import CheckpointError, ConfigError
from limner.transfer import from_project, import_network, network_settings

PROJECT = "pix2pixHD"


def names(variant: str) -> set[str]:
    return set(theirs(PROJECT, variant))


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
    full = drawn(PROJECT, "judge").get_parameter("scales.0.0.conv.weight")
    assert torch.equal(theirs(PROJECT, "judge")["scale2_layer0.0.weight"], full)


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
    (_, options), state = VARIANTS[PROJECT]["local"], theirs(PROJECT, "local")
    with pytest.raises(CheckpointError) as caught:
        from_project(state, project=PROJECT, **{**options, "ngf": 4, "netG": "global"})
    assert "the file has netG local, you said global; the file has ngf 2, you said 4" in str(
        caught.value
    )
    with pytest.raises(CheckpointError, match="it holds a generator; import it with role="):
        from_project(state, project=PROJECT, role="encoder")
