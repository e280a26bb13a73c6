"""One draw moves all fields of a sample alike, ids stay ids, and what is off changes nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from limner.data import PairedDataset, label_maps, open_dataset
from limner.data.augmentation import AugmentSettings, Moves, draw_moves
from limner.data.data_settings import DataSettings

STILL: dict[str, Any] = {
    "angle": 0.0, "factor": 1.0, "mesh": torch.zeros(2, 4, 4), "turns": 0, "upside_down": False,
    "contrast": 1.0, "brightness": 0.0,
}  # fmt: skip
ALL: dict[str, Any] = {
    "quarter_turns": True, "vertical_flip": True, "rotation": 20.0, "scale": 0.2, "elastic": 3.0,
}  # fmt: skip


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Smooth pairs that are equal, and masks that are 255 where their grey is over 127."""
    y, x = np.mgrid[:40, :40]
    for number in range(3):
        grey = 127.5 + 127 * np.sin(x / 7 + number) * np.cos(y / 9)
        pixels = np.repeat(grey.astype(np.uint8)[..., None], 3, -1)
        save(tmp_path / "train" / "source" / f"{number}.png", pixels)
        save(tmp_path / "train" / "target" / f"{number}.png", pixels)
        save(tmp_path / "train" / "mask" / f"{number}.png", (grey > 127).astype(np.uint8) * 255)
    return tmp_path


def opened(root: Path, augment: bool = True, **settings: Any) -> PairedDataset:
    return open_dataset(
        root, mode="crop", size=(24, 24), flip=True, augment=augment,
        interpolation=("bicubic", "bicubic"), augmentation=AugmentSettings(**settings),
    )  # fmt: skip


def test_source_target_and_mask_move_together(root: Path) -> None:
    plain, moving = opened(root), opened(root, **ALL)
    different = 0
    for epoch in range(4):
        sample = moving[(epoch, 1)]
        assert sample["source"].shape == (3, 24, 24)
        assert torch.equal(sample["source"], sample["target"])
        inside = sample["mask"][0] > 0
        assert 0 < int(inside.sum()) < 24 * 24
        assert (sample["source"][0][inside] > -0.08).all()
        assert torch.equal(sample["source"], moving[(epoch, 1)]["source"])
        different += not torch.equal(sample["source"], plain[(epoch, 1)]["source"])
    assert different == 4


def test_what_is_off_or_not_training_changes_nothing(root: Path) -> None:
    plain = opened(root)
    for other in (opened(root), opened(root, rotation=0.0)):
        assert torch.equal(plain[(3, 1)]["source"], other[(3, 1)]["source"])
    still, augmented = opened(root, augment=False), opened(root, augment=False, **ALL)
    assert torch.equal(still[1]["source"], augmented[1]["source"])


def test_intensity_is_the_source_s_alone(root: Path) -> None:
    plain, jittered = opened(root), opened(root, intensity=0.3)
    a, b = plain[(2, 0)], jittered[(2, 0)]
    assert torch.equal(a["target"], b["target"])
    assert not torch.equal(a["source"], b["source"])
    assert float(b["source"].abs().max()) <= 1
    assert (np.corrcoef(a["source"].flatten(), b["source"].flatten())[0, 1]) > 0.9


def test_label_maps_stay_ids(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).choice([0, 3, 7], (8, 8)).astype(np.uint8).repeat(5, 0)
    ids = ids.repeat(5, 1)
    for kind, pixels in (("label", ids), ("photo", np.stack([ids * 20] * 3, -1))):
        save(tmp_path / "train" / kind / "0.png", pixels)
    maps = label_maps(
        classes=8, void=None, first=0, coding="ids", table=None, colours=None, instances=False
    )
    dataset = open_dataset(
        tmp_path, mode="crop", size=(24, 24), augment=True, labels=maps,
        interpolation=("nearest", "bicubic"), augmentation=AugmentSettings(**ALL),
    )  # fmt: skip
    seen = [dataset[(epoch, 0)] for epoch in range(6)]
    assert set(torch.cat([sample["source"].flatten() for sample in seen]).tolist()) == {0, 3, 7}
    for sample in seen:  # away from borders the photo shows the ids
        levels = (sample["target"][0] + 1) * 127.5 / 20
        assert ((levels - sample["source"]).abs() < 0.05).float().mean() > 0.6


def test_moves_are_what_they_say() -> None:
    y, x = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    field = torch.stack([x, y])
    window = (10, 10, 21, 21)
    still = Moves(**STILL)
    assert not still.displaced
    assert torch.allclose(still.sampled(field, window, ids=False), field[:, 10:31, 10:31])
    middle = field[:, 10:31, 10:31] - 20
    enlarged = Moves(**{**STILL, "factor": 2.0}).sampled(field, window, ids=False) - 20
    assert torch.allclose(enlarged, middle / 2, atol=1e-4)
    angle = math.radians(30)
    turned = Moves(**{**STILL, "angle": angle}).sampled(field, window, ids=False) - 20
    across = math.cos(angle) * middle[0] - math.sin(angle) * middle[1]
    assert torch.allclose(turned[0], across, atol=1e-4)
    shifted = Moves(**{**STILL, "mesh": torch.full((2, 4, 4), 1.5)})
    assert torch.allclose(
        shifted.sampled(field, window, ids=False), field[:, 10:31, 10:31] + 1.5, atol=1e-4
    )
    corner = shifted.sampled(torch.ones(1, 41, 41), (20, 20, 21, 21), ids=False, outside=False)
    assert corner[0, -1, -1] == 0
    assert corner[0, 0, 0] == 1
    for dtype in (torch.uint8, torch.uint16, torch.float32):
        image = torch.arange(6).reshape(1, 2, 3).to(dtype)
        once = Moves(**{**STILL, "turns": 1}).turned(image)
        assert once.float().tolist() == [[[2, 5], [1, 4], [0, 3]]]
        mirrored = Moves(**{**STILL, "upside_down": True}).turned(image)
        assert mirrored.float().tolist() == [[[3, 4, 5], [0, 1, 2]]]


def test_draws_stay_within_what_was_asked_for_and_apart() -> None:
    settings = AugmentSettings(rotation=10, scale=0.25, elastic=2, quarter_turns=True)
    drawn = [draw_moves(np.random.default_rng(seed), settings, size=(8, 16)) for seed in range(200)]
    assert all(abs(moves.angle) <= math.radians(10) for moves in drawn)
    assert all(0.8 <= moves.factor <= 1.25 for moves in drawn)
    assert all(float(moves.mesh.abs().max()) <= 2 for moves in drawn)
    assert {moves.turns for moves in drawn} == {0, 2}
    alone = [
        draw_moves(np.random.default_rng(seed), AugmentSettings(rotation=10), size=(8, 16))
        for seed in range(200)
    ]
    assert [moves.angle for moves in drawn] == [moves.angle for moves in alone]


def test_label_maps_have_no_intensity() -> None:
    with pytest.raises(ValueError, match="intensity"):
        DataSettings.model_validate({"labels": {}, "augment": {"intensity": 0.1}})
