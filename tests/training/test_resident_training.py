"""`training.resident`: whether images may stay on the device, and that a training is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import small

import limner.training.datasets as datasets
from limner.api import train
from limner.data import Residence
from limner.files import read_events
from limner.training.datasets import keep_resident, open_training_data

SETTINGS = (
    "training.epochs=2",
    "training.samples_every=null",
    "training.resident=true",
    "data.size=64",
    "data.load_size=66",
)


def test_images_stay_on_cuda_alone_and_without_workers(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 9000))
    root = f"data.root={str(pairs)!r}"
    cuda = torch.device("cuda")
    for workers, device, reason in (
        (0, torch.device("cpu"), "this is cpu"),
        (1, cuda, "training.workers=0"),
    ):
        config = small(*SETTINGS, root, f"training.workers={workers}")
        data = open_training_data(config, cache_folder=tmp_path)
        assert reason in (keep_resident(data, device) or "")
        assert data.train.residence is None
    data = open_training_data(small(*SETTINGS, root), cache_folder=tmp_path)
    assert keep_resident(data, cuda) is None
    assert data.train.residence == Residence(cuda, 1000)


def test_a_training_from_where_images_stay_is_the_same(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU stands in for the device."""
    root = f"data.root={str(pairs)!r}"
    plain = train(small(*SETTINGS, root), out=tmp_path / "plain", cache_folder=tmp_path / "cache")
    assert any("resident is left out" in e.get("text", "") for e in read_events(tmp_path / "plain"))
    home = Residence(torch.device("cpu"), 10**9)

    def stay(data: datasets.TrainingData, device: torch.device) -> None:
        data.train.residence = home

    monkeypatch.setattr("limner.api.keep_resident", stay)
    kept = train(small(*SETTINGS, root), out=tmp_path / "kept", cache_folder=tmp_path / "cache")
    assert home.held_bytes == 12 * 6 * 66 * 66
    for one, other in zip(
        plain.generator.plain.parameters(), kept.generator.plain.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    assert not any("left out" in e.get("text", "") for e in read_events(tmp_path / "kept"))
