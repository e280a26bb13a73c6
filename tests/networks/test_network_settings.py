"""The settings of pix2pixHD's and SPADE's networks: each builds its network, or says why not."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from overriding import with_overrides

from limner.config import (
    Config,
    MultiscaleSettings,
    PatchSettings,
    SPADESettings,
    UNetSettings,
    read_config,
    resolved,
    to_yaml,
)
from limner.errors import ConfigError
from limner.networks import (
    DISCRIMINATORS,
    ENCODERS,
    GENERATORS,
    NORMS,
    make_discriminator,
    make_encoder,
    make_generator,
)
from limner.networks.spade import DOUBLINGS, PLAIN_NORMS
from limner.networks.unet import joins_for
from limner.presets import preset
from limner.training.state import build_generator


def with_section(*overrides: str) -> Config:
    return with_overrides(preset("pix2pix"), overrides)


@pytest.mark.parametrize(
    ("table", "make"),
    [
        (GENERATORS, make_generator),
        (DISCRIMINATORS, make_discriminator),
        (ENCODERS, make_encoder),
    ],
)
def test_settings_and_class_of_a_network_have_the_same_defaults(table: dict, make) -> None:
    for name, model in table.items():
        settings = model(name=name, width=2)
        needed = {"depth": 2} if name == "unet" else {}
        network = make(name, in_channels=3, **{**settings.keywords, **needed})
        assert type(network) is model.network
        stated = inspect.signature(model.network.__init__).parameters
        for key, value in model(name=name).keywords.items():
            if value is not None:  # what is left open is filled in from the data
                assert stated[key].default == value, (name, key)


def test_words_of_settings_are_those_of_the_networks() -> None:
    for model, known in ((MultiscaleSettings, NORMS), (SPADESettings, PLAIN_NORMS)):
        words = model.model_fields["norm"].annotation.__args__  # type: ignore[union-attr]
        assert set(words) == set(known)
    assert set(SPADESettings.model_fields["upsampling"].annotation.__args__) == set(DOUBLINGS)  # type: ignore[union-attr]


def test_multiples_of_settings_are_those_of_the_networks() -> None:
    for overrides in (
        ["generator.name=pix2pixhd", "generator.downs=3"],
        ["generator.name=pix2pixhd-local", "generator.downs=2", "generator.enhancers=2"],
        ["generator.name=spade", "generator.upsampling=more"],
        ["generator.name=resnet"],
    ):
        section = with_section(*overrides, "generator.width=1").generator
        network = make_generator(section.name, **section.keywords)
        assert network.multiple == section.multiple


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.size=[96,120]", "generator.name=spade"], "does not divide by 32"),
        (["data.size=[64,96]", "generator.name=pix2pixhd-local", "generator.downs=5"],
         "does not divide by 64"),
        (["data.size=264", "generator.name=resnet", "data.labels={}", "encoder={name: features}"],
         "does not divide by 16"),
        (["generator.name=spade", "encoder={name: spade-encoder}"],
         "encoder.latent=256 is not what the generator takes, 0: give a generator named spade"),
        (["encoder={name: spade-encoder}"], "encoder.latent=256 is not what"),
        (["encoder={name: spade-encode}"], "did you mean 'spade-encoder'"),
        (["generator={name: spade, norm: group}"], "generator.norm='group'"),
        (["generator={name: spade, blocks: 3}"], "generator.blocks"),
    ],
)  # fmt: skip
def test_contradictions_are_told(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_section(*overrides)
    assert message in str(caught.value)


def test_a_style_code_begins_pictures_of_the_training_size(tmp_path) -> None:
    config = with_section(
        "data.size=[64,96]", "generator={name: spade, latent: 8}",
        "encoder={name: spade-encoder, latent: 8, layers: 3}",
    )  # fmt: skip
    config = resolved(config)
    assert config.generator.model_dump()["size"] == (64, 96)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert read_config(tmp_path / "config.yaml") == config


def test_settings_without_an_encoder_are_as_before() -> None:
    assert preset("pix2pix").encoder is None


@pytest.mark.parametrize(
    "shape", [(1, 4, 1, 1), (3, 4, 1, 1), (2, 5, 1, 3), (2, 1, 2, 1), (3, 5, 2, 2)]
)
def test_the_least_side_of_a_picture_is_what_the_discriminator_says(
    shape: tuple[int, int, int, int],
) -> None:
    layers, kernel, last_stride, scale = shape
    shaped = {"layers": layers, "kernel": kernel, "last_stride": last_stride, "scale": scale}
    settings = PatchSettings(**shaped)  # pyright: ignore[reportArgumentType]
    network = make_discriminator("patch", width=1, **shaped)
    assert settings.smallest == network.smallest


def test_a_field_decides_layers_and_kernel_of_the_network_that_is_built() -> None:
    config = resolved(
        with_section("discriminators.0.field=62", "discriminators.0.last_stride=2", "data.size=128")
    )
    judge = config.discriminators[0]
    assert isinstance(judge, PatchSettings)
    assert (judge.layers, judge.kernel) == (3, 2)
    with pytest.raises(ConfigError, match="choose a field of"):
        resolved(with_section("discriminators.0.field=63"))


@pytest.mark.parametrize("skips", ["add", "alternating", "[concat, add, multiply, add, concat]"])
def test_skips_reach_the_network_and_come_back_from_the_file(skips: str, tmp_path: Path) -> None:
    config = resolved(with_section(f"generator.skips={skips}", "data.size=64", "generator.width=2"))
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    network: Any = build_generator(read_config(tmp_path / "config.yaml"))
    assert isinstance(config.generator, UNetSettings)
    assert network.skips == joins_for(config.generator.skips, depth=6)


def test_a_list_of_joins_must_fit_the_depth() -> None:
    config = resolved(with_section("generator.skips=[add, add]", "data.size=64"))
    with pytest.raises(ConfigError, match="lists 2 joins: a U-Net of depth 6 has 5"):
        build_generator(config)
