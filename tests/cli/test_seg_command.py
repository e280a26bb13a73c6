"""`limner compare` and `limner evaluate` with the metric seg."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evaluation"))
import painted

from limner.cli import main

TINY = [
    *("--set", "data.size=32", "--set", "generator.width=4", "--set", "generator.depth=3"),
    *("--set", "discriminators.0.layers=1", "--set", "discriminators.0.width=4"),
    *("--set", "training.workers=0", "--set", "training.steps=1"),
]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The words of a comparison that works, less the metrics."""
    real, fake, labels = painted.folders(tmp_path)
    net = painted.onnx_file(tmp_path / "net.onnx")
    return ["compare", *map(str, (real, fake)), "--labels", str(labels), "--segmenter", str(net)]


def said(capsys: pytest.CaptureFixture[str], words: list[str], status: int = 0) -> str:
    capsys.readouterr()
    assert main(words) == status
    found = capsys.readouterr()
    return found.err if status else found.out


def test_compare_prints_the_figures_as_json_with_others(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(said(capsys, [*words, "--metrics", "l1,seg", "--void", "3", "--json"]))
    right = np.mean([(painted.blocks(n)[:16] == 0).mean() / 2 + 0.5 for n in range(3)])
    assert found["values"]["pixel_accuracy"] == pytest.approx(right)
    assert set(found["values"]) == {
        *("l1", "pixel_accuracy", "class_accuracy", "class_iou", "frequency_weighted_iou")
    }
    assert found["details"]["pixel_accuracy"]["real"] == 1
    assert found["details"]["seg"]["segmenter"]["kind"] == "ONNX"


def test_compare_prints_real_beside_generated(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = said(capsys, [*words, "--metrics", "seg", "--void", "3"])
    (row,) = [line for line in shown.splitlines() if line.startswith("class_iou  ") and "[" in line]
    assert row.split()[1] == "1.0000"
    assert float(row.split()[2]) < 1
    assert "segmented at: 48x32" in shown
    assert "spectrum slope" in shown


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--metrics", "l1"], "--labels serves the metric seg alone"),
        (["--metrics", "seg"], "s0.png holds"),
        (["--metrics", "seg", "--class-map", "camvit"], "did you mean 'camvid'"),
        (["--metrics", "seg", "--segmentation-size", "512"], "give HxW"),
        (["--metrics", "seg", "--protocol", "plan"], "did you mean 'plain'"),
        (["--metrics", "sge"], "unknown metric 'sge': did you mean 'seg'"),
    ],
)
def test_mistakes_are_one_sentence(
    more: list[str], sentence: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ids = painted.blocks(0)
    ids[0, 0] = 9
    painted.save(Path(words[4]) / "s0.png", ids)
    if more == ["--metrics", "sge"]:
        words = words[:3]
    found = said(capsys, [*words, *more], status=2)
    assert sentence in found
    assert found.count("limner: ") == 1


def test_seg_without_labels_says_what_it_needs(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--labels and --segmenter" in said(capsys, [*words[:3], "--metrics", "seg"], status=2)


def test_evaluate_scores_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels"
    for split, count in (("train", 2), ("test", 2)):
        for n in range(count):
            ids = painted.blocks(n, height=48, width=48)
            both = np.concatenate([painted.paint(ids), painted.paint(ids)], axis=1)
            painted.save(tmp_path / "data" / split / f"{n}.png", both)
            painted.save(labels / f"{n}.png", ids)
    net = painted.onnx_file(tmp_path / "net.onnx")
    run, data = str(tmp_path / "run"), str(tmp_path / "data")
    said(capsys, ["train", data, "--out", run, "--preset", "pix2pix-small", *TINY])
    extra = ["--labels", str(labels), "--segmenter", str(net), "--void", "3", "--json"]
    found = json.loads(said(capsys, ["evaluate", run, data, "--metrics", "l1,seg", *extra]))
    seg = found["scores"]["details"]["seg"]
    # 32 x 32 as generated, scored on the labels' 48 x 48.
    assert seg["fake"]["segmented_sizes"] == {"32x32": 2}
    assert seg["label_sizes"] == {"48x48": 2}
    assert seg["real"]["pixel_accuracy"] > 0.9
    assert found["scores"]["values"]["pixel_accuracy"] == seg["fake"]["pixel_accuracy"]
    assert "real photos" in (tmp_path / "run" / "report.html").read_text()
