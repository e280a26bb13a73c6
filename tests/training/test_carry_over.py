"""A training that starts from another run: what fits is loaded, classes follow their names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from random_pairs import write_pairs
from tiny import SMALL

from limner.api import train
from limner.config import Config, parse_overrides, read_config, replace
from limner.errors import CheckpointError, ConfigError
from limner.files import read_events
from limner.presets import preset
from limner.run import checkpoint_folder, read_weights
from limner.training.carry_over import settings_from


def settings(data: Path, *changes: str, name: str = "pix2pix-small") -> Config:
    few = ("training.steps=1", "training.samples_every=null", "validation.every=null")
    plain = parse_overrides([*SMALL, *few, *changes])
    return replace(preset(name), {**plain, "data.root": str(data)})


def weights(run: Path, network: str = "generator") -> dict[str, torch.Tensor]:
    return read_weights(checkpoint_folder(run) / f"{network}.safetensors")[0]


def transferred(run: Path) -> dict:
    (event,) = [event for event in read_events(run) if event["event"] == "transfer"]
    return event


def still(config: Config) -> Config:
    """The same training with rates so small that weights stay as they were lent."""
    return replace(config, {"training.lr": 1e-12, "training.discriminator_lr": 1e-12})


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on pictures, with a running average."""
    folder = tmp_path_factory.mktemp("first")
    data = write_pairs(folder / "data", train=3)
    train(settings(data), out=folder / "run", cache_folder=folder / "cache")
    return folder / "run"


def test_a_new_training_begins_with_all_that_the_run_learnt(first: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", seed=1, train=3)
    config = replace(settings_from(first), {"data.root": str(data), "training.steps": 1})
    train(still(config), out=tmp_path / "run", cache_folder=tmp_path / "cache")
    event = transferred(tmp_path / "run")
    assert event["initialised"] == []
    assert event["remapped"] == {}
    before, after = weights(first, "generator_ema"), weights(tmp_path / "run")
    assert event["loaded"] == len(before) + len(weights(first, "discriminator_0"))
    for name, value in before.items():
        if "running" not in name and "num_batches" not in name:  # a step moves these
            torch.testing.assert_close(after[name], value, rtol=0, atol=1e-9)
    assert read_config(tmp_path / "run" / "config.yaml").training.start_from == str(first)


def test_channels_of_a_picture_are_carried_over_by_number(first: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", seed=1, train=3)
    changes = {"data.root": str(data), "data.channels": [1, 3], "data.convert": True}
    config = replace(settings_from(first), {**changes, "training.steps": 1})
    train(still(config), out=tmp_path / "run", cache_folder=tmp_path / "cache")
    event = transferred(tmp_path / "run")
    names = [name for name in event["remapped"] if name.startswith("generator.")]
    assert len(names) == 1
    key = names[0].removeprefix("generator.")
    before, after = weights(first, "generator_ema")[key], weights(tmp_path / "run")[key]
    assert after.shape[1] == 1
    torch.testing.assert_close(after[:, 0], before[:, 0], rtol=0, atol=1e-9)
    # The discriminator sees the source's channels first, then the target's, which follow.
    (key,) = [n.removeprefix("discriminator_0.") for n in event["remapped"] if n not in names]
    before, after = (weights(run, "discriminator_0")[key] for run in (first, tmp_path / "run"))
    torch.testing.assert_close(after, before[:, [0, 3, 4, 5]], rtol=0, atol=1e-9)


def draw_labels(root: Path, classes: list[str], *, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for folder in ("train/label", "train/photo"):
        (root / folder).mkdir(parents=True)
    for index in range(3):
        ids = rng.integers(0, len(classes), (4, 4), dtype=np.uint8).repeat(9, 0).repeat(9, 1)
        ids.flat[: len(classes)] = range(len(classes))
        Image.fromarray(ids).save(root / "train" / "label" / f"{index}.png")
        photo = rng.integers(0, 256, (36, 36, 3), dtype=np.uint8)
        Image.fromarray(photo).save(root / "train" / "photo" / f"{index}.png")
    (root / "dataset.yaml").write_text(json.dumps({"classes": classes}))
    return root


def test_classes_are_carried_over_by_their_names(tmp_path: Path) -> None:
    old = draw_labels(tmp_path / "old", ["sky", "road", "tree"])
    new = draw_labels(tmp_path / "new", ["Tree", "sky", "river", "road"], seed=1)
    cache = tmp_path / "cache"
    train(settings(old, "data.labels={}"), out=tmp_path / "a", cache_folder=cache)
    config = replace(settings_from(tmp_path / "a"), {"data.root": str(new), "training.steps": 1})
    train(still(config), out=tmp_path / "b", cache_folder=cache)
    event = transferred(tmp_path / "b")
    (key,) = [n.removeprefix("generator.") for n in event["remapped"] if n.startswith("gen")]
    before, after = weights(tmp_path / "a", "generator_ema")[key], weights(tmp_path / "b")[key]
    torch.testing.assert_close(after[:, [1, 3, 0]], before, rtol=0, atol=1e-9)
    torch.testing.assert_close(after[:, 2], before.mean(1), rtol=0, atol=1e-7)
    assert event["initialised"] == []


def test_renumbered_classes_of_one_count_are_no_less_carried_over(tmp_path: Path) -> None:
    old = draw_labels(tmp_path / "old", ["sky", "road", "tree"])
    new = draw_labels(tmp_path / "new", ["tree", "sky", "road"], seed=1)
    cache = tmp_path / "cache"
    train(settings(old, "data.labels={}"), out=tmp_path / "a", cache_folder=cache)
    config = replace(settings_from(tmp_path / "a"), {"data.root": str(new), "training.steps": 1})
    train(still(config), out=tmp_path / "b", cache_folder=cache)
    (key,) = [
        name.removeprefix("generator.")
        for name in transferred(tmp_path / "b")["remapped"]
        if name.startswith("generator.")
    ]
    before, after = weights(tmp_path / "a", "generator_ema")[key], weights(tmp_path / "b")[key]
    torch.testing.assert_close(after[:, [1, 2, 0]], before, rtol=0, atol=1e-9)


def test_what_does_not_fit_is_named_and_begins_anew(first: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", train=3)
    wider = ("discriminators.0.width=6", f"training.start_from={first}")
    train(settings(data, *wider), out=tmp_path / "run", cache_folder=tmp_path / "cache")
    event = transferred(tmp_path / "run")
    assert event["initialised"]
    assert all(name.startswith("discriminator_0.") for name in event["initialised"])


def test_fresh_discriminators_learn_before_the_generator_moves(first: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", train=3)
    changes = (
        "training.steps=4",
        "training.discriminator_warmup=3",
        f"training.start_from={first}",
    )
    plain = settings(data)
    two = replace(plain, {"discriminators": [*plain.model_dump()["discriminators"]] * 2})
    config = replace(two, parse_overrides(changes))
    train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    event = transferred(tmp_path / "run")
    assert event["initialised"] == ["discriminator_1"]
    rates = [e["lr"] for e in read_events(tmp_path / "run") if e["event"] == "train"]
    assert rates[:3] == [0, 0, 0]
    assert rates[3] > 0


def test_the_warmup_is_a_tenth_of_a_short_training_and_only_where_it_is_needed(
    first: Path, tmp_path: Path
) -> None:
    data, cache = write_pairs(tmp_path / "data", train=3), tmp_path / "cache"
    alone = tmp_path / "alone"
    shutil.copytree(first, alone)
    (checkpoint_folder(alone) / "discriminator_0.safetensors").unlink()
    own = {"data.root": str(data), "training.epochs": 10, "training.checkpoint_every": 100}
    for lender, steps in ((alone, 3), (first, 0)):  # 30 steps in all
        config, out = (
            replace(settings_from(lender), {**own, "training.steps": None}),
            tmp_path / "o",
        )
        train(replace(config, {"training.steps": 4}), out=out, cache_folder=cache)
        assert read_config(out / "config.yaml").training.discriminator_warmup == 0  # a tenth of 4
        shutil.rmtree(out)
        train(config, out=out, cache_folder=cache)
        assert read_config(out / "config.yaml").training.discriminator_warmup == steps
        rates = [e["lr"] for e in read_events(out) if e["event"] == "train"]
        assert [rate > 0 for rate in rates] == [False] * steps + [True] * (30 - steps)
        train(  # a resume keeps it, though its own training is longer
            replace(config, {"training.epochs": 11}),
            out=out, resume=True, allow=("training.epochs",), cache_folder=cache,
        )  # fmt: skip
        assert read_config(out / "config.yaml").training.discriminator_warmup == steps
        shutil.rmtree(out)


def test_the_generator_stands_still_during_the_warmup(first: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", train=3)
    changes = ("training.steps=2", "training.discriminator_warmup=2", "training.ema=null")
    config = replace(settings(data), parse_overrides([*changes, f"training.start_from={first}"]))
    train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    before, after = weights(first, "generator_ema"), weights(tmp_path / "run")
    learnt = [n for n in before if "running" not in n and "num_batches" not in n]
    assert all(torch.equal(before[name], after[name]) for name in learnt)
    judged = [weights(run, "discriminator_0") for run in (first, tmp_path / "run")]
    assert any(not torch.equal(judged[0][name], judged[1][name]) for name in judged[0])


def test_a_run_that_cannot_serve_is_refused_before_anything_is_written(
    first: Path, tmp_path: Path
) -> None:
    data = write_pairs(tmp_path / "data", train=3)
    with pytest.raises(CheckpointError, match="gone"):
        train(settings(data, f"training.start_from={tmp_path / 'gone'}"), out=tmp_path / "run")
    other = ("generator.name=resnet", "generator.width=4", f"training.start_from={first}")
    with pytest.raises(CheckpointError, match="generator"):
        train(settings(data, *other), out=tmp_path / "run", cache_folder=tmp_path / "cache")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="discriminator_warmup"):
        settings(data, "discriminators=[]", "training.discriminator_warmup=5")
