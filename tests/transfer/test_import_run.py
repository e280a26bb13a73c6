"""`limner import`: the run translates as the other project's network does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from limner.cli import main
from limner.config import read_config
from limner.errors import CheckpointError, ConfigError
from limner.files import read_events
from limner.inference import Translator
from limner.networks import initialise, make_discriminator, make_generator
from limner.run import newest
from limner.transfer import import_network, network_settings, to_project
from limner.transfer.import_run import import_as_run

ARCHITECTURES = {
    "unet": {"netG": "unet_64", "norm": "batch", "ngf": 4, "dropout": True},
    "instance": {"netG": "unet_32", "norm": "instance", "ngf": 4, "dropout": False},
    "none": {"netG": "unet_32", "norm": "none", "ngf": 4, "input_nc": 1},
    "resnet": {"netG": "resnet_6blocks", "norm": "instance", "ngf": 4, "dropout": False},
}


def written(path: Path, role: str, seed: int = 0, **architecture: object) -> Path:
    """Write a file as that project does, of random weights."""
    name, keywords = network_settings("junyanz", role, **architecture)
    maker = make_generator if role == "generator" else make_discriminator
    network = maker(name, **keywords)
    initialise(network, gain=0.2, generator=torch.Generator().manual_seed(seed))
    torch.save(to_project(network.state_dict(), role=role, **architecture), path)
    return path


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_run_translates_as_the_network_does(name: str, tmp_path: Path) -> None:
    architecture = ARCHITECTURES[name]
    file = written(tmp_path / "net_G.pth", "generator", **architecture)
    options = [f"dropout={str(architecture.get('dropout', True)).lower()}"]
    facts = import_as_run(file, project="junyanz", out=tmp_path / "run", options=options)
    translator = Translator.load(tmp_path / "run", backend="eager")
    channels = int(architecture.get("input_nc", 3))  # type: ignore[call-overload]
    source = torch.rand(1, channels, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    # That project tests in training mode, batch statistics and dropout on; so does the run.
    assert translator.config.inference.statistics == "batch"
    config = translator.config.inference.model_copy(
        update={"statistics": "running", "dropout": False}
    )
    translator.config = translator.config.model_copy(update={"inference": config})
    network = import_network(file, **architecture)
    with torch.no_grad():
        expected = network(source)
    assert torch.equal(translator(source), expected)
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())


def test_both_networks_come_along_and_train_on(tmp_path: Path) -> None:
    from lightning_fabric import Fabric

    from limner.training.checkpoint import load_checkpoint
    from limner.training.state import build_state

    generator = written(tmp_path / "G.pth", "generator", **ARCHITECTURES["unet"])
    judge = {"netD": "n_layers", "n_layers_D": 2, "norm": "batch", "ndf": 4, "input_nc": 6}
    discriminator = written(tmp_path / "D.pth", "discriminator", seed=5, **judge)
    run = tmp_path / "run"
    import_as_run(generator, project="junyanz", out=run, discriminator=discriminator)
    config = read_config(run / "config.yaml")
    state = build_state(config, Fabric(accelerator="cpu", devices=1))
    folder = newest(run)
    assert folder is not None
    load_checkpoint(state, folder)
    assert state.step == 0
    pair = torch.rand(1, 6, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = import_network(discriminator, role="discriminator", **judge)(pair)
    ours = state.discriminators[0].plain.eval()(pair)
    torch.testing.assert_close(ours[0][-1], expected[0][-1], rtol=1e-5, atol=1e-5)
    assert config.discriminators[0].conditional


def test_wrong_use_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "G.pth", "generator", **ARCHITECTURES["unet"])
    with pytest.raises(CheckpointError, match="pass ngf=4"):
        import_as_run(file, project="junyanz", out=tmp_path / "run", options=["ngf=8"])
    with pytest.raises(ConfigError, match="name=value"):
        import_as_run(file, project="junyanz", out=tmp_path / "run", options=["ngf"])
    with pytest.raises(CheckpointError, match="where a discriminator was expected"):
        import_as_run(file, project="junyanz", out=tmp_path / "run", discriminator=file)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    with pytest.raises(CheckpointError, match="not an empty folder"):
        import_as_run(file, project="junyanz", out=tmp_path / "full")
    assert not (tmp_path / "run").exists()
    words = ["import", str(file), "--from", "junianz", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "did you mean 'junyanz'" in capsys.readouterr().err
    words[3] = "junyanz"
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["network"] == "unet"


def test_a_run_knows_where_it_comes_from(tmp_path: Path) -> None:
    file = written(tmp_path / "net_G.pth", "generator", **ARCHITECTURES["instance"])
    run = tmp_path / "run"
    import_as_run(file, project="junyanz", out=run, direction="BtoA", options=["dropout=false"])
    assert read_config(run / "config.yaml").data.direction == "BtoA"
    (event,) = read_events(run)
    assert event["event"] == "import"
    assert (event["project"], event["direction"]) == ("junyanz", "BtoA")
    assert event["options"]["netG"] == "unet_32"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert event["files"] == {"generator": {"name": "net_G.pth", "sha256": digest}}


@pytest.mark.parametrize("said", [[], ["--direction", "AtoB"]])
def test_an_imported_run_is_trained_further(said: list[str], tmp_path: Path) -> None:
    file = written(tmp_path / "G.pth", "generator", **ARCHITECTURES["resnet"])
    run, data = tmp_path / "run", tmp_path / "data"
    for split in ("train", "val"):
        for side in ("source", "target"):
            for number in range(2):
                path = data / split / side / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.effect_noise((32, 32), 50 + number).convert("RGB").save(path)
    assert main(["import", str(file), "--from", "junyanz", "--out", str(run), *said]) == 0
    changes = {"data.size": "32", "training.epochs": "1"}
    words = ["train", str(data), "--out", str(run), "--resume", "--device", "cpu"]
    for key in ("data.size", "training.epochs"):
        words += ["--set", f"{key}={changes[key]}", "--allow", key]
    assert main(words) == 0
    events = [event["event"] for event in read_events(run)]
    assert events[0] == "import"
    assert "checkpoint" in events
