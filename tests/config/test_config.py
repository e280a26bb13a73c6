"""Configuration: strict, complete, with errors that name the cure."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from overriding import with_overrides

from limner.config import (
    Config,
    UNetSettings,
    differences,
    documented_keys,
    read_config,
    replace,
    resolved,
    to_yaml,
)
from limner.errors import ConfigError
from limner.presets import PRESETS, about, preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_writing_and_reading(name: str, tmp_path: Path) -> None:
    config = resolved(preset(name))
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert read_config(path) == config
    assert config.preset == name
    assert about(name)


@pytest.mark.parametrize(("size", "depth"), [(256, 8), (128, 7), (512, 8), (96, 5), (64, 6)])
def test_what_is_left_open_is_derived_from_the_size(size: int, depth: int) -> None:
    config = resolved(with_overrides(preset("pix2pix"), [f"data.size={size}"]))
    assert isinstance(config.generator, UNetSettings)
    assert config.generator.depth == depth
    assert config.data.load_size == (round(size * 286 / 256),) * 2
    assert config.training.discriminator_lr == config.training.lr
    assert resolved(config) == config


@pytest.mark.parametrize(
    ("size", "near"),
    [("100", ["[96, 96] (5 halvings)", "[128, 128] (7 halvings)"]), ("[136, 200]", ["[128, 192]"])],
)
def test_a_size_that_makes_a_shallow_unet_is_refused_with_better_ones(
    size: str, near: list[str]
) -> None:
    config = with_overrides(preset("pix2pix"), [f"data.size={size}"])
    with pytest.raises(ConfigError, match="too shallow") as caught:
        resolved(config)
    for told in near:
        assert told in str(caught.value)
    meant = resolved(with_overrides(config, ["generator.depth=2"]))
    assert isinstance(meant.generator, UNetSettings)
    assert meant.generator.depth == 2


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    old = preset("pix2pix")
    new = with_overrides(
        old, ["training.lr=5e-5", "discriminators.0.layers=2", "data.size=[128, 256]"]
    )
    assert differences(old, new) == {
        "data.size": ([256, 256], [128, 256]),
        "discriminators.0.layers": (3, 2),
        "training.lr": (2e-4, 5e-5),
    }


def test_another_network_brings_its_own_defaults() -> None:
    config = with_overrides(preset("pix2pix"), ["generator.name=resnet", "generator.blocks=6"])
    assert config.generator.model_dump() == {
        "name": "resnet",
        "width": 64,
        "blocks": 6,
        "norm": "instance",
        "bias": None,
        "dropout": 0.0,
        "dropout_kind": "element",
        "padding": "reflect",
        "block_padding": None,
        "init": "normal",
        "init_gain": 0.02,
    }


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("traning.lr=1", ["'traning.lr'", "did you mean training.lr?"]),
        ("lr=1", ["'lr'", "did you mean training.lr?"]),
        ("training.lr", ["key=value"]),
        ("training.batch_size=0", ["training.batch_size=0", "greater than or equal to 1"]),
        ("data.size=100", ["[100, 100]", "128", "data.size=128"]),
        ("discriminators.1.width=3", ["no number 1", "1 entries"]),
        ("generator.name=unte", ["generator.name", "'unte'", "did you mean 'unet'?"]),
        ("discriminators=[{field: 70}]", ["discriminators.0"]),
        ("generator.blocks=3", ["generator.blocks", "no setting of 'unet'"]),
        ("discriminators.0.layers=7", ["discriminators.0", "data.size"]),
        ("training.precision=fp16", ["'fp16'", "32-true"]),
        ("data.load_size=64", ["smaller than data.size", "data.mode=resize"]),
        ("validation.best=fid", ["fid", "validation.metrics"]),
        ("data.size=[", ["YAML"]),
    ],
)
def test_a_wrong_override_is_answered_with_the_cure(override: str, words: list[str]) -> None:
    config = resolved(preset("pix2pix-small"))
    with pytest.raises(ConfigError) as caught:
        with_overrides(config, [override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to learn from"):
        with_overrides(preset("pix2pix"), ["discriminators=[]", "objective.l1=0"])


def test_an_unknown_key_in_a_file_names_file_and_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(preset("pix2pix")).replace("batch_size", "batchsize"))
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert "training.batch_size" in str(caught.value)


def test_names_of_keys_in_files_of_format_1_are_read(tmp_path: Path) -> None:
    settings = preset("pix2pixhd").model_dump(mode="json")
    del settings["format"]
    del settings["generator"]["activation_checkpointing"], settings["training"]["cuda_graph"]
    settings["generator"]["checkpointing"] = settings["training"]["capture"] = True
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    config = read_config(path)
    assert config.generator.keywords["activation_checkpointing"] is True
    assert config.training.cuda_graph is True


@pytest.mark.parametrize("number", [0, 99, "two", None, True])
def test_formats_that_are_not_known_are_refused(number: object, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"preset": "pix2pix", "format": number}))
    with pytest.raises(ConfigError, match="format"):
        read_config(path)


def test_a_configuration_file_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    marker = tmp_path / "ran"
    path.write_text(f"preset: !!python/object/apply:os.system ['touch {marker}']\n")
    with pytest.raises(ConfigError, match="YAML"):
        read_config(path)
    assert not marker.exists()


def test_every_key_is_documented() -> None:
    undocumented = [known.key for known in documented_keys() if not known.meaning]
    assert undocumented == []
    assert {"training.lr", "discriminators.N.width", "generator.blocks"} <= {
        known.key for known in documented_keys()
    }


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="pix2pix-small"):
        preset("pix2pix-smal")


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config(preset="x").seed = 1  # type: ignore[misc]


def test_a_first_map_of_one_pixel_is_refused_and_the_cures_work() -> None:
    """A spatially-adaptive generator normalises its first map, of one pixel for each 32."""
    by_picture = {"data.size": [32, 32], "data.load_size": None, "training.batch_size": 1}
    by_picture["generator.norm"] = "instance"
    by_batch = {**by_picture, "generator.norm": "batch"}
    spade = preset("spade-small")
    for small in (by_picture, by_batch, {**by_picture, "training.batch_size": 2}):
        with pytest.raises(ConfigError, match=r"set data\.size=64"):
            replace(spade, small)
        for size in ([64, 64], [32, 64]):
            replace(spade, {**small, "data.size": size})
    replace(spade, {**by_batch, "training.batch_size": 2})
