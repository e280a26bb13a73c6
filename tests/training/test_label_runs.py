"""A run on label maps: derived settings written down, resumed exactly, measured in colours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from overriding import with_overrides
from PIL import Image
from safetensors.torch import load_file
from tiny import SMALL

from limner.api import train
from limner.config import Config, read_config
from limner.data import decode
from limner.errors import ConfigError, DataError
from limner.evaluation.evaluate import evaluate
from limner.presets import preset
from limner.training.datasets import open_training_data


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn pairs of 40 x 56 with four classes, void and instances, and one for test."""
    root = tmp_path_factory.mktemp("streets")
    for split, count in (("train", 6), ("test", 1)):
        for number in range(count):
            rng = np.random.default_rng(number)
            ids = np.array([0, 1, 2, 3, 255], dtype=np.uint8)[rng.integers(0, 5, (5, 7))]
            ids = ids.repeat(8, 0).repeat(8, 1)
            photo = np.stack([ids * 60, 255 - ids * 60, ids], axis=2).astype(np.uint8)
            kinds = {"label": ids, "img": photo, "inst": ids.astype(np.uint16) * 257}
            for kind, values in kinds.items():
                path = root / f"{split}_{kind}" / f"{number}.png"
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(values).save(path)
    return root


def config(root: Path, *overrides: str) -> Config:
    base = [*SMALL, f"data.root={str(root)!r}", "data.labels={}", "training.steps=4"]
    return with_overrides(preset("pix2pix-small"), [*base, *overrides])


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "00000004" / "generator.safetensors")


def test_a_run_on_label_maps_derives_resumes_and_is_measured(streets: Path, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    cache = tmp_path / "cache"
    train(config(streets), out=whole, cache_folder=cache)
    settled = read_config(whole / "config.yaml")
    assert settled.data.labels is not None
    assert settled.expansion == {"classes": 4, "void": 255, "edges": True}
    assert settled.source_channels == 6

    train(config(streets, "training.steps=2"), out=halves, cache_folder=cache)
    train(config(streets), out=halves, resume=True, allow=("training.steps",), cache_folder=cache)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(halves)[name])

    notes = json.loads((whole / "log.jsonl").read_text().splitlines()[0])["notes"]
    assert any("4 classes in the label maps, void 255" in note for note in notes)
    results = evaluate(whole, streets, split="test", metrics=("l1",))
    assert results.images == 1
    shown = decode(whole / "evaluation" / "test" / "source" / "0.png")
    assert shown.shape == (3, 32, 32)
    assert len(shown.flatten(1).unique(dim=1).T) == 5


def test_wrong_data_stops_before_a_run_exists(streets: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(DataError, match=r"0\.png holds the value 3 in \d+ pixels"):
        train(config(streets, "data.labels.classes=3"), out=out, cache_folder=tmp_path)
    with pytest.raises(DataError, match="is a colour image, and nothing says"):
        train(config(streets, "data.direction=BtoA"), out=out, cache_folder=tmp_path)
    assert not out.exists()


def test_settings_found_once_are_found_again(streets: Path, tmp_path: Path) -> None:
    first = open_training_data(config(streets), cache_folder=tmp_path)
    again = open_training_data(first.config, cache_folder=tmp_path)
    assert again.config == first.config
    with pytest.raises(ConfigError, match="classes is not known before"):
        _ = config(streets).source_channels
