"""What a training says of its held-out pairs is what `limner evaluate` says of the checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import small

from limner.data import images_in
from limner.evaluation.evaluate import evaluate
from limner.evaluation.translating import measure_translations
from limner.files import read_events
from limner.inference import Translator, open_pairs
from limner.training import train

METRICS = ("l1", "psnr", "ssim")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve validation pairs, so that names and numbers sort apart: 10 before 2."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(3)
    for split, count in (("train", 4), ("val", 12)):
        (root / split).mkdir()
        for index in range(count):
            pixels = rng.integers(0, 256, (5, 10, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            Image.fromarray(pixels).save(root / split / f"{index}.png")
    return root


@pytest.mark.parametrize("dropout", ["false", "true"])
@pytest.mark.parametrize("ema", ["null", "0.5"])
def test_the_last_validation_equals_the_evaluation(
    data: Path, tmp_path: Path, dropout: str, ema: str
) -> None:
    config = small(
        f"data.root={str(data)!r}",
        *("data.size=64", "data.load_size=66", "generator.depth=6"),  # the least with dropout
        *("training.steps=2", f"training.ema={ema}", f"inference.dropout={dropout}"),
        *("validation.every=1", f"validation.metrics=[{', '.join(METRICS)}]"),
    )
    run = tmp_path / "run"
    train(config, out=run, cache_folder=tmp_path / "cache")
    told = [event for event in read_events(run) if event["event"] == "validation"][-1]
    measured = evaluate(run, data, split="val", metrics=METRICS)["scores"]["values"]
    assert {name: told[name] for name in METRICS} == measured


def test_pictures_are_measured_in_the_order_of_their_files(data: Path, tmp_path: Path) -> None:
    config = small(f"data.root={str(data)!r}", "training.steps=1")
    run = tmp_path / "run"
    train(config, out=run, cache_folder=tmp_path / "cache")
    translator = Translator.load(run)
    pairs = open_pairs(translator.config, data, "val")
    scores = measure_translations(translator, pairs, metrics=["l1"])
    results = evaluate(run, data, split="val", metrics=["l1"])
    assert list(scores.names) == results["names"] == sorted(p.stem for p in images_in(data / "val"))
    assert scores.per_image == results["scores"]["per_image"]
    fewer = measure_translations(translator, pairs, metrics=["l1"], images=3)
    assert fewer.names == ("0", "1", "2")
