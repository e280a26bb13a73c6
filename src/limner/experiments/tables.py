"""The tables that `limner experiment` knows: the study's, and pix2pix's ablation of its losses.

"The study" is Asher, Bechhofer and Berman, "Exploring Alternative Architectures For The Pix2Pix
Model"; its presets say how its training differs from pix2pix's. Its FIDs are on the facades, by
pytorch-fid. "The paper" is Isola, Zhu, Zhou and Efros 2017 (pix2pix).
"""

from __future__ import annotations

from limner.errors import unknown_name
from limner.experiments.definitions import Cell, Early, Published, Table

STUDY = "Asher, Bechhofer and Berman, Exploring Alternative Architectures For The Pix2Pix Model"
PAPER = (
    "Isola, Zhu, Zhou and Efros 2017, Image-to-Image Translation with Conditional Adversarial "
    "Networks"
)


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
        (f"objective.weighting={rule}", f"objective.weights=[{alpha}, {round(1 - alpha, 6)}]"),
        (_fid(fid),),
        f"configuration {number}: {rule}, alpha {alpha}",
    )


def _slow(name: str, skips: str, at_250: float, at_400: float) -> Cell:
    """Return a connection of table II, measured at 250 and at 400 epochs of one training."""
    early = Early(250, 400, (_fid(at_250),))
    return Cell(name, (f"generator.skips={skips}",), (_fid(at_400),), early=(early,))


# A third field beside the study's 94 and 62 pixels, of the same make.
_THREE = ", ".join(
    f"{{name: patch, layers: {layers}, kernel: {kernel}, last_stride: 2, norm: instance, "
    "bias: true, init: default}"
    for layers, kernel in ((3, 4), (3, 2), (2, 2))
)

TABLES: dict[str, Table] = {
    "skip-connections": Table(
        title="Connections across the U-Net: concatenated, added, multiplied, by turns",
        source=f"{STUDY}, table I; alternating is proposed in its section VI",
        preset="study-base",
        epochs={"paper": 200, "cpu": 10},
        cells=(
            Cell("concat", ("generator.skips=concat",), (_fid(188.0523), _seconds(38.5159))),
            Cell("add", ("generator.skips=add",), (_fid(367.7747), _seconds(32.6704))),
            Cell("multiply", ("generator.skips=multiply",), (_fid(384.0897), _seconds(33.1366))),
            Cell(
                "alternating",
                ("generator.skips=alternating",),
                about="concatenated and multiplied by turns; proposed, not run by the study",
            ),
        ),
    ),
    "low-learning-rate": Table(
        title="The same connections with a quarter of the learning rate, for longer",
        source=f"{STUDY}, table II",
        preset="study-base",
        common=("training.batch_size=4", "training.lr=5e-5"),
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
                ("objective.weighting=adaptive", "objective.weights=[0.7, 0.3]"),
                about="weights follow the discriminators' losses; proposed, not run by the study",
            ),
            Cell(
                "three",
                (f"discriminators=[{_THREE}]", "objective.weights=null"),
                about="fields of 94, 62 and 30 pixels, equal weights; proposed, not run by the "
                "study",
            ),
        ),
    ),
    "base": Table(
        title="The base model after 32 and after 200 epochs",
        source=f"{STUDY}, section V.A",
        preset="study-base",
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
        epochs={"paper": 200, "cpu": 10},
        note="A GAN sees the output alone, a cGAN the source beside it. The published figures are "
        "scores on other data, to compare the order only.",
        cells=(
            Cell("L1", ("discriminators=[]",), _fcn(0.42, 0.15, 0.11)),
            Cell("cGAN", ("objective.l1=0",), _fcn(0.57, 0.22, 0.16)),
            Cell("L1+cGAN", (), _fcn(0.66, 0.23, 0.17)),
            Cell("GAN", ("objective.l1=0", "discriminators.0.conditional=false")),
            Cell("L1+GAN", ("discriminators.0.conditional=false",)),
        ),
    ),
}


def table(name: str) -> Table:
    """Return the table of that name.

    Raises:
        ConfigError: none has it; the message lists those that there are.
    """
    if name not in TABLES:
        raise unknown_name("experiment", name, TABLES)
    return TABLES[name]
