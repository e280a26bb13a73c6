"""`limner import` of networks that take label maps: the run translates as the network does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.config import read_config
from limner.data import expand
from limner.errors import CheckpointError, ConfigError
from limner.inference import Translator
from limner.networks import initialise, make_discriminator, make_encoder, make_generator
from limner.transfer import import_network, network_settings, to_project
from limner.transfer.import_run import import_as_run

MAKERS = {
    "generator": make_generator,
    "discriminator": make_discriminator,
    "encoder": make_encoder,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "global with edges": ("pix2pixHD", {"ngf": 2, "n_blocks_global": 1, "label_nc": 4}),
    "local without": (
        "pix2pixHD",
        {"netG": "local", "ngf": 1, "n_downsample_global": 2, "n_blocks_global": 1, "label_nc": 4,
         "no_instance": True},
    ),
    "spade with both": (
        "SPADE",
        {"ngf": 1, "label_nc": 4, "contain_dontcare_label": True, "crop_size": 64,
         "aspect_ratio": 2.0},
    ),
    "spade without": ("SPADE", {"ngf": 1, "label_nc": 4, "no_instance": True, "crop_size": 64}),
}  # fmt: skip


def written(path: Path, project: str, role: str, options: dict[str, Any]) -> Path:
    name, keywords = network_settings(project, role, **options)
    network = MAKERS[role](name, **keywords)
    initialise(network, "xavier", gain=1.0, generator=torch.Generator().manual_seed(2))
    state = to_project(network.state_dict(), project=project, role=role, **options)
    torch.save(state, path)
    return path


def words(options: dict[str, Any]) -> list[str]:
    # What the file shows of itself is not said again.
    said = ("label_nc", "no_instance", "contain_dontcare_label", "crop_size", "aspect_ratio")
    return [f"{name}={value}".lower() for name, value in options.items() if name in said]


def maps(void: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 4, (1, 64, 128), generator=generator)
    if void:
        ids[0, :9] = 255
    return ids, torch.randint(0, 3, (1, 64, 128), generator=generator)


@pytest.mark.parametrize("case", CASES)
def test_the_run_translates_label_maps_as_the_network_does(case: str, tmp_path: Path) -> None:
    project, options = CASES[case]
    file = written(tmp_path / "net_G.pth", project, "generator", options)
    import_as_run(file, project=project, out=tmp_path / "run", options=words(options))
    config = read_config(tmp_path / "run" / "config.yaml")
    void = 255 if options.get("contain_dontcare_label") else None
    edges = not options.get("no_instance", False)
    assert config.data.labels is not None
    assert (config.data.labels.classes, config.data.labels.void, config.data.labels.edges) == (
        4, void, edges
    )  # fmt: skip
    ids, instance = maps(void is not None)
    expanded = expand(ids, instance if edges else None, classes=4, void=void, edges=edges)
    with torch.no_grad():
        expected = import_network(file, project, **options)(expanded)
    translator = Translator.load(tmp_path / "run", backend="eager")
    assert torch.equal(translator(ids, instance if edges else None), expected)


def test_the_discriminator_comes_along(tmp_path: Path) -> None:
    for project, options in (CASES["global with edges"], CASES["spade with both"]):
        out = tmp_path / project
        file = written(tmp_path / "net_G.pth", project, "generator", options)
        judged = {
            name: value
            for name, value in options.items()
            if name in ("label_nc", "contain_dontcare_label")
        }
        judge = written(tmp_path / "net_D.pth", project, "discriminator", {**judged, "ndf": 2})
        import_as_run(file, project=project, out=out, options=words(options), discriminator=judge)
        (section,) = read_config(out / "config.yaml").discriminators
        assert (section.name, section.width, section.conditional) == ("multiscale", 2, True)


def test_pictures_as_sources(tmp_path: Path) -> None:
    options = {"ngf": 2, "n_blocks_global": 1, "label_nc": 0, "no_instance": True}
    file = written(tmp_path / "net_G.pth", "pix2pixHD", "generator", options)
    import_as_run(file, project="pix2pixHD", out=tmp_path / "run", options=words(options))
    config = read_config(tmp_path / "run" / "config.yaml")
    assert config.data.labels is None
    assert config.data.channels == (3, 3)


def test_what_the_file_cannot_tell_is_asked_for(tmp_path: Path) -> None:
    project, options = CASES["spade with both"]
    file = written(tmp_path / "net_G.pth", project, "generator", options)
    with pytest.raises(ConfigError, match="6 channels could be any number of classes"):
        import_as_run(file, project=project, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="label_nc=0 with edges of instances is no source"):
        import_as_run(file, project=project, out=tmp_path / "run", options=["label_nc=0"])
    options = {"ngf": 2, "n_blocks_global": 1, "label_nc": 4, "instance_feat": True}
    file = written(tmp_path / "feat_G.pth", "pix2pixHD", "generator", options)
    with pytest.raises(ConfigError, match="needs them to translate"):
        import_as_run(
            file,
            project="pix2pixHD",
            out=tmp_path / "run",
            options=["label_nc=4", "instance_feat=true"],
        )
    encoder = written(tmp_path / "net_E.pth", "SPADE", "encoder", {"ngf": 1})
    with pytest.raises(CheckpointError, match="holds an encoder where a generator was expected"):
        import_as_run(encoder, project="SPADE", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
