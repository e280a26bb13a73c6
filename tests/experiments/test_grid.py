"""Grids of one's own: cells, axes, seeds, metrics; and one sentence for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.errors import ConfigError
from limner.experiments.grid import find_table, read_grid
from limner.experiments.planning import open_experiment
from limner.experiments.tables import cell_config

GOOD = """
title: How wide, and how joined
preset: pix2pix-small
set: {training.epochs: 3, training.lr: 1e-4, data.direction: BtoA}
axes:
  generator.width: [4, 8]
  generator.skips: [concat, [add, multiply]]
seeds: [3, 5]
metrics: [l1, ssim]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "grid.yaml"
    path.write_text(text)
    return path


def test_axes_make_a_cell_of_every_combination(tmp_path: Path) -> None:
    table = read_grid(write(tmp_path, GOOD))
    assert [cell.name for cell in table.cells] == [
        "width=4,skips=concat",
        "width=4,skips=add-multiply",
        "width=8,skips=concat",
        "width=8,skips=add-multiply",
    ]
    assert (table.title, table.seeds, table.metrics) == (
        "How wide, and how joined",
        (3, 5),
        ("l1", "ssim"),
    )
    config = cell_config(table, table.cells[3], scale="")
    assert (config.generator.width, config.generator.skips) == (8, ("add", "multiply"))
    # 1e-4 is a word in YAML 1.1; it is read as --set reads it.
    assert (config.training.epochs, config.training.lr, config.data.direction) == (3, 1e-4, "BtoA")


def test_named_cells_and_keys_that_end_alike(tmp_path: Path) -> None:
    named = read_grid(
        write(tmp_path, "preset: pix2pix\ncells: {plain: {}, soft: {training.lr: 1}}")
    )
    assert [(cell.name, cell.changes) for cell in named.cells] == [
        ("plain", {}),
        ("soft", {"training.lr": 1}),
    ]
    axes = "axes: {generator.width: [8], discriminators.0.width: [4]}"
    (cell,) = read_grid(write(tmp_path, f"preset: pix2pix\n{axes}")).cells
    assert cell.name == "generator.width=8,discriminators.0.width=4"


def test_a_grid_is_planned_like_a_table(tmp_path: Path, drawn: Path) -> None:
    path = write(tmp_path, GOOD)
    small = {"data.size": 32, "data.load_size": 32, "generator.depth": 3, "data.cache_gib": 0}
    small["discriminators.0.layers"] = 1
    plan, note = open_experiment(str(path), drawn, changes=small)
    assert (plan.name, plan.scale, plan.seeds, plan.metrics) == ("grid", "", (3, 5), ("l1", "ssim"))
    assert [one.steps for one in plan.cells] == [24] * 4
    assert note == ""
    assert open_experiment(str(path), drawn, changes=small, seeds=1)[0].seeds == (0,)
    with pytest.raises(ConfigError, match="sets its own sizes: leave --scale out"):
        open_experiment(str(path), drawn, scale="cpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preset: pix2pix\ncell: {}", r"unknown key 'cell': did you mean 'cells'\?"),
        ("cells: {a: {}}", "names no preset"),
        ("preset: pix2px\ncells: {a: {}}", r"cell a: unknown preset 'pix2px': did you mean"),
        ("preset: pix2pix", "give either cells, .* or axes"),
        (
            "preset: pix2pix\ncells: {a: {}}\naxes: {generator.width: [1]}",
            "give either cells, .* or axes",
        ),
        ("preset: pix2pix\ncells: {}", "cells is empty"),
        ("preset: pix2pix\naxes: {}", "axes is empty"),
        ("preset: pix2pix\naxes: {training.lr: []}", r"axes\.training\.lr is \[\]: give a list"),
        ("preset: pix2pix\naxes: {training.lr: 3}", r"axes\.training\.lr is 3: give a list"),
        ("preset: pix2pix\naxes: {generator.width: [8, 8]}", "the cell width=8 twice"),
        ("preset: pix2pix\naxes: {seed: [1, 2]}", r"sets seed, .* \(give seeds\)"),
        ("preset: pix2pix\ncells: {a: {seed: 3}}", r"cells\.a sets seed, .* leave it out"),
        ("preset: pix2pix\ncells: {a: {}}\nset: {data.root: x}", r"set sets data\.root, which"),
        ("preset: pix2pix\ncells: {a: {training.lr: 2024-01-01}}", "should be a valid number"),
        ("preset: pix2pix\naxes: {training.lr: [2024-01-01]}", "should be a valid number"),
        ("preset: pix2pix\ncells: {a: {}}\nseeds: true", "seeds is True: give a number from 1"),
        ("preset: pix2pix\ncells: {a: {}}\nmetrics: [seg]", "experiments do not measure seg"),
        ("preset: pix2pix\ncells: {a: {trainin.lr: 1}}", r"cell a: unknown key 'trainin\.lr'"),
        ("preset: pix2pix\ncells: {a: {training.lr: -1}}", r"cell a: training\.lr=-1"),
        ("preset: pix2pix\ncells: {a/b: {}}", "a cell cannot be named 'a/b'"),
        ("preset: pix2pix\ncells: {a: {}}\nseeds: 0", "seeds is 0: give a number from 1"),
        ("preset: pix2pix\ncells: {a: {}}\nseeds: [1, 1]", r"seeds is \[1, 1\]"),
        ("preset: pix2pix\ncells: {a: {}}\nmetrics: [l3]", "unknown metric 'l3'"),
        ("preset: pix2pix\ncells: [a]", "cells is empty|name each cell"),
        ("[", "cannot be read as YAML"),
        ("- a", "holds no grid"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        read_grid(write(tmp_path, text))
    assert str(refused.value).startswith(str(tmp_path / "grid.yaml"))
    assert "\n" not in str(refused.value)


def test_an_unknown_experiment_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown experiment 'loss': .*known are a grid's YAML"):
        find_table("loss")
    with pytest.raises(ConfigError, match="is missing"):
        find_table(str(tmp_path / "none.yaml"))
