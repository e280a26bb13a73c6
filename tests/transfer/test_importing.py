from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from junyanz_restated import draw_patch, draw_resnet, draw_unet
from safetensors.torch import save_file

from limner.errors import CheckpointError, ConfigError
from limner.networks import make_discriminator, make_generator
from limner.transfer import (
    from_project,
    import_network,
    network_settings,
    state_dict_of,
    to_project,
)
from limner.transfer.reading import read_state

UNET: dict[str, Any] = {"netG": "unet_32", "norm": "batch", "ngf": 2}


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    torch.save(draw_unet(5, width=2, norm="batch"), tmp_path / "latest_net_G.pth")
    return tmp_path / "latest_net_G.pth"


@pytest.mark.parametrize(
    ("role", "options", "name", "keywords"),
    [
        (
            "generator",
            {},
            "unet",
            {"in_channels": 3, "out_channels": 3, "width": 64, "depth": 8, "norm": "batch",
             "dropout": 0.5},
        ),
        (
            "generator",
            {"netG": "resnet_6blocks", "norm": "instance", "no_dropout": True, "output_nc": 1},
            "resnet",
            {"in_channels": 3, "out_channels": 1, "width": 64, "blocks": 6, "norm": "instance",
             "dropout": 0.0},
        ),
        (
            "discriminator",
            {"norm": "syncbatch"},
            "patch",
            {"in_channels": 6, "width": 64, "layers": 3, "norm": "batch"},
        ),
        (
            "discriminator",
            {"netD": "pixel", "norm": "none", "input_nc": 4},
            "pixel",
            {"in_channels": 4, "width": 64, "norm": "none", "bias": False},
        ),
    ],
)  # fmt: skip
def test_settings_build_the_network(
    role: str, options: dict[str, Any], name: str, keywords: dict[str, Any]
) -> None:
    assert network_settings("junyanz", role, **options) == (name, keywords)
    with torch.device("meta"):
        {"generator": make_generator, "discriminator": make_discriminator}[role](name, **keywords)


@pytest.mark.parametrize(
    ("role", "options", "message"),
    [
        ("generator", {"net_G": "unet_256"}, "'net_G': did you mean 'netG'?"),
        ("generator", {"ndf": 64}, "unknown option of junyanz's generator 'ndf'"),
        ("generator", {"netG": "unet256"}, "unknown netG 'unet256': did you mean 'unet_256'?"),
        ("generator", {"norm": "layer"}, "unknown norm 'layer'"),
        ("generator", {"ngf": 0}, "ngf is 0: give a whole number of at least 1"),
        ("generator", {"ngf": "64"}, "ngf is '64'"),
        ("generator", {"dropout": 0.5}, "dropout is 0.5: give true or false"),
        ("generator", {"dropout": True, "no_dropout": True}, "contradicts dropout=True"),
        ("discriminator", {"n_layers_D": 5}, "no effect with netD=basic: give netD=n_layers too"),
        ("discriminator", {"netD": "n_layer"}, "did you mean 'n_layers'?"),
        ("critic", {}, "unknown role 'critic'"),
    ],
)
def test_wrong_options_are_refused(role: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        network_settings("junyanz", role, **options)
    with pytest.raises(ConfigError):  # before the file is looked at
        import_network("nowhere.pth", role=role, **options)


def test_unknown_projects_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown project 'junyan': did you mean 'junyanz'"):
        network_settings("junyan", "generator")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ngf": 8}, "the file has ngf 2, you said 8: pass ngf=2"),
        ({"ngf": None}, "the file has ngf 2, the default is 64: pass ngf=2"),
        ({"norm": "instance"}, "the file has norm batch, you said instance: pass norm='batch'"),
        ({"netG": "unet_64"}, "the file has netG unet_32, you said unet_64: pass netG='unet_32'"),
        ({"input_nc": 1, "output_nc": 4}, "input_nc 3, you said 1; the file has output_nc 3"),
    ],
)
def test_the_option_that_differs_is_named(unet: Path, given: dict[str, Any], message: str) -> None:
    options = {name: value for name, value in (UNET | given).items() if value is not None}
    with pytest.raises(CheckpointError) as caught:
        import_network(unet, **options)
    assert str(caught.value).startswith(f"{unet} does not fit the options of junyanz's generator:")
    assert message in str(caught.value)


def test_a_resnets_dropout_is_named_since_it_moves_names() -> None:
    state = draw_resnet(6, width=2, norm="instance", dropout=True)
    options = {"netG": "resnet_6blocks", "norm": "instance", "ngf": 2}
    with pytest.raises(CheckpointError, match="the file has dropout True, you said False: pass"):
        from_project(state, dropout=False, **options)


def test_a_discriminators_layers_are_named() -> None:
    state = draw_patch(4, width=2, norm="batch")
    with pytest.raises(CheckpointError) as caught:
        from_project(state, role="discriminator", ndf=2)
    assert "pass netD='n_layers', n_layers_D=4" in str(caught.value)


def test_what_agrees_under_another_name_is_not_blamed() -> None:
    state = draw_patch(3, width=2, norm="batch")
    with pytest.raises(CheckpointError) as caught:
        from_project(
            state, role="discriminator", netD="n_layers", n_layers_D=3, norm="syncbatch", ndf=4
        )
    assert str(caught.value).endswith("the file has ndf 2, you said 4: pass ndf=2")


def test_the_wrong_role_is_named(unet: Path) -> None:
    with pytest.raises(CheckpointError, match="it holds a generator; import it with role="):
        import_network(unet, role="discriminator")


def test_what_is_missing_or_strange_is_listed() -> None:
    state = draw_unet(5, width=2, norm="batch")
    del state["model.model.1.model.2.running_var"]
    state["model.extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        from_project(state, **UNET)
    assert "no place for model.extra; it lacks downs.1.norm.running_var" in str(caught.value)
    with pytest.raises(CheckpointError, match="check which project and version wrote it"):
        from_project({"conv.weight": torch.zeros(1, 1, 4, 4)}, **UNET)


def test_old_files_are_read_as_their_project_reads_them() -> None:
    expected = from_project(draw_unet(5, width=2, norm="batch"), **UNET)
    state = draw_unet(5, width=2, norm="batch")
    old = {name: v for name, v in state.items() if not name.endswith("num_batches_tracked")}
    found = from_project(old, **UNET)
    assert found.keys() == expected.keys()
    assert all(found[n].item() == 0 for n in found if n.endswith("num_batches_tracked"))

    plain = draw_unet(5, width=2, norm="instance")
    statistics = {
        f"model.model.1.model.{place}.{leaf}": torch.ones(2)
        for place in (2, 6)
        for leaf in ("running_mean", "running_var", "num_batches_tracked")
    }
    options = UNET | {"norm": "instance"}
    assert (
        from_project(plain | statistics, **options).keys() == from_project(plain, **options).keys()
    )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_names_are_taken_off(prefix: str, tmp_path: Path) -> None:
    state = draw_unet(5, width=2, norm="batch")
    torch.save({f"{prefix}{name}": value for name, value in state.items()}, tmp_path / "G.pth")
    assert state_dict_of(tmp_path / "G.pth", **UNET).keys() == from_project(state, **UNET).keys()


def test_safetensors_and_half_precision_are_read(unet: Path, tmp_path: Path) -> None:
    state = {n: v.float() if v.is_floating_point() else v for n, v in read_state(unet).items()}
    torch.save(state, unet)
    save_file(state, tmp_path / "G.safetensors")
    image = torch.zeros(1, 3, 32, 32)
    expected = import_network(unet, **UNET)(image)
    assert torch.equal(import_network(tmp_path / "G.safetensors", **UNET)(image), expected)
    torch.save({n: v.half() if v.is_floating_point() else v for n, v in state.items()}, unet)
    network = import_network(unet, **UNET)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert torch.allclose(network(image), expected, atol=1e-2)


def test_an_imported_network_can_be_trained_on(unet: Path) -> None:
    network = import_network(unet, **UNET).train()
    network(torch.zeros(1, 3, 32, 32, dtype=torch.float64)).sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in network.parameters())


def test_a_state_of_another_build_does_not_go_back() -> None:
    state = from_project(draw_unet(5, width=2, norm="batch"), **UNET)
    with pytest.raises(CheckpointError, match="has no layer for downs"):
        to_project(state, netG="resnet_6blocks")
