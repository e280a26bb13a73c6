"""Samples: what they hold, that one draw rules both fields, that draws follow from their key."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.data import PairedDataset, find_pairs
from limner.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def twins(tmp_path_factory, noise) -> Path:
    """Pairs whose target is a copy of the source, and one more of its channels."""
    root = tmp_path_factory.mktemp("twins")
    for side in "AB":
        (root / f"train/{side}").mkdir(parents=True)
    for number in range(3):
        array = noise(40, 44, 4, seed=number)
        Image.fromarray(array[..., :3]).save(root / f"train/A/{number}.png")
        Image.fromarray(array).save(root / f"train/B/{number}.png")
    return root


def opened(root: Path, **given) -> PairedDataset:
    options = {
        "mode": "resize_crop",
        "size": (16, 16),
        "load_size": (20, 24),
        "flip": True,
        "channels": (3, 4),
        "convert": False,
        "interpolation": ("bicubic", "bicubic"),
        "cache": None,
        "seed": 0,
        "augment": True,
    }
    return PairedDataset(find_pairs(root, "train", direction=None), **(options | given))


@pytest.mark.parametrize("mode", ["resize_crop", "crop", "resize", "none"])
def test_both_fields_get_one_draw(twins, mode):
    dataset = opened(twins, mode=mode)
    seen = set()
    for epoch in range(200):
        sample = dataset[epoch, epoch % 3]
        assert sample["target"].shape[0] == 4
        assert torch.equal(sample["source"], sample["target"][:3])
        seen.add((epoch % 3, *sample["source"].flatten()[:6].tolist()))
    windows = {"resize_crop": 5 * 9, "crop": 25 * 29, "resize": 1, "none": 1}[mode]
    assert len(seen) <= 3 * 2 * windows
    assert len(seen) > (100 if windows > 1 else 5)


def test_a_sample_is_floats_name_and_index(twins):
    sample = opened(twins, mode="none", augment=False)[0, 2]
    pixels = np.asarray(Image.open(twins / "train/B/2.png")).transpose(2, 0, 1)
    assert sample["target"].dtype == torch.float32
    assert torch.equal(((sample["target"] + 1) * 127.5).round(), torch.tensor(pixels).float())
    assert (sample["name"], sample["index"]) == ("2", 2)
    assert len(opened(twins)) == 3
    with pytest.raises(IndexError):
        opened(twins)[3]


@settings(max_examples=20, deadline=None)
@given(epoch=st.integers(0, 2**31), index=st.integers(0, 2), seed=st.integers(0, 2**62))
def test_draws_follow_from_seed_epoch_and_index_alone(twins, epoch, index, seed):
    first, second = opened(twins, seed=seed), opened(twins, seed=seed)
    second[0]
    np.random.default_rng().random()
    torch.rand(1)
    assert torch.equal(first[epoch, index]["source"], second[epoch, index]["source"])


def test_seeds_epochs_and_indices_draw_differently(twins):
    def image(seed: int, epoch: int) -> tuple[float, ...]:
        dataset = opened(twins, mode="crop", seed=seed)
        return tuple(dataset[epoch, 0]["source"].flatten()[:8].tolist())

    assert len({image(seed, epoch) for seed in range(5) for epoch in range(5)}) > 20
    plain = opened(twins)
    assert torch.equal(plain[1]["source"], plain[0, 1]["source"])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("resize_crop", (16, 16)), ("resize", (16, 16)), ("crop", (16, 16)), ("none", (40, 44))],
)
def test_without_augmentation_nothing_is_drawn(twins, mode, expected):
    dataset = opened(twins, mode=mode, augment=False)
    samples = [dataset[epoch, 1]["target"] for epoch in range(5)]
    assert all(torch.equal(sample, samples[0]) for sample in samples)
    assert samples[0].shape == (4, *expected)
    pixels = np.asarray(Image.open(twins / "train/B/1.png"))
    if mode == "crop":
        pixels = pixels[12:28, 14:30]
    elif mode != "none":
        # The channels apart: Pillow weighs colours by alpha, we keep them as they are.
        bands = [Image.fromarray(band).resize((16, 16), 3) for band in pixels.transpose(2, 0, 1)]
        pixels = np.stack([np.asarray(band) for band in bands], axis=2)
    levels = ((samples[0] + 1) * 127.5).round().permute(1, 2, 0)
    assert (levels - torch.tensor(pixels).float()).abs().max() <= 2


def test_side_by_side_halves_and_directions(side_by_side, noise):
    root = side_by_side(1, height=20, width=12)
    array = torch.from_numpy(noise(20, 24).transpose(2, 0, 1).copy())
    options = {"mode": "none", "channels": (3, 3), "augment": False}
    for direction, source in (("AtoB", array[..., :12]), ("BtoA", array[..., 12:])):
        (root / "dataset.yaml").write_text(f"direction: {direction}")
        sample = opened(root, **options)[0]
        assert torch.equal(((sample["source"] + 1) * 127.5).round().to(torch.uint8), source)
        assert sample["target"].shape == (3, 20, 12)


def test_each_field_has_its_own_interpolation(twins):
    dataset = opened(twins, mode="resize", interpolation=("nearest", "bicubic"), augment=False)
    sample = dataset[0]
    levels = set(np.asarray(Image.open(twins / "train/A/0.png")).flatten().tolist())
    assert not torch.equal(sample["source"], sample["target"][:3])
    assert set(((sample["source"] + 1) * 127.5).round().flatten().tolist()) <= levels


def test_channels_are_converted_when_asked_and_else_refused(twins):
    with pytest.raises(DataError, match=r"train/B/0\.png has 4 channels where data\.channels"):
        opened(twins, channels=(3, 3))[0]
    sample = opened(twins, channels=(1, 3), convert=True)[0]
    assert (sample["source"].shape[0], sample["target"].shape[0]) == (1, 3)


def test_what_the_checks_would_have_found_is_named_here_too(tmp_path):
    (tmp_path / "train").mkdir()
    Image.new("RGB", (31, 9)).save(tmp_path / "train/1.png")
    with pytest.raises(DataError, match=r"train/1\.png is 31x9: side-by-side pairs need an even"):
        opened(tmp_path, channels=(3, 3))[0]
    Image.new("RGB", (32, 9)).save(tmp_path / "train/1.png")
    with pytest.raises(DataError, match=r"train/1\.png: an image of 16x9 has no room for a crop"):
        opened(tmp_path, channels=(3, 3), mode="crop")[0]
    for side, size in (("A", (8, 9)), ("B", (9, 8))):
        (tmp_path / f"trees/train/{side}").mkdir(parents=True)
        Image.new("RGB", size).save(tmp_path / f"trees/train/{side}/1.png")
    with pytest.raises(DataError, match=r"A/1\.png is 8x9 and its target .*B/1\.png is 9x8"):
        opened(tmp_path / "trees", channels=(3, 3), mode="none")[0]


def test_settings_that_clash_are_refused(twins):
    with pytest.raises(ConfigError, match="seed is -1: it must be zero or more"):
        opened(twins, seed=-1)
    with pytest.raises(ConfigError, match="unknown interpolation 'auto'"):
        opened(twins, interpolation=("auto", "bicubic"))
    with pytest.raises(ConfigError, match=r"data\.load_size 20x24 is smaller than data\.size"):
        opened(twins, size=(21, 16))


def test_a_data_set_can_be_sent_to_another_process(twins):
    dataset = opened(twins)
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[4, 1]["target"], dataset[4, 1]["target"])
