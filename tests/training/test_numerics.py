"""Deterministic mode: chosen for the training alone, and the same figures on a CPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from test_resume import outcome
from tiny import small

import limner.training.loop
from limner.api import train
from limner.files import read_events
from limner.training.cuda import numerics
from limner.training.step import training_step


def chosen() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark


def test_kernels_are_chosen_within_and_restored_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = chosen()
    with numerics(deterministic=False):
        assert chosen() == (False, True)
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert chosen() == before
    within = []

    def fails() -> None:
        with numerics(deterministic=True):
            within.append((*chosen(), os.environ["CUBLAS_WORKSPACE_CONFIG"]))
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert within == [(True, False, ":4096:8")]
    assert chosen() == before


def test_what_cannot_be_repeated_is_refused() -> None:
    places, values = torch.tensor([0, 0]), torch.tensor([1.0, 2.0])
    with numerics(deterministic=True), pytest.raises(RuntimeError, match="deterministic"):
        torch.zeros(2).put_(places, values)  # which of the two is written last is not said


def test_a_deterministic_training_is_the_same_on_a_cpu(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (
        "training.epochs=1",
        "training.steps=3",
        "training.samples_every=null",
        "data.size=64",
        "data.load_size=66",
        "generator.depth=6",
        f"data.root={str(pairs)!r}",
    )
    seen = []

    def watched(*arguments, **keywords):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return training_step(*arguments, **keywords)

    monkeypatch.setattr(limner.training.loop, "training_step", watched)
    cache = tmp_path / "cache"
    asked = [f"training.{key}=true" for key in ("deterministic", "cuda_graph", "resident")]
    train(small(*settings), out=tmp_path / "plain", cache_folder=cache)
    train(small(*settings, *asked), out=tmp_path / "asked", cache_folder=cache)
    assert seen == [False] * 3 + [True] * 3
    (plain, figures), (strict, others) = outcome(tmp_path / "plain"), outcome(tmp_path / "asked")
    assert figures == others
    assert {key for key in plain if key.endswith(".safetensors")}
    for key, value in plain.items():
        if key.endswith(".safetensors"):
            assert value == strict[key], key
    notes = [event["text"] for event in read_events(tmp_path / "asked") if event["event"] == "note"]
    assert any("training.cuda_graph is left out: steps are recorded on CUDA" in n for n in notes)
    assert any("training.resident is left out: images stay on a CUDA device" in n for n in notes)
