"""What a training says of its held-out pairs is what `limner evaluate` says of the checkpoint."""

from __future__ import annotations

from pathlib import Path

import painted
import pytest
from PIL import Image
from random_pairs import write_pairs
from tiny import small

from limner.api import train
from limner.data import images_in
from limner.errors import ConfigError
from limner.evaluation.evaluate import evaluate, measure_translations
from limner.evaluation.image_sets import listed, matched
from limner.evaluation.segmentation.label_files import own_labels
from limner.evaluation.segmentation.scoring import segmentation
from limner.files import read_events
from limner.inference import Translator, open_pairs

METRICS = ("l1", "psnr", "ssim")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve validation pairs, so that names and numbers sort apart: 10 before 2."""
    return write_pairs(tmp_path_factory.mktemp("data"), seed=3, train=4, val=12)


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
    measured = evaluate(run, data, split="val", metrics=METRICS).scores.values
    assert {name: told[name] for name in METRICS} == measured


def test_pictures_are_measured_in_the_order_of_their_files(data: Path, tmp_path: Path) -> None:
    config = small(f"data.root={str(data)!r}", "training.steps=1")
    run = tmp_path / "run"
    train(config, out=run, cache_folder=tmp_path / "cache")
    translator = Translator.load(run, backend="eager")
    pairs = open_pairs(translator.config, data, "val")
    scores = measure_translations(translator, pairs, metrics=["l1"])
    results = evaluate(run, data, split="val", metrics=["l1"])
    assert list(scores.names) == results.names == sorted(p.stem for p in images_in(data / "val"))
    assert scores.per_image == results.scores.per_image
    fewer = measure_translations(translator, pairs, metrics=["l1"], images=3)
    assert fewer.names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("metric", "images", "words"),
    [("ms-ssim", 4, "176"), ("fid-inf", 3, "at least 4 images"), ("coverage", 5, "6 images")],
)
def test_metrics_that_could_not_measure_are_refused_before_the_training(
    metric: str, images: int, words: str, data: Path, tmp_path: Path
) -> None:
    config = small(
        *(f"data.root={str(data)!r}", "training.steps=1", "validation.every=1"),
        *(f"validation.metrics=[l1, {metric}]", f"validation.images={images}"),
    )
    with pytest.raises(ConfigError, match=words) as caught:
        train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    assert metric in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("metrics", [["l1", "kid"], ["kid"]])
def test_sets_are_measured_in_the_order_in_which_a_folder_is_read(
    metrics: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KID draws its subsets by place; by name `a` comes before `a-b`, by file after it."""
    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for name in ("a", "a-b", "c"):
            Image.new("RGB", (80, 40)).save(tmp_path / "data" / split / f"{name}.png")
    run = tmp_path / "run"
    config = small(f"data.root={str(tmp_path / 'data')!r}", "training.steps=1")
    train(config, out=run, cache_folder=tmp_path / "cache")
    translator = Translator.load(run)
    evaluate(run, tmp_path / "data", split="val", metrics=["l1"])
    folder = run / "evaluation" / "val" / "images"
    read = [path.stem for path in listed(folder)]
    if "l1" in metrics:
        read = [a.stem for a, _ in matched(folder, folder)]
    seen: list[str] = []
    monkeypatch.setattr(
        "limner.evaluation.evaluate.measure", lambda *_, names, **__: seen.extend(names)
    )
    pairs = open_pairs(translator.config, tmp_path / "data", "val")
    measure_translations(translator, pairs, metrics=metrics)
    assert seen == read


@pytest.mark.parametrize("metrics", [("seg",), ("l1", "seg")])
def test_the_segmentation_score_of_a_validation_is_that_of_the_evaluation(
    metrics: tuple[str, ...], tmp_path: Path
) -> None:
    data, net = tmp_path / "data", painted.onnx_file(tmp_path / "net.onnx", outputs=12)
    for split in ("train", "val"):
        for n in range(3):
            ids = painted.blocks(n, height=32, width=32)
            name = f"0001TP_{n:06d}.png"
            painted.save(data / split / "photo" / name, painted.paint(ids))
            painted.save(data / split / "label" / name, ids)
    run = tmp_path / "run"
    asked = (
        *(f"data.root={str(data)!r}", "data.labels={}", "training.steps=1", "validation.every=1"),
        *(f"validation.metrics=[{', '.join(metrics)}]", "validation.best=class_iou"),
    )
    with pytest.raises(ConfigError, match=r"set validation\.segmenter"):
        train(small(*asked), out=run, cache_folder=tmp_path / "cache")
    config = small(*asked, f"validation.segmenter={str(net)!r}")
    state = train(config, out=run, cache_folder=tmp_path / "cache")
    told = [event for event in read_events(run) if event["event"] == "validation"][-1]
    task = segmentation(segmenter=net, labels=own_labels(config, data, "val"), class_map="camvid")
    measured = evaluate(run, data, split="val", metrics=metrics, segmentation=task)
    values = measured.scores.values
    assert {name: told[name] for name in values} == values
    assert {"pixel_accuracy", "class_iou"} < set(values)
    assert state.best == {"metric": "class_iou", "value": values["class_iou"], "step": 1}
