"""The report: every figure it was given, nothing from outside, and whole for half a run."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from fake_run import CONFIG, SHOWN, START, Page, evaluate, log, picture, training
from PIL import Image

from limner.errors import CheckpointError
from limner.presets import preset
from limner.reporting import facts
from limner.reporting.run_page import write_report


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Page:
    run = tmp_path_factory.mktemp("runs") / "facades"
    run.mkdir()
    (run / "config.yaml").write_text(CONFIG, encoding="utf-8")
    steps = training(1200)
    events: list[dict[str, Any]] = [
        {"event": "start", "version": "0.1.0", "command": "limner train DATA --out RUN",
         "device": "cpu", "threads": 2, "data": "/data/facades", "pairs": 400,
         "parameters": {"generator": 13605123, "discriminators": [663617]}},
        {"event": "note", "text": "the data set has no val split"},
        *steps[:12],
        {"event": "interrupted", "step": 600, "signal": "SIGINT"},
        {"event": "resume", "step": 600, "time": START + 9000, "changed": {"data.root": [1, 2]}},
    ]  # fmt: skip
    late = [*steps[12:]]
    for step, value in ((800, 0.5), (1000, 0.41), (1200, 0.43)):
        late.append({"event": "validation", "step": step, "epoch": 1, "lpips": value, "images": 9})
        late.append({"event": "checkpoint", "step": step, "best": step == 1000})
        late.append({"event": "samples", "step": step, "file": f"samples/{step:08d}.jpg"})
        picture(run / f"samples/{step:08d}.jpg", (200, step // 5, 0))
    late.append({"event": "finished", "step": 1200, "seconds": 60})
    events += [{"time": START + 9001 + k, **event} for k, event in enumerate(late)]
    log(run, events, torn='{"event": "finished", "step": 99')
    evaluate(run)
    page = write_report(run)
    assert page == run / "report.html"
    return Page(page)


def test_every_score_stands_in_the_table_with_its_direction_and_images(full: Page) -> None:
    for name, shown in SHOWN.items():
        row = full.row(name)
        assert row[1].startswith(shown)
        assert row[2] == ("↑ higher" if name == "psnr" else "↓ lower")
        assert row[3] == ("106 / 100" if name == "fid" else "106")
    assert "biased upwards at n < 2048" in full.row("fid")[4]
    assert "dimensions 2048" in full.row("fid")[4]
    assert "alex.pth (SHA-256 7be5be79…)" in full.row("lpips")[4]
    assert "± 0.000410" in full.row("kid")[4]
    assert full.row("lpips")[1] == "0.41230.4010 to 0.4238"
    assert full.row("l1")[1] == SHOWN["l1"]
    assert "its 95 % interval (bootstrap over images)" in full.text
    assert "checkpoint 1,200" in full.text


def test_the_head_says_what_was_done(full: Page) -> None:
    words = " ".join(full.text.split())
    times = "\N{MULTIPLICATION SIGN}"
    for told in (
        "facades Finished at step 1,200.",
        "Preset pix2pix-small",
        "Data /data/facades400 pairs",
        f"Pictures 128 {times} 128resize_crop, BtoA",
        "Trained 1,200 steps6 of 30 epochs, batches of 2",
        "Started 2023-11-14 22:13:20 UTC",
        "Device cpu2 threads",
        "Seed 7",
        "Limner 0.1.0",
        "unet against patch13,605,123 and 663,617 parameters",
        f"lsgan GAN {times} 1 + L1 {times} 100",
    ):
        assert told.replace(" ", "") in words.replace(" ", ""), told
    # 14 s until the stop and 22 s after the resume; the hours between do not count.
    assert "Duration36s" in words.replace(" ", "")
    assert "generator: {name: unet}" in full.text


def test_events_are_told_in_words_and_the_torn_line_is_ignored(full: Page) -> None:
    told = [row[2].strip() for row in full.rows if len(row) == 3][1:]
    assert told == [
        "started", "the data set has no val split", "interrupted by SIGINT",
        "resumed with data.root was 1 and is 2", "finished",
    ]  # fmt: skip
    assert full.row("2023-11-14 22:13:34")[1] == "600"
    for command in ("limner train DATA --out RUN", "limner evaluate RUN DATA --split test"):
        assert command in full.text


def test_all_diagrams_are_there_and_name_their_last_values(full: Page) -> None:
    assert full.source.count("<svg") == 6  # two losses, accuracy, rate, pace, lpips
    words = " ".join(full.text.split())
    for told in (
        "g/l1 0.3",
        "d/fake 0.4",
        "Learning rate last 0.0002",
        "Seconds a step last 0.05",
        "lpips last 0.43 lower is better",
        "best checkpoint, step 1,000",
    ):
        assert told.replace(" ", "") in words.replace(" ", ""), told


def test_pictures_are_embedded_best_and_worst_in_order(full: Page) -> None:
    assert len(full.images) == 6  # sheet, best, worst; first, between and last of training
    for data in full.images:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    assert re.findall(r"The 3 (?:best|worst) by lpips", full.text) == [
        "The 3 best by lpips", "The 3 worst by lpips",
    ]  # fmt: skip
    with Image.open(io.BytesIO(full.images[1])) as sheet:
        levels = [pixel[0] for pixel in _column(sheet.convert("RGB"))]
    # images 1, 3 and 5 have the smallest distances and were painted with red 30, 90, 150
    assert _runs(levels, 30) < _runs(levels, 90) < _runs(levels, 150)


def _column(image: Image.Image) -> list[tuple[int, ...]]:
    return [image.getpixel((40, y)) for y in range(image.height)]  # pyright: ignore[reportReturnType]


def _runs(levels: list[int], wanted: int) -> int:
    found = [y for y, level in enumerate(levels) if abs(level - wanted) < 8]
    assert len(found) > 30
    return found[0]


def test_the_page_needs_nothing_from_outside(full: Page) -> None:
    assert all(address.startswith(("data:image/", "#")) for address in full.addresses)
    assert not full.tags & {"link", "iframe", "object", "base"}
    for word in ("http:", "https:", "//", "@import", "url("):
        text = re.sub(r"base64,[\w+/=]+|url\(#[\w-]+\)", "", full.source)
        assert "fetch(" not in text
        assert word not in text, word
    assert len(full.ids) == len(set(full.ids))
    used = set(re.findall(r"url\(#([\w-]+)\)", full.source)) | {
        address[1:] for address in full.addresses if address.startswith("#")
    }
    assert used <= set(full.ids)
    assert used


def test_pictures_can_be_swiped(full: Page) -> None:
    found = re.findall(
        r'<script type="application/json" id="(\S+)-data">(.*?)</script>', full.source
    )
    assert [name for name, _ in found] == ["swipe-0"]
    assert "swipe-0" in full.ids
    data = json.loads(found[0][1])
    assert data["layers"] == ["source", "output", "target"]
    assert [picture["name"] for picture in data["pictures"]] == [f"{k:04d}" for k in range(8)]
    for k, item in enumerate(data["pictures"]):
        for uri in item["pictures"]:
            with Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as image:
                assert image.size == (64, 48)
                assert abs(image.convert("RGB").getpixel((9, 9))[0] - 30 * k) < 6


def test_diagrams_take_the_ink_of_the_page(full: Page) -> None:
    assert "currentColor" in full.source
    assert "#010203" not in full.source
    assert "prefers-color-scheme: dark" in full.source
    assert "@media print" in full.source


def test_all_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script> & \"quotes\""
    run = tmp_path / 'a<b> & "c"'
    run.mkdir()
    (run / "config.yaml").write_text(f"preset: {json.dumps(evil)}\n", encoding="utf-8")
    log(
        run,
        [
            {"event": "start", "command": evil, "data": evil, "device": evil, "version": evil},
            {"event": evil, "step": 3},
            {"event": "train", "step": 50, "g/<q>": 1.0, "g/x": 1.0, "<s>/x": 2.0, "<s>/y": 2.0},
            {"event": "validation", "step": 50, "<u>": 1.0},
            {"event": "stopped", "step": 50, "reason": evil},
        ],
    )
    folder = evaluate(run)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    results |= {"split": evil, "checkpoint": evil, "command": evil, "names": [evil] * 8}
    results["scores"]["values"] = {evil: 1.5}
    results["scores"]["details"] = {evil: {"note": evil, "weights": evil, evil: evil}}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    page = Page(write_report(run))
    assert not page.tags & {"q", "s", "u"}
    assert page.source.count("<script") == 0
    assert page.text.count(evil) >= 10
    for name in ("g/<q>", "<s>", "<s>/x", "<u>", 'a<b> & "c"'):
        assert name in page.text


def test_a_run_without_anything_but_settings_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    page = Page(write_report(tmp_path))
    for told in ("Not started", "Not evaluated yet", "No sample sheet", "Nothing has been logged"):
        assert told in page.text
    assert f"limner evaluate {tmp_path} /data/facades --split test" in page.text
    assert "svg" not in page.tags


def test_a_log_without_settings_is_enough(tmp_path: Path) -> None:
    log(tmp_path, [{"event": "start"}, *training(50)])
    page = Page(write_report(tmp_path))
    assert "Not finished" in page.text
    assert page.source.count("<svg") == 5
    assert "full configuration" not in page.text


def test_figures_that_are_not_finite_are_gaps_and_said(tmp_path: Path) -> None:
    events = training(600)
    for event in events[6:]:
        event["d/fake"] = "nan"
    for event in events:
        event["g/l1"] = "inf"
    reason = "d/fake is nan at step 350"
    log(
        tmp_path, [{"event": "start"}, *events, {"event": "stopped", "step": 600, "reason": reason}]
    )
    page = Page(write_report(tmp_path))
    words = page.text.replace("\n", "").replace(" ", "")
    assert "g/l1notfinite" in words
    assert "d/fakenotfinite" in words
    assert "Stoppedatstep600:" + reason.replace(" ", "") in words


def test_damaged_results_and_pictures_do_not_stop_the_report(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    folder = evaluate(tmp_path)
    (folder / "sheet.jpg").write_bytes(b"\xff\xd8 torn")
    (folder / "images" / "0001.png").unlink()
    other = evaluate(tmp_path, "val", names=1)
    (other / "results.json").write_text('{"scores": ', encoding="utf-8")
    page = Page(write_report(tmp_path))
    assert "evaluation/val/results.json cannot be read" in page.text
    assert page.row("lpips")[1].startswith("0.4123")
    assert "by lpips" in page.text
    assert len(page.images) == 1  # the worst; of the best one is missing


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("scores",), []),
        (("scores", "values"), None),
        (("scores", "per_image"), {"lpips": 0.5}),
        (("scores", "per_image"), {"lpips": ["a", {}]}),
        (("scores", "details"), {"lpips": "much"}),
        (("scores", "names"), "0001"),
        (("names",), 7),
    ],
)
def test_results_of_another_form_are_told_and_left_out(
    place: tuple[str, ...], value: object, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    path = evaluate(tmp_path) / "results.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    inner = results
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path.write_text(json.dumps(results), encoding="utf-8")
    assert "evaluation/test/results.json cannot be read" in Page(write_report(tmp_path)).text


def test_several_splits_have_a_table_each_the_test_split_first(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    evaluate(tmp_path, "night", names=2)
    evaluate(tmp_path, "test", names=2)
    page = Page(write_report(tmp_path))
    assert re.findall(r"<caption><strong>(\w+)", page.source) == ["test", "night"]


def test_what_is_no_run_is_refused_and_the_old_report_stands(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither config\.yaml nor log\.jsonl"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "config.yaml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.yaml cannot be read as YAML"):
        write_report(tmp_path)
    (tmp_path / "config.yaml").write_text("just words", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.yaml holds no settings"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"


@pytest.mark.parametrize(
    ("preset_name", "terms"),
    [
        ("spade", {"hinge GAN": "1", "feature matching": "10", "VGG19": "10"}),
        ("spade-vae", {"hinge GAN": "1", "feature matching": "10", "VGG19": "10", "KL": "0.2"}),
        ("pix2pix", {"vanilla GAN": "1", "L1": "100"}),
    ],
)
def test_the_objective_is_told_with_all_its_terms(preset_name: str, terms: dict[str, str]) -> None:
    config = preset(preset_name).model_dump(mode="json")
    told = {fact["name"]: fact["value"] for fact in facts.facts(Path("run"), config, [])}
    parts = [part.split(f" {facts.TIMES} ") for part in told["Objective"].split(" + ")]
    assert dict(parts) == terms
