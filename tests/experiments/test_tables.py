"""The known tables: published figures in their cells, settings valid at both scales, sizes."""

from __future__ import annotations

import pytest

from limner.config import Config, resolved
from limner.experiments.planning import check_early
from limner.experiments.tables import SCALES, TABLES, cell_config
from limner.networks import count_parameters
from limner.training.state import build_discriminators, build_generator

# The study, tables I and II and sections V.A and V.C; the pix2pix paper, table 1.
PUBLISHED = {
    "skip-connections": {
        "concat": {"FID": [188.0523], "seconds an epoch": [38.5159]},
        "add": {"FID": [367.7747], "seconds an epoch": [32.6704]},
        "multiply": {"FID": [384.0897], "seconds an epoch": [33.1366]},
        "alternating": {},
    },
    "low-learning-rate": {
        "concat": {"FID": [234.933]},
        "concat 250/400": {"FID": [217.368]},
        "add": {"FID": [212.486]},
        "add 250/400": {"FID": [217.161]},
        "multiply": {"FID": [191.769]},
        "multiply 250/400": {"FID": [189.582]},
    },
    "discriminator-weights": {
        "1-dynamic1-0.9": {"FID": [298.3568]},
        "2-constant-0.7": {"FID": [184.5843]},
        "3-dynamic1-0.7": {"FID": [185.2853]},
        "4-dynamic2-0.7": {"FID": [194.8962]},
        "5-constant-0.5": {"FID": [190.4327]},
        "6-dynamic1-0.5": {"FID": [190.4333]},
        "7-constant-0.3": {"FID": [186.9780]},
        "8-dynamic1-0.3": {"FID": [295.5034]},
        "adaptive-0.7": {},
        "three": {},
    },
    "base": {
        "base": {"FID": [186.1885, 188.0523], "seconds an epoch": [17]},
        "base 32/200": {"FID": [292.1598], "seconds an epoch": [5]},
    },
    "losses": {
        "L1": {"per-pixel accuracy": [0.42], "per-class accuracy": [0.15], "class IoU": [0.11]},
        "cGAN": {"per-pixel accuracy": [0.57], "per-class accuracy": [0.22], "class IoU": [0.16]},
        "L1+cGAN": {
            "per-pixel accuracy": [0.66],
            "per-class accuracy": [0.23],
            "class IoU": [0.17],
        },
        "GAN": {},
        "L1+GAN": {},
    },
}
CELLS = [(name, cell.name) for name in TABLES for cell in TABLES[name].cells]


def config_of(name: str, cell: str, scale: str) -> Config:
    (found,) = [one for one in TABLES[name].cells if one.name == cell]
    return resolved(cell_config(TABLES[name], found, scale=scale))


def by_kind(published) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in published:
        found.setdefault(one.what, []).append(one.value)
    return found


def test_every_published_figure_stands_in_its_cell() -> None:
    told = {
        name: {
            label: by_kind(published)
            for cell in known.cells
            for label, published in [
                (cell.name, cell.published),
                *((f"{cell.name} {e.epochs}/{e.length}", e.published) for e in cell.early),
            ]
        }
        for name, known in TABLES.items()
    }
    assert told == PUBLISHED
    for cell in TABLES["losses"].cells:
        assert all("from the paper, other data" in one.note for one in cell.published)


@pytest.mark.parametrize(("name", "cell"), CELLS)
def test_every_cell_is_valid_at_both_scales(name: str, cell: str) -> None:
    paper, cpu = (config_of(name, cell, scale) for scale in SCALES)
    for config in (paper, cpu):
        for one in TABLES[name].cells:
            check_early(one, config)
    assert (paper.data.size, cpu.data.size) == ((256, 256), (128, 128))
    assert paper.generator.width == 2 * cpu.generator.width == 64
    assert all(judge.width == 64 for judge in paper.discriminators)
    assert all(judge.width == 32 for judge in cpu.discriminators)
    slow = name == "low-learning-rate"
    assert paper.training.epochs == (400 if slow else 200)
    assert cpu.training.epochs == paper.training.epochs // 20
    assert paper.training.batch_size == cpu.training.batch_size == (4 if slow else 1)
    assert paper.training.lr == cpu.training.lr == (5e-5 if slow else 2e-4)
    assert cpu.training.precision == "32-true"


def test_cells_differ_in_what_they_are_about_alone() -> None:
    rules = {"constant": "constant", "dynamic1": "dynamic-1", "dynamic2": "dynamic-2"}
    for cell in TABLES["discriminator-weights"].cells[:8]:
        _, rule, alpha = cell.name.split("-")
        objective = config_of("discriminator-weights", cell.name, "paper").objective
        assert objective.weighting == rules[rule]
        assert objective.weights == (float(alpha), round(1 - float(alpha), 6))
    losses = {cell.name: config_of("losses", cell.name, "paper") for cell in TABLES["losses"].cells}
    told = {
        name: (c.objective.l1, [judge.conditional for judge in c.discriminators])
        for name, c in losses.items()
    }
    assert told == {
        "L1": (100.0, []),
        "cGAN": (0.0, [True]),
        "L1+cGAN": (100.0, [True]),
        "GAN": (0.0, [False]),
        "L1+GAN": (100.0, [False]),
    }
    for name in ("skip-connections", "low-learning-rate"):
        for cell in TABLES[name].cells:
            assert config_of(name, cell.name, "paper").generator.skips == cell.name


def test_networks_have_the_published_parameters() -> None:
    generators = {
        cell: count_parameters(build_generator(config_of("skip-connections", cell, "paper")))
        for cell in ("concat", "add", "multiply")
    }
    assert generators == {"concat": 54_419_459, "add": 39_080_963, "multiply": 39_080_963}
    judges = build_discriminators(config_of("discriminator-weights", "2-constant-0.7", "paper"))
    assert [count_parameters(judge) for judge in judges] == [2_767_809, 2_761_665]
    three = build_discriminators(config_of("discriminator-weights", "three", "paper"))
    assert [count_parameters(judge) for judge in three][:2] == [2_767_809, 2_761_665]
