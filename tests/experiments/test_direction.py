"""Tables of papers are trained the published way round, and say where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from small_cells import tiny_plan

from limner.experiments.grid import read_grid
from limner.experiments.planning import make_plan
from limner.experiments.record import open_record
from limner.experiments.results import gather, write_report
from limner.experiments.tables import TABLES


def directions(plan) -> set[str | None]:
    return {one.config.data.direction for one in plan.cells}


def in_folders(data: Path, first: str, second: str) -> Path:
    for split in ("train", "test"):
        for name in (first.format(split), second.format(split)):
            (data / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (32, 32), (40 * number,) * 3).save(data / name / f"{number}.png")
    return data


def test_every_table_is_label_to_photo() -> None:
    assert all(known.direction == "BtoA" for known in TABLES.values())
    assert all(known.task.startswith("label to photo") for known in TABLES.values())


def test_pairs_side_by_side_are_read_as_the_published_ones(drawn: Path) -> None:
    plan = tiny_plan("base", drawn)
    assert (directions(plan), plan.direction, plan.as_published) == ({"BtoA"}, "BtoA", True)


@pytest.mark.parametrize(
    ("first", "second", "direction"),
    [
        ("{}A", "{}B", "BtoA"),
        ("{}/A", "{}/B", "BtoA"),
        ("{}/label", "{}/photo", "AtoB"),
        ("{}/source", "{}/target", "AtoB"),
    ],
)
def test_folders_are_read_by_their_names(
    tmp_path: Path, first: str, second: str, direction: str
) -> None:
    plan = tiny_plan("base", in_folders(tmp_path / "data", first, second))
    assert (plan.direction, plan.as_published) == (direction, True)


def test_published_figures_do_not_stand_beside_another_task(drawn: Path, tmp_path: Path) -> None:
    for direction, count in (("BtoA", 4), ("AtoB", 0)):
        plan = tiny_plan("base", drawn, {"data.direction": direction})
        assert (plan.direction, plan.as_published) == (direction, count > 0)
        open_record(tmp_path / direction, plan)
        write_report(tmp_path / direction)
        rows = json.loads((tmp_path / direction / "results.json").read_text())["rows"]
        shown = [one["what"] for row in rows for one in row["published"]]
        assert shown.count("FID") == (3 if count else 0)
        text = (tmp_path / direction / "report.md").read_text()
        assert f"Direction: {direction}" in text
        page = (tmp_path / direction / "report.html").read_text()
        assert ("<h2>Published and measured</h2>" in page) == (count > 0)
        assert ("186.1885" in text) == (count > 0)
        assert ("left out" in text) == (count == 0)


def test_a_record_that_tells_no_direction_shows_no_published_figures(
    drawn: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    open_record(out, tiny_plan("base", drawn))
    path = out / "experiment.json"
    record = json.loads(path.read_text())
    for key in ("direction", "as_published", "task"):
        del record[key]
    path.write_text(json.dumps(record))
    assert [row["published"] for row in gather(out)["rows"]] == [[], []]


def test_a_data_set_says_its_own_direction(drawn: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "test"):
        (data / split).symlink_to(drawn / split)
    (data / "dataset.yaml").write_text("direction: AtoB\n")
    plan = tiny_plan("base", data)
    assert (directions(plan), plan.as_published) == ({"AtoB"}, False)


def test_a_grid_leaves_the_direction_to_the_data_or_to_its_cells(
    drawn: Path, tmp_path: Path
) -> None:
    small = "data.size: 32, data.load_size: 32, generator.depth: 3, discriminators.0.layers: 1"
    for axes, expected in (("generator.width: [2]", "AtoB"), ("data.direction: [AtoB, BtoA]", "")):
        path = tmp_path / "grid.yaml"
        path.write_text(f"preset: pix2pix\nset: {{{small}}}\naxes: {{{axes}}}\n")
        plan = make_plan(
            read_grid(path), name="grid", data=drawn, scale="", seeds=(0,), metrics=("l1",)
        )
        assert (plan.direction, plan.as_published) == (expected, True)
