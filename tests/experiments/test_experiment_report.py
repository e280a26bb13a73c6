"""The report: figures with their spread, what is missing by name, times, and files beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from small_cells import carry_out, tiny_plan

from limner.cli import main
from limner.experiments.epochs import measure_times, runs_to_time
from limner.experiments.record import open_record
from limner.experiments.results import gather, summary, write_report
from limner.reporting import experiment_tables

CELLS = ["2-constant-0.7", "adaptive-0.7", "three"]


@pytest.fixture(scope="module")
def half(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cells of discriminator-weights, one of them with two seeds; seven are not run."""
    out = tmp_path_factory.mktemp("half")
    short = {"training.epochs": 5, "training.steps": 10}
    plan = tiny_plan("discriminator-weights", drawn, short, discriminators=3)
    carry_out(plan, out, CELLS)
    plan = tiny_plan("discriminator-weights", drawn, short, discriminators=3, seeds=2)
    carry_out(plan, out, CELLS[:1])
    runs = runs_to_time(out, CELLS[:2], [0])
    measure_times(runs, out=out, root=drawn, rounds=3, steps=2, warm=1)
    write_report(out)
    return out


def cells_of(markdown: str) -> dict[str, list[str]]:
    """Return the rows of the first table by their first cell."""
    table = markdown.split("\n\n| ")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table]
    return {row[0]: row[1:] for row in rows}


def test_published_and_own_figures_stand_in_one_row(half: Path) -> None:
    rows = cells_of((half / "report.md").read_text())
    assert list(rows)[:2] == ["1-dynamic1-0.9", "2-constant-0.7"]
    assert rows["1-dynamic1-0.9"][0] == "FID 298.3568"
    assert rows["1-dynamic1-0.9"][1:3] == ["not run", "not run"]
    results = json.loads((half / "results.json").read_text())
    row = next(row for row in results["rows"] if row["cell"] == "2-constant-0.7")
    means = [row["seeds"][seed]["values"]["l1"] for seed in ("0", "1")]
    assert row["summary"]["l1"]["mean"] == pytest.approx(sum(means) / 2)
    low, high = sorted(means)
    told = rows["2-constant-0.7"][1].replace("*", "")
    assert told == f"{sum(means) / 2:.4f} ({low:.4f} to {high:.4f})"
    assert rows["three"][0] == "\N{EN DASH}"
    assert re.search(r"\[0\.\d{4}, 0\.\d{4}\], 1 of 2 seeds", rows["three"][1])


def test_what_is_missing_is_named_everywhere(half: Path) -> None:
    text, page = (half / "report.md").read_text(), (half / "report.html").read_text()
    lost = "Not run yet: 1-dynamic1-0.9, 3-dynamic1-0.7, 4-dynamic2-0.7, 5-constant-0.5"
    for told in (text, page):
        assert lost in told
        assert "one seed" in told.lower()
        assert "compare the order of the cells, not the figures" in told
    assert "4 of 20" in text
    assert text.count("not run") > 14
    svg = (half / "curves.svg").read_text()
    assert svg.startswith("<?xml")
    with Image.open(half / "sheet.jpg") as sheet:
        # Source, target and all ten cells stand side by side, 32 pixels each.
        assert sheet.width > 12 * 32
    with Image.open(half / "curves.png") as curves:
        assert curves.width > 1000


def test_the_page_needs_no_network_and_names_its_runs(half: Path) -> None:
    page = (half / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert 'href="cells/2-constant-0.7/seed1/report.html"' in page
    assert "Weight of the first discriminator" in page
    for name in re.findall(r"!\[.*\]\((.*)\)", (half / "report.md").read_text()):
        assert (half / name).is_file()


def test_what_differs_between_cells_is_told_of_all(half: Path) -> None:
    results = json.loads((half / "results.json").read_text())
    before = dict(experiment_tables.facts(results))
    other = next(reversed(results["record"]["cells"].values()))["config"]
    other["training"] |= {"precision": "bf16-mixed", "lr": 5e-5}
    other["generator"]["width"] = 6
    after = dict(experiment_tables.facts(results))
    assert "32-true" in before["Each training"]
    assert "or" not in before["Each training"].split()
    assert after["Each training"] == before["Each training"].replace(
        "rate 0.0002, 32-true", "rate 0.0002 or 5e-05, 32-true or bf16-mixed"
    )
    assert after["Width"] == before["Width"].replace("generator 2", "generator 2 or 6")
    assert after != before


def test_times_are_told_with_their_spread_and_ratio(half: Path) -> None:
    rows = cells_of((half / "report.md").read_text())
    assert rows["three"][3:5] == ["not run", "not run"]
    assert rows["2-constant-0.7"][4] == "1.000"
    results = json.loads((half / "results.json").read_text())
    timed = results["times"]["cells"]["adaptive-0.7"]
    seconds = sorted(one * 8 for one in timed["seconds_per_step"])
    assert len(seconds) == 3
    assert timed["epoch_seconds"]["median"] == pytest.approx(seconds[1], abs=1e-3)
    assert timed["epoch_seconds"]["low"] <= timed["epoch_seconds"]["high"]
    told = experiment_tables.timing(results)
    assert "3 rounds of 2 steps" in told
    assert f"torch {torch.__version__}" in told
    busy = results | {"times": results["times"] | {"others": {"median": 0.4, "most": 0.9}}}
    assert (
        "used 40% of the machine meanwhile (at most 90%): it was busy"
        in experiment_tables.timing(busy)
    )


def test_timing_changes_no_run(half: Path, drawn: Path) -> None:
    runs = runs_to_time(half, CELLS[:1], [0])
    before = {path: path.read_bytes() for path in runs[CELLS[0]].rglob("*") if path.is_file()}
    kept = (half / "times.json").read_bytes()
    measure_times(runs, out=half, root=drawn, rounds=1, steps=1, warm=0)
    (half / "times.json").write_bytes(kept)
    assert {path: path.read_bytes() for path in before} == before


def test_spread_over_seeds() -> None:
    assert summary([3.0], [[2.0, 4.0]]) == {
        "mean": 3.0,
        "seeds": 1,
        "spread": "one seed",
        "interval": [2.0, 4.0],
    }
    two = summary([3.0, 2.0], [None, None])
    assert (two["mean"], two["spread"], two["interval"]) == (2.5, "range", [2.0, 3.0])
    many = summary([1.0, 2.0, 3.0], [None] * 3)
    assert (many["spread"], many["sd"], many["mean"]) == ("sd", 1.0, 2.0)


def test_an_experiment_that_has_not_begun_has_a_report_too(drawn: Path, tmp_path: Path) -> None:
    open_record(tmp_path / "out", tiny_plan("losses", drawn))
    results = gather(tmp_path / "out")
    assert [row["missing"] for row in results["rows"]] == [[0]] * 5
    write_report(tmp_path / "out")
    assert "Trainings done: 0 of 5" in (tmp_path / "out" / "report.md").read_text()
    assert not (tmp_path / "out" / "sheet.jpg").exists()


def test_the_command_lists_tables_and_reports_on_a_folder(
    half: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment"]) == 0
    listed = capsys.readouterr().out
    assert main(["experiment", "--list"]) == 0
    assert capsys.readouterr().out == listed
    for name in ("skip-connections", "low-learning-rate", "discriminator-weights", "base"):
        assert name in listed
    assert main(["experiment", "--out", str(half), "--report-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "discriminator-weights"
    assert main(["experiment", "--out", str(half), "--report-only"]) == 0
    told = capsys.readouterr().out
    assert "not run" in told
    assert "report.html" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["losse", "data"], "unknown experiment 'losse': did you mean 'losses'?"),
        (["losses"], "needs a data set"),
        (["--report-only"], "name it, or give its folder as --out"),
        (["losses", "nowhere", "--device", "cuda:1"], None),
        (["losses", "--out", "nowhere", "--report-only"], "nowhere holds no experiment"),
    ],
)
def test_wrong_use_is_answered_in_one_sentence(
    words: list[str], said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment", *words]) == 2
    told = capsys.readouterr().err.splitlines()
    assert said is None or said in told[-1]
    assert told[-1].startswith("limner: ")
