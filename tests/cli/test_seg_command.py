"""`limner compare` and `limner evaluate` with the metric seg."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import painted
import pytest

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
        (["--metrics", "seg", "--segmentation-size", "512"], "give HEIGHTxWIDTH"),
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


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """A data set in the layout and with the names of CamVid; white noise hides what is void."""
    data = tmp_path / "streets"
    for split, count in (("train", 2), ("test", 3)):
        for n in range(count):
            ids = painted.blocks(n, height=48, width=48)
            name = f"0001TP_{n:06d}.png"
            painted.save(data / split / "photo" / name, painted.paint(ids))
            ids[:8, :8] = 11
            painted.save(data / split / "label" / name, ids)
    return data


def trained(data: Path, run: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    words = ["train", str(data), "--out", str(run), "--preset", "pix2pix-small", *TINY]
    said(capsys, [*words, *(word for setting in more for word in ("--set", setting))])
    return str(run)


def test_two_runs_are_compared_by_the_labels_of_their_data_set(
    streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = str(painted.onnx_file(tmp_path / "net.onnx", outputs=12))
    runs = [
        trained(streets, tmp_path / name, capsys, "data.labels={}", f"seed={seed}")
        for seed, name in enumerate(("a", "b"))
    ]
    page = tmp_path / "both"
    words = ["evaluate", *runs, str(streets), "--metrics", "l1,seg", "--segmenter", net]
    found = json.loads(said(capsys, [*words, "--out", str(page), "--json"]))
    assert set(found["runs"]) == {"a", "b"}
    by_test = {test["metric"]: test for test in found["tests"]}
    assert set(by_test) == {"l1", "pixel_accuracy"}
    sides = [one["scores"] for one in found["runs"].values()]
    for scores in sides:
        seg = scores["details"]["seg"]
        assert seg["class_map"]["source"] == "camvid"
        assert seg["real"]["pixel_accuracy"] > 0.9
        # Void is left out, and the labels keep their own size.
        assert sum(seg["fake"]["pixels"]) == 3 * (48 * 48 - 64)
    apart = [np.mean(scores["per_image"]["pixel_accuracy"]) for scores in sides]
    assert by_test["pixel_accuracy"]["mean_difference"] == pytest.approx(apart[0] - apart[1])
    assert set(found["best"]) >= {"l1", "pixel_accuracy", "class_iou"}
    assert "class_iou" in (page / "comparison.html").read_text()
    # The same figures from the folder of label maps by name.
    labels = ["--labels", str(streets / "test" / "label"), "--class-map", "camvid", "--json"]
    other = json.loads(said(capsys, ["evaluate", runs[0], *words[3:], *labels]))
    assert other["scores"]["values"] == found["runs"]["a"]["scores"]["values"]


def test_what_the_data_set_does_not_tell_is_asked_for(
    streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = str(painted.onnx_file(tmp_path / "net.onnx"))
    run = trained(streets, tmp_path / "run", capsys, "data.channels=[1,3]")
    back = trained(streets, tmp_path / "back", capsys, "data.direction=BtoA", "data.channels=[3,1]")
    asked = ["--metrics", "seg", "--segmenter", net]
    words = ["evaluate", run, str(streets)]
    assert "say --segmenter FILE" in said(capsys, [*words, *asked[:2]], status=2)
    # Known as CamVid by its names and values, whose twelve classes this segmenter lacks.
    assert "the segmenter has 4" in said(capsys, [*words, *asked], status=2)
    assert "makes the label maps of" in said(capsys, ["evaluate", back, *words[2:], *asked], 2)
    (streets / "dataset.yaml").write_text("classes: [a, b, c]")
    unknown = said(capsys, [*words, *asked], status=2)
    assert "no data set that is known" in unknown
    assert "say --class-map" in unknown
    (streets / "test" / "label").rename(streets / "test" / "source")
    (streets / "test" / "photo").rename(streets / "test" / "target")
    assert "say --labels FOLDER" in said(capsys, [*words, *asked], status=2)
