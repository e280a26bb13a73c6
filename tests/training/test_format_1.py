"""Runs of format 1, before config.yaml and state.pt said theirs: they load, translate and go on.

tests/data_files/format_1 holds three, trained to step 4 of 8 by that version, with what it drew
from them and the weights that it reached at step 8. Kernels differ from processor to processor in
the last bits, so equal means within one level, and within a small part of what a step changes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

from limner.api import train
from limner.config import FORMAT, read_config, replace
from limner.inference import Translator, translate_file
from limner.inference.style import read_style
from limner.run import newest

KEPT = Path(__file__).parents[1] / "data_files" / "format_1"
RUNS = ("pix2pix", "spade-vae", "pix2pixhd")


@pytest.mark.parametrize("name", RUNS)
def test_settings_are_brought_to_the_present_format_and_keep_their_meaning(name: str) -> None:
    path = KEPT / name / "run" / "config.yaml"
    before = yaml.safe_load(path.read_text())
    assert "format" not in before
    config = read_config(path)
    assert config.format == FORMAT
    after = config.model_dump(mode="json")
    assert after["training"]["cuda_graph"] is before["training"]["capture"]
    if "checkpointing" in before["generator"]:
        kept = before["generator"]["checkpointing"]
        assert after["generator"]["activation_checkpointing"] is kept
    for section in ("objective", "training"):
        for key, value in before[section].items():
            if key != "capture":
                assert after[section][key] == value, (section, key)


def test_an_encoder_of_before_goes_on_with_its_averages() -> None:
    kept = read_config(KEPT / "pix2pixhd" / "run" / "config.yaml")
    assert kept.training.reset_encoder is False
    assert read_config(KEPT / "pix2pix" / "run" / "config.yaml").training.reset_encoder is True


@pytest.mark.parametrize("name", RUNS)
def test_pictures_are_the_same(name: str, tmp_path: Path) -> None:
    translator = Translator.load(KEPT / name / "run")
    style = None
    if name == "pix2pixhd":
        style = read_style(translator.config, KEPT / "labels" / "train_img" / "0.png")
    for path in sorted((KEPT / name / "pictures").iterdir()):
        labels = name != "pix2pix"
        source = KEPT / ("labels/test_label" if labels else "pairs/test") / path.name
        out = tmp_path / path.name
        translate_file(translator, source, out, side=None if labels else "right", style=style)
        now, then = (np.asarray(Image.open(file)).astype(int) for file in (out, path))
        assert np.abs(now - then).max() <= 1


@pytest.mark.parametrize("name", RUNS)
def test_training_goes_on_as_it_would_have(name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(KEPT / name / "run", run)
    data = KEPT / ("pairs" if name == "pix2pix" else "labels")
    config = replace(
        read_config(run / "config.yaml"), {"training.steps": 8, "data.root": str(data)}
    )
    train(
        config,
        out=run,
        resume=True,
        allow=("training.steps",),
        accelerator="cpu",
        cache_folder=tmp_path / "cache",
    )
    folder = newest(run)
    assert folder is not None
    assert folder.name == "00000008"
    now = load_file(folder / "generator.safetensors")
    then = load_file(KEPT / name / "generator_8.safetensors")
    before = load_file(KEPT / name / "run" / "checkpoints" / "00000004" / "generator.safetensors")
    assert now.keys() == then.keys()
    moved = sum(float((then[key] - before[key]).abs().sum()) for key in then)
    apart = sum(float((then[key] - now[key]).abs().sum()) for key in then)
    assert apart < 0.02 * moved
