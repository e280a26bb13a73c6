"""What `limner experiment` knows: tables of papers, cell by cell, and the sizes to run them at.

"The study" is Asher, Bechhofer and Berman, "Exploring Alternative Architectures For The Pix2Pix
Model"; its presets say how its training differs from pix2pix's. Its FIDs are on the facades, by
pytorch-fid. "The paper" is Isola, Zhu, Zhou and Efros 2017 (pix2pix).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from limner.config import Config, replace
from limner.errors import ConfigError
from limner.presets import preset

NAME = "[A-Za-z0-9][A-Za-z0-9._+=,-]{0,99}"
"""What a cell may be called, as a pattern: it names a folder."""


@dataclass(frozen=True)
class Published:
    """A figure as its source prints it; `note` says where it differs from what is measured here."""

    what: str
    value: float
    note: str = ""


@dataclass(frozen=True)
class Early:
    """A measurement on the way: after `epochs` of the `length` that the published training had.

    It stands for a training of that length, which it equals where nothing depends on the length
    (`check_early`).
    """

    epochs: int
    length: int
    published: tuple[Published, ...] = ()

    def step(self, steps: int) -> int:
        """Return the step of a training of `steps` at which to measure."""
        return max(1, round(steps * self.epochs / self.length))


@dataclass(frozen=True)
class Cell:
    """One training of a table: the settings that it changes, by key, and what is known of it.

    Raises:
        ConfigError: the name would not do as a folder's.
    """

    name: str
    changes: Mapping[str, object] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    about: str = ""
    early: tuple[Early, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise ConfigError(
                f"a cell cannot be named {self.name!r}, since it names a folder: use letters, "
                "digits and . _ + = , -, at most 100, a letter or digit first"
            )


@dataclass(frozen=True)
class Table:
    """Cells that begin with one preset and are trained for as long.

    `common` are settings of every cell. `epochs` holds the length of the trainings for each scale
    (`SCALES`): the one place that decides what a cell costs. `metrics` is empty where those are
    taken that the weights at hand allow, and `seeds` where the command decides. `task` says what
    the published trainings translate, and `direction` which way that is in pairs that lie side by
    side or in folders A and B, as theirs do; both are empty for any task.
    """

    title: str
    source: str
    preset: str
    cells: tuple[Cell, ...]
    common: Mapping[str, object] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    metrics: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    task: str = ""
    direction: str = ""


SIDE, WIDTH = 128, 32


def _cpu(config: Config) -> dict[str, object]:
    """Half the side and half the width of every network: some eighth of the work."""
    return {
        "data.size": SIDE,
        "data.load_size": None,
        "generator.width": WIDTH,
        "generator.depth": None,
        **{f"discriminators.{k}.width": WIDTH for k in range(len(config.discriminators))},
        "training.precision": "32-true",
        # Pictures by the running average: a constant rate leaves every cell with noise of its own,
        # which at a twentieth of the steps would hide the differences between them.
        "training.ema": 0.9998,
        "training.checkpoint_every": 2,
    }


SCALES: dict[str, Callable[[Config], Mapping[str, object]]] = {
    "paper": lambda config: {},
    "cpu": _cpu,
}
"""The settings that a scale adds to a cell's; a table's `epochs` gives the length beside them."""


def cell_config(
    table: Table, cell: Cell, *, scale: str, changes: Mapping[str, object] | None = None
) -> Config:
    """Return a cell's settings at a scale (none: ""), valid but not yet fitted to a data set.

    Settings come in this order: the preset, the table's `common`, the cell's, the scale's and the
    table's length at it, then `changes`. Of these, one for a discriminator that a cell does not
    have (`discriminators.1.lr`) is left out for that cell.

    Raises:
        ConfigError: a setting cannot be.
    """
    config = replace(preset(table.preset), table.common)
    config = replace(config, cell.changes)
    if scale:
        config = replace(config, SCALES[scale](config))
    if scale in table.epochs:
        config = replace(config, {"training.epochs": table.epochs[scale]})
    count = len(config.discriminators)
    fitting = {key: v for key, v in (changes or {}).items() if discriminator_of(key) < count}
    return replace(config, fitting)


def discriminator_of(key: str) -> int:
    """Return the index of the discriminator that a key is for, -1 where it is for none."""
    parts = key.split(".")
    listed = parts[0] == "discriminators" and len(parts) > 1 and parts[1].isdigit()
    return int(parts[1]) if listed else -1


STUDY = "Asher, Bechhofer and Berman, Exploring Alternative Architectures For The Pix2Pix Model"
PAPER = (
    "Isola, Zhu, Zhou and Efros 2017, Image-to-Image Translation with Conditional Adversarial "
    "Networks"
)


FACADES = "label to photo, on the 400 training pairs of the CMP facades"
CITYSCAPES = "label to photo, on Cityscapes"


def _fid(value: float, note: str = "") -> Published:
    return Published("FID", value, note)


def _seconds(value: float, note: str = "one NVIDIA L4") -> Published:
    return Published("seconds an epoch", value, note)


def _fcn(pixel: float, each: float, iou: float) -> tuple[Published, ...]:
    note = "FCN-8s on Cityscapes, labels to photos: from the paper, other data"
    return (
        Published("per-pixel accuracy", pixel, note),
        Published("per-class accuracy", each, note),
        Published("class IoU", iou, note),
    )


def _two(number: int, rule: str, alpha: float, fid: float) -> Cell:
    """Return a configuration of two discriminators, the large one's weight given."""
    name = rule if rule == "constant" else rule.replace("dynamic-", "dynamic")
    return Cell(
        f"{number}-{name}-{alpha}",
        {"objective.weighting": rule, "objective.weights": [alpha, round(1 - alpha, 6)]},
        (_fid(fid),),
        f"configuration {number}: {rule}, alpha {alpha}",
    )


def _slow(name: str, skips: str, at_250: float, at_400: float) -> Cell:
    """Return a connection of table II, measured at 250 and at 400 epochs of one training."""
    early = Early(250, 400, (_fid(at_250),))
    return Cell(name, {"generator.skips": skips}, (_fid(at_400),), early=(early,))


# A third field beside the study's 94 and 62 pixels, of the same make.
_THREE = [
    {
        "name": "patch",
        "layers": layers,
        "kernel": kernel,
        "last_stride": 2,
        "norm": "instance",
        "bias": True,
        "init": "default",
    }
    for layers, kernel in ((3, 4), (3, 2), (2, 2))
]

TABLES: dict[str, Table] = {
    "skip-connections": Table(
        title="Connections across the U-Net: concatenated, added, multiplied, by turns",
        source=f"{STUDY}, table I; alternating is proposed in its section VI",
        preset="study-base",
        task=FACADES,
        direction="BtoA",
        epochs={"paper": 200, "cpu": 10},
        cells=(
            Cell("concat", {"generator.skips": "concat"}, (_fid(188.0523), _seconds(38.5159))),
            Cell("add", {"generator.skips": "add"}, (_fid(367.7747), _seconds(32.6704))),
            Cell("multiply", {"generator.skips": "multiply"}, (_fid(384.0897), _seconds(33.1366))),
            Cell(
                "alternating",
                {"generator.skips": "alternating"},
                about="concatenated and multiplied by turns; proposed, not run by the study",
            ),
        ),
    ),
    "low-learning-rate": Table(
        title="The same connections with a quarter of the learning rate, for longer",
        source=f"{STUDY}, table II",
        preset="study-base",
        common={"training.batch_size": 4, "training.lr": 5e-5},
        task=FACADES,
        direction="BtoA",
        epochs={"paper": 400, "cpu": 20},
        note="One training of 400 epochs is measured at 250 too: the rate is constant, so that it "
        "is the training of 250 epochs until then.",
        cells=(
            _slow("concat", "concat", 217.368, 234.933),
            _slow("add", "add", 217.161, 212.486),
            _slow("multiply", "multiply", 189.582, 191.769),
        ),
    ),
    "discriminator-weights": Table(
        title="Two discriminators: how much the generator listens to each, and how that changes",
        source=f"{STUDY}, section V.C, configurations 1 to 8; the last two are proposed in "
        "its section VI",
        preset="study",
        task=FACADES,
        direction="BtoA",
        epochs={"paper": 200, "cpu": 10},
        note="Alpha is the weight of the large discriminator (a field of 94 pixels), 1 - alpha "
        "that of the small one (62). The study's base model, one large discriminator, has an FID "
        "of 186.19 and 188.05 (the tables base and skip-connections); an epoch took about 35 s.",
        cells=(
            _two(1, "dynamic-1", 0.9, 298.3568),
            _two(2, "constant", 0.7, 184.5843),
            _two(3, "dynamic-1", 0.7, 185.2853),
            _two(4, "dynamic-2", 0.7, 194.8962),
            _two(5, "constant", 0.5, 190.4327),
            _two(6, "dynamic-1", 0.5, 190.4333),
            _two(7, "constant", 0.3, 186.9780),
            _two(8, "dynamic-1", 0.3, 295.5034),
            Cell(
                "adaptive-0.7",
                {"objective.weighting": "adaptive", "objective.weights": [0.7, 0.3]},
                about="weights follow the discriminators' losses; proposed, not run by the study",
            ),
            Cell(
                "three",
                {"discriminators": _THREE, "objective.weights": None},
                about="fields of 94, 62 and 30 pixels, equal weights; proposed, not run by the "
                "study",
            ),
        ),
    ),
    "base": Table(
        title="The base model after 32 and after 200 epochs",
        source=f"{STUDY}, section V.A",
        preset="study-base",
        task=FACADES,
        direction="BtoA",
        epochs={"paper": 200, "cpu": 10},
        note="One training is measured at both: the rate is constant, so that it is the training "
        "of 32 epochs until then.",
        cells=(
            Cell(
                "base",
                published=(
                    _fid(186.1885, "first of two runs"),
                    _fid(188.0523, "second of two runs"),
                    _seconds(17, "about; one NVIDIA L4"),
                ),
                early=(Early(32, 200, (_fid(292.1598), _seconds(5, "about; one NVIDIA L4"))),),
            ),
        ),
    ),
    "losses": Table(
        title="What each part of pix2pix's loss does",
        source=f"{PAPER}, table 1",
        preset="pix2pix",
        task=CITYSCAPES,
        direction="BtoA",
        epochs={"paper": 200, "cpu": 10},
        note="A GAN sees the output alone, a cGAN the source beside it. The published figures are "
        "scores on other data, to compare the order only.",
        cells=(
            Cell("L1", {"discriminators": []}, _fcn(0.42, 0.15, 0.11)),
            Cell("cGAN", {"objective.l1": 0}, _fcn(0.57, 0.22, 0.16)),
            Cell("L1+cGAN", {}, _fcn(0.66, 0.23, 0.17)),
            Cell("GAN", {"objective.l1": 0, "discriminators.0.conditional": False}),
            Cell("L1+GAN", {"discriminators.0.conditional": False}),
        ),
    ),
}
