"""SPADE's options, names, channels and sizes; what its networks compute is in test_golden.py."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from variants import VARIANTS, theirs

from limner.errors import CheckpointError, ConfigError
from limner.networks import make_encoder
from limner.transfer import from_project, from_spade, import_network, network_settings, to_project

PROJECT = "SPADE"


def names(variant: str) -> set[str]:
    return set(theirs(PROJECT, variant))


def test_layers_bear_spades_names() -> None:
    most = names("most")
    assert {"fc.weight", "head_0.norm_0.mlp_gamma.weight", "up_0.conv_s.weight_u",
            "up_4.norm_s.param_free_norm.running_var", "conv_img.bias"} <= most  # fmt: skip
    assert {"up_4.conv_0.weight_orig", "up_4.conv_0.weight_v"} <= most
    assert not {"up_4.conv_0.weight", "head_0.conv_s.weight_orig", "fc.weight_orig"} & most
    assert "up_3.conv_1.weight" in names("plain")
    assert {"discriminator_2.model0.0.weight", "discriminator_0.model3.0.0.weight_orig",
            "discriminator_0.model4.0.bias"} <= names("judge")  # fmt: skip
    assert {"discriminator_1.model1.0.weight_orig", "discriminator_1.model1.0.bias"} \
        <= names("bare judge")  # fmt: skip
    assert "discriminator_0.model1.0.1.running_mean" in names("batch judge")
    assert {"layer1.0.weight_orig", "layer6.0.weight_u", "fc_mu.weight", "fc_var.bias"} \
        <= names("encoder")  # fmt: skip


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"crop_size": 512, "aspect_ratio": 2.0}, (256, 512)),
        ({"crop_size": 256}, (256, 256)),
        ({"crop_size": 512, "aspect_ratio": 1.3333}, (384, 512)),
        ({"crop_size": 300, "aspect_ratio": 1.0}, (288, 288)),  # whole pixels of the first map
        ({"crop_size": 512, "aspect_ratio": 2.0, "num_upsampling_layers": "more"}, (256, 512)),
        ({"crop_size": 256, "num_upsampling_layers": "most"}, (256, 256)),
    ],
)
def test_the_size_follows_from_crop_size_and_aspect_ratio(options: dict, size: tuple) -> None:
    assert network_settings(PROJECT, "generator", **options)[1]["size"] == size


@pytest.mark.parametrize(
    ("role", "options", "channels"),
    [
        ("generator", {"label_nc": 35}, 36),
        ("generator", {"label_nc": 150, "contain_dontcare_label": True, "no_instance": True}, 151),
        ("generator", {"label_nc": 182, "contain_dontcare_label": True}, 184),
        ("generator", {"label_nc": 5, "instance_edges": False}, 5),
        ("discriminator", {"label_nc": 35, "instance_edges": True}, 39),
    ],
)
def test_channels_follow_from_its_options(role: str, options: dict, channels: int) -> None:
    assert network_settings(PROJECT, role, **options)[1]["in_channels"] == channels


def test_what_computes_the_same_has_one_name() -> None:
    for role, option, word in (
        ("generator", "norm_G", "spectralspade{}batch3x3"),
        ("discriminator", "norm_D", "spectral{}batch"),
        ("encoder", "norm_E", "spectral{}batch"),
    ):
        sync = "sync" if role == "generator" else "sync_"
        spellings = [{option: word.format(part)} for part in ("", sync)]
        first, second = (network_settings(PROJECT, role, **given) for given in spellings)
        assert first == second
        assert first[1]["norm"] == "sync-batch"


@pytest.mark.parametrize(
    ("role", "options", "message"),
    [
        ("generator", {"netG": "pix2pixhd"}, "unknown netG 'pix2pixhd'"),
        ("generator", {"norm_G": "spectralinstance"}, "norm_G is 'spectralinstance': give one"),
        ("generator", {"norm_G": "spadebatch3x5"}, "norm_G is 'spadesyncbatch3x5'"),
        ("generator", {"aspect_ratio": 0}, "aspect_ratio is 0: give width / height"),
        ("generator", {"crop_size": 16}, "crop_size=16 with aspect_ratio=1.0 leaves no first map"),
        ("generator", {"num_upsampling_layers": "mor"}, "did you mean 'mor"),
        ("generator", {"instance_edges": True, "no_instance": True}, "contradicts no_instance"),
        ("generator", {"label_nc": 35, "semantic_nc": 35}, "do not make semantic_nc=35"),
        ("discriminator", {"norm_D": "instance"}, "unknown norm_D 'instance'"),
        ("discriminator", {"n_layers_D": 1}, "n_layers_D is 1: give at least 2"),
        ("encoder", {"label_nc": 3}, "unknown option of SPADE's encoder 'label_nc'"),
    ],
)
def test_wrong_options_are_refused(role: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        import_network("nowhere.pth", PROJECT, role, **options)


def test_the_option_that_differs_is_named() -> None:
    state = theirs(PROJECT, "vae")
    with pytest.raises(CheckpointError, match="the file has z_dim 9, the default is 256: pass"):
        from_project(state, project=PROJECT, ngf=2, label_nc=2, use_vae=True)
    with pytest.raises(CheckpointError, match="pass semantic_nc=3, use_vae=True, z_dim=9"):
        from_project(state, project=PROJECT, ngf=2, label_nc=5)


def test_a_missing_vector_is_told() -> None:
    (role, options), state = VARIANTS[PROJECT]["encoder"], theirs(PROJECT, "encoder")
    del state["layer2.0.weight_u"]
    with pytest.raises(CheckpointError, match=r"it lacks blocks\.1\.conv\.u"):
        from_project(state, project=PROJECT, role=role, **options)


@pytest.mark.parametrize(("crop", "layers"), [(512, 6), (256, 6), (255, 5), (128, 5)])
def test_an_encoder_has_a_sixth_layer_for_crops_of_256_and_more(crop: int, layers: int) -> None:
    name, keywords = network_settings("SPADE", "encoder", ngf=1, crop_size=crop)
    assert keywords["layers"] == layers
    network = make_encoder(name, **keywords)
    theirs = to_project(
        network.state_dict(), project="SPADE", role="encoder", ngf=1, crop_size=crop
    )
    assert ("layer6.0.weight_orig" in theirs) == (layers == 6)
    # The file shows by itself which it is.
    found = from_spade.detect(theirs)
    assert found is not None
    role, options = found
    assert network_settings("SPADE", role, **options) == (name, keywords)
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 40, 60))[0].shape == (1, 256)
