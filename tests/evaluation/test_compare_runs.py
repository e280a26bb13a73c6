"""Runs compared: each measured as by itself, tested image by image, shown on one page."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_run import Page
from PIL import Image
from tiny_runs import draw_data, make_run

from limner.cli.options import print_comparison
from limner.errors import CheckpointError, ConfigError, DataError
from limner.evaluation.compare import compare_results, compare_runs, labels
from limner.evaluation.evaluate import evaluate
from limner.evaluation.metrics import Scores
from limner.evaluation.provenance import Evaluation
from limner.reporting.comparison_page import in_words, write_comparison

NAMES = [str(k) for k in range(30)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_data(tmp_path_factory.mktemp("data") / "pairs", test=6)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [make_run(root / name, f"seed={seed}") for seed, name in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def comparison(runs: list[Path], data: Path) -> dict[str, Any]:
    command = "limner evaluate one two data"
    return compare_runs(runs, data, metrics=["l1", "ssim"], command=command).to_json()


def results(names: list[str] = NAMES, **per_image: list[float]) -> Evaluation:
    values = {metric: float(np.mean(each)) for metric, each in per_image.items()}
    details = {metric: {"images": len(names)} for metric in values}
    return Evaluation(
        split="test",
        checkpoint="1",
        images=len(names),
        names=names,
        scores=Scores(values, per_image, details, tuple(names)),
        data="data",
        seed=0,
        command="",
        version="0",
    )


def contrast(**runs: Evaluation) -> dict[str, Any]:
    return asdict(compare_results(runs, seed=0))


def test_each_run_is_measured_as_by_itself(
    comparison: dict[str, Any], runs: list[Path], data: Path
) -> None:
    assert list(comparison["runs"]) == ["one", "two"]
    for run in runs:
        alone = evaluate(run, data, metrics=["l1", "ssim"])
        assert comparison["runs"][run.name]["scores"] == alone.scores.to_json()
    for test in comparison["tests"]:
        one, two = (comparison["runs"][k]["scores"]["values"] for k in ("one", "two"))
        metric = test["metric"]
        assert test["mean_difference"] == pytest.approx(one[metric] - two[metric], abs=1e-12)
    assert comparison["settings"] == {"seed": {"one": 0, "two": 1}}
    assert any("6 images" in note for note in comparison["notes"])


def test_an_evaluation_that_stands_serves_again(runs: list[Path], data: Path) -> None:
    evaluate(runs[0], data, metrics=["l1"], command="before")
    evaluate(runs[1], data, metrics=["l1"], seed=3, command="before")
    found = compare_runs(runs, data, metrics=["l1"], command="now")
    assert [one.command for one in found.runs.values()] == ["before", "now"]


def test_a_difference_is_found_in_the_right_direction() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=30)
    noise = rng.normal(size=30) * 0.01
    blur = results(l1=list(base), ssim=list(base), lpips=list(base))
    good = results(l1=list(base - 0.1 + noise), ssim=list(base + 0.1 + noise), lpips=list(base))
    found = contrast(blur=blur, good=good)
    tests = {test["metric"]: test for test in found["tests"]}
    assert tests["l1"]["better"] == tests["ssim"]["better"] == "good"
    assert tests["lpips"]["better"] is None
    assert tests["lpips"]["p"] == tests["lpips"]["p_holm"] == 1
    assert tests["l1"]["mean_difference"] == pytest.approx(0.1, abs=0.01)
    assert tests["l1"]["interval"][0] < 0.1 < tests["l1"]["interval"][1]
    assert (tests["l1"]["a_better"], tests["l1"]["b_better"]) == (0, 30)
    assert (tests["ssim"]["a_better"], tests["ssim"]["b_better"]) == (0, 30)
    assert found["best"]["ssim"] == {"run": "good", "clear": True}
    assert found["best"]["lpips"]["clear"] is False


def test_the_segmentation_score_is_tested_where_it_has_a_value_an_image() -> None:
    base = np.random.default_rng(2).uniform(0.4, 0.6, size=30)
    worse, better = results(pixel_accuracy=list(base)), results(pixel_accuracy=list(base + 0.2))
    found = contrast(worse=worse, better=better)
    (test,) = found["tests"]
    assert (test["metric"], test["better"]) == ("pixel_accuracy", "better")
    assert found["best"]["pixel_accuracy"] == {"run": "better", "clear": True}


def test_p_values_are_corrected_for_all_metrics_and_pairs_of_runs() -> None:
    base = np.random.default_rng(1).normal(size=30)
    shifts = {"a": 0.0, "b": 1.0, "c": 2.0}
    found = contrast(
        **{k: results(l1=list(base + s), ssim=list(base + s)) for k, s in shifts.items()}
    )
    assert len(found["tests"]) == 6
    smallest = min(test["p"] for test in found["tests"])
    assert all(test["p_holm"] == pytest.approx(6 * smallest) for test in found["tests"])


def test_metrics_without_a_value_an_image_are_not_tested() -> None:
    one, two = results(l1=[0.1] * 30), results(l1=[0.2] * 30)
    for result, value in ((one, 50.0), (two, 90.0)):
        result.scores.values["fid"] = value
    found = contrast(one=one, two=two)
    assert {test["metric"] for test in found["tests"]} == {"l1"}
    assert found["best"]["fid"] == {"run": "one", "clear": False}


def test_the_images_that_differ_most_come_first() -> None:
    one = results(l1=[0.5] * 30)
    two = results(l1=[0.5 + 0.01 * ((7 * k) % 30) for k in range(30)])
    found = contrast(one=one, two=two)["differ"]["l1"]
    spread = [abs(image["values"]["one"] - image["values"]["two"]) for image in found]
    assert spread == sorted(spread, reverse=True)
    assert found[0]["name"] == "17"  # 7 * 17 = 119 = 29 mod 30
    assert len(found) == 12


def test_different_images_are_not_compared() -> None:
    one, two = results(l1=[0.5] * 30), results(["x"] * 30, l1=[0.5] * 30)
    with pytest.raises(DataError, match="one and two were measured on different images"):
        contrast(one=one, two=two)


def test_runs_are_called_by_their_folders_and_by_paths_where_those_clash(tmp_path: Path) -> None:
    assert list(labels([tmp_path / "a", tmp_path / "b"])) == ["a", "b"]
    same = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    assert list(labels(same)) == [str(path) for path in same]
    with pytest.raises(ConfigError, match="given twice"):
        labels([tmp_path / "a", tmp_path / "b" / ".." / "a"])
    with pytest.raises(ConfigError, match="at least two"):
        labels([tmp_path])


def test_what_cannot_be_compared_is_said_before_anything_is_measured(
    runs: list[Path], data: Path, tmp_path: Path
) -> None:
    good = make_run(tmp_path / "good")
    other = make_run(tmp_path / "other", "data.direction=AtoB")
    with pytest.raises(ConfigError, match=r"opposite directions \(good BtoA, other AtoB\)"):
        compare_runs([good, other], data, metrics=["l1"])
    with pytest.raises(CheckpointError, match="nowhere"):
        compare_runs([good, tmp_path / "nowhere"], data, metrics=["l1"])
    assert not (good / "evaluation").exists()


def test_runs_of_other_sizes_are_compared_with_a_note(
    runs: list[Path], data: Path, tmp_path: Path
) -> None:
    larger = make_run(tmp_path / "larger", "data.size=40")
    found = compare_runs([runs[0], larger], data, metrics=["l1"]).to_json()
    assert any("one: size [32, 32]; larger: size [40, 40]" in note for note in found["notes"])


@pytest.fixture(scope="module")
def page(comparison: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("out") / "new"
    found = write_comparison(out, comparison)
    assert json.loads((out / "comparison.json").read_text()) == json.loads(json.dumps(comparison))
    return Page(found)


def test_the_page_shows_every_score_and_test(page: Page, comparison: dict[str, Any]) -> None:
    for metric in ("l1", "ssim"):
        values = [one["scores"]["values"][metric] for one in comparison["runs"].values()]
        row = page.row(metric)
        assert [cell[:6] for cell in row[1:3]] == [f"{value:.4f}"[:6] for value in values]
    assert page.rows[0][:3] == ["metric", "one", "two"]
    for test in comparison["tests"]:
        words = in_words(test)
        assert [words["metric"], words["pair"], words["mean"]] in [row[:3] for row in page.rows]
    for words in ("permutation test", "Holm", "bootstrap", "20,000", "limner evaluate one two"):
        assert words in page.text
    for one in comparison["runs"].values():
        assert one["provenance"]["generator"]["sha256"] in page.text


def test_intervals_stand_beneath_their_figures(
    comparison: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told_so = json.loads(json.dumps(comparison))
    for k, one in enumerate(told_so["runs"].values()):
        method = {"interval_method": "told by the runs"}
        one["scores"]["values"]["l1"] = 0.25
        one["scores"]["details"]["l1"] |= {"interval": [0.1 + k, 0.3 + k]} | method
    page = Page(write_comparison(tmp_path, told_so))
    assert page.row("l1")[1:3] == ["0.25000.1000 to 0.3000", "0.25001.1000 to 1.3000"]
    # Each method once, those of the other metrics too.
    assert (
        "its 95 % interval (told by the runs; bootstrap over images, 1000 resamples)" in page.text
    )
    print_comparison(told_so)
    assert "0.2500 (0.1000 to 0.3000)  0.2500 (1.1000 to 1.3000)" in capsys.readouterr().out


def test_the_page_needs_nothing_from_outside(page: Page) -> None:
    assert all(address.startswith("data:image/") for address in page.addresses)
    text = re.sub(r"base64,[\w+/=]+", "", page.source)
    for word in ("http:", "https:", "//", "@import", "url(", "fetch(", "import("):
        assert word not in text, word
    assert not page.tags & {"link", "iframe", "object", "base"}
    assert len(page.ids) == len(set(page.ids))
    assert re.findall(r"<img(?![^>]*\balt=)[^>]*>", page.source) == []


def test_every_picture_can_be_swiped(page: Page, runs: list[Path]) -> None:
    found = re.search(r'id="swipe-data">(.*?)</script>', page.source)
    assert found is not None
    data = json.loads(found[1])
    assert data["layers"] == ["source", "one", "two", "target"]
    assert [picture["name"] for picture in data["pictures"]] != []
    assert {picture["name"] for picture in data["pictures"]} == set("012345")
    assert [order["title"] for order in data["orders"]] == [
        "name", "difference in l1", "difference in ssim"
    ]  # fmt: skip
    for order in data["orders"]:
        assert sorted(order["order"]) == list(range(6))
    assert [data["pictures"][k]["name"] for k in data["orders"][0]["order"]] == list("012345")
    folders = [runs[0] / "evaluation/test/source", *(r / "evaluation/test/images" for r in runs)]
    for picture in data["pictures"]:
        for uri, folder in zip(picture["pictures"], folders, strict=False):
            with Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as shown:
                pixels = np.array(shown.convert("RGB")).astype(int)
            with Image.open(folder / f"{picture['name']}.png") as written:
                expected = np.array(written.convert("RGB")).astype(int)
            assert abs(pixels - expected).mean() < 6


def test_names_are_escaped_on_the_page(comparison: dict[str, Any], tmp_path: Path) -> None:
    evil = "<script>alert('x')</script> & \"q\""
    one, two = comparison["runs"].values()
    renamed = comparison | {
        "runs": {evil: one, "two": two},
        "folders": {evil: comparison["folders"]["one"], "two": comparison["folders"]["two"]},
        "best": {"l1": {"run": evil, "clear": True}},
        "tests": [comparison["tests"][0] | {"a": evil, "b": "two"}],
        "differ": {
            "l1": [{"name": "0", "values": {evil: 0.1, "two": 0.2}}],
        },
        "settings": {"seed": {evil: evil, "two": 0}},
        "notes": [evil],
        "command": evil,
        "data": evil,
        "split": "test",
    }
    page = Page(write_comparison(tmp_path, renamed))
    assert page.source.count("<script") == 2  # the pictures and what moves them
    assert "q" not in page.tags
    assert page.text.count(evil) >= 6
    found = re.search(r'id="swipe-data">(.*?)</script>', page.source)
    assert found is not None
    assert json.loads(found[1])["layers"][1] == evil


def test_tests_are_told_with_the_digits_that_mean_something() -> None:
    test = {
        "metric": "l1", "a": "one", "b": "two", "mean_difference": -0.12258, "better": "one",
        "interval": [-0.132817, -0.112404], "a_better": 104, "b_better": 2, "p_holm": 0.00015,
    }  # fmt: skip
    words = in_words(test)
    assert words["mean"] == "-0.1226"
    assert words["interval"] == "-0.1328 to -0.1124"
    assert words["wins"] == "104 : 2"
    assert words["p"] == "< 0.001"
    assert words["verdict"] == "one is better"
    assert in_words(test | {"p_holm": 0.0314})["p"] == "0.031"
    assert in_words(test | {"better": None})["verdict"] == "no difference shown"
    assert in_words(test | {"interval": [0.0, 0.0], "mean_difference": 0.0})["mean"] == "+0.000"
