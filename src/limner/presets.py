"""Named configurations to start from: a table of differences, each with what it is and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from limner.config import Config, replace
from limner.errors import unknown_name


@dataclass(frozen=True)
class Preset:
    """A configuration as the differences from another one (None: from the defaults).

    `about` says which paper, what is reproduced, the cost and the expected figures.
    """

    about: str
    base: str | None
    changes: Mapping[str, object]


_LARGE = {
    **{"name": "patch", "width": 64, "layers": 3, "last_stride": 2, "kernel": 4},
    **{"norm": "instance", "bias": True, "init": "default"},
}
"""The study's discriminator that sees 94 pixels; with a kernel of 2 it sees 62."""

PRESETS: dict[str, Preset] = {
    "pix2pix": Preset(
        """pix2pix as published, in the manner of pytorch-CycleGAN-and-pix2pix.

Paper: Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR 2017, sections 3 and 6.1 to 6.2.
Reproduces: U-Net 256 (54,413,955 parameters) against the 70 x 70 PatchGAN (2,768,705), BCE with
100 L1, Adam 2e-4 (0.5, 0.999), resize to 286, crop to 256, flip, batch 1, 100 epochs at constant
rate and 100 of linear decay; pictures are made with dropout on and each picture's own batch
statistics.
Cost: 80,000 steps on the 400 facades; about 0.6 s a step in fp32 on two CPU cores.
Expected: facades FID 119 to 125 on the 106 test images with Inception weights (mmagic's card).
""",
        base=None,
        changes={
            "data.interpolation": ["bicubic", "bicubic"],
            "inference.statistics": "batch",
            "inference.dropout": True,
        },
    ),
    "pix2pix-small": Preset(
        """pix2pix for two CPU cores: half the side, half the width, instance norm.

Paper: as `pix2pix`. What differs, and why: 128 x 128 pictures and 32 filters, an eighth of the
work; instance norm, so that a picture comes out the same in training and afterwards; label
colours resized by nearest neighbour; a discriminator whose field is 34 pixels, the same part of
the picture as 70 of 256; a constant learning rate and a running average of the weights in place
of the decay, which on 400 pairs left a grain on flat walls (results/README.md).
""",
        base=None,
        changes={
            "data.size": [128, 128],
            "generator.width": 32,
            "generator.norm": "instance",
            "discriminators": [{"name": "patch", "width": 32, "layers": 2, "norm": "instance"}],
            "training.epochs": 100,
            "training.schedule": "constant",
            "training.ema": 0.9998,
        },
    ),
    "pix2pixhd-global": Preset(
        """pix2pixHD's global generator, label map to photo at 1024 x 512.

Paper: Wang, Liu, Zhu, Tao, Kautz, Catanzaro, "High-Resolution Image Synthesis and Semantic
Manipulation with Conditional GANs", CVPR 2018, section 3.1; settings of its code for 512 rows.
Reproduces: global generator (182,546,755 parameters with the 36 channels of Cityscapes: 35 labels
and the edges of instances) against discriminators at 2 scales (5,603,202), LSGAN summed over
scales, feature matching 10, perceptual loss 10 on VGG19, Adam 2e-4 (0.5, 0.999), batch 1, 100
epochs at constant rate and 100 of linear decay, both networks' losses from the same, not yet
updated pair of networks.
Cost: 595,000 steps on Cityscapes' 2,975 pairs; a GPU. Memory in float32, reckoned from shapes: 2.8
GiB for weights, gradients and Adam's averages, 2.9 GiB of features kept for the generator's
backward pass (VGG19's and the discriminators' included), and what convolutions need besides.
Published: Cityscapes FID 95.0 and mean IoU 58.3 for the whole method at 512 x 256, as the SPADE
paper measured it (table 1); not trained here.
""",
        base=None,
        changes={
            "data.mode": "resize",
            "data.size": [512, 1024],
            "data.labels": {},
            "generator.name": "pix2pixhd",
            "generator.init": "normal-weights",
            "discriminators": [
                {"name": "multiscale", "layers": 3, "scales": 2, "init": "normal-weights"}
            ],
            "training.update_order": "together",
            "training.schedule": "linear-late",
            "objective.gan": "lsgan",
            "objective.scales": "sum",
            "objective.l1": 0.0,
            "objective.feature_matching": 10.0,
            "objective.vgg": 10.0,
            # The losses' terms on held-out pairs: what is learnt by heart shows there.
            "validation.every": 5.0,
        },
    ),
    "pix2pixhd": Preset(
        """pix2pixHD whole: an enhancer around the global generator, 2048 x 1024.

Paper: as `pix2pixhd-global`, section 3.1, "coarse-to-fine generator".
Reproduces: one local enhancer of 32 filters (182,857,059 parameters in all with 36 channels),
discriminators at 3 scales, 50 epochs at constant rate and 50 of linear decay, in the first 10 of
which only the enhancer learns. It begins around a run of `pix2pixhd-global`:
`limner train DATA --preset pix2pixhd --from RUN --out FINE`. The discriminators begin anew (in the
code of the paper those of the coarser scales are taken over).
The discriminators have 8,404,803 parameters.
Cost: 297,500 steps on Cityscapes' 2,975 pairs; a GPU of 24 GB. Memory in float32, reckoned from
shapes: 2.9 GiB for weights, gradients and Adam's averages, 10.9 GiB of features kept for the
generator's backward pass, 7.1 with `generator.activation_checkpointing=true` (what VGG19 and the
discriminators keep stays), and what convolutions need besides.
Published: see `pix2pixhd-global`; not trained here.
""",
        base="pix2pixhd-global",
        changes={
            "data.size": [1024, 2048],
            "generator.name": "pix2pixhd-local",
            "generator.init": "normal-weights",
            "discriminators.0.scales": 3,
            "training.epochs": 100,
            "training.fix_global": 10.0,
        },
    ),
    "pix2pixhd-small": Preset(
        """pix2pixHD for two CPU cores: 128 x 96 pixels, a narrow generator, no perceptual loss.

Paper: as `pix2pixhd-global`. What differs, and why: 24 filters, 3 halvings and 6 blocks (64, 4
and 9 there), discriminators of 32 filters whose field suits the size, no perceptual loss, since
its weights are not shipped (add it with `objective.vgg=10 objective.vgg_network=vgg16`, at three
times the cost). Sides must be multiples of 8.
Cost: about 0.15 s a step on one core of two.
""",
        base="pix2pixhd-global",
        changes={
            "data.mode": "resize_crop",
            "data.size": [96, 128],
            "generator.width": 24,
            "generator.downs": 3,
            "generator.blocks": 6,
            "discriminators.0.width": 32,
            "discriminators.0.layers": 2,
            "objective.vgg": 0.0,
            "training.epochs": 100,
            "validation.images": 50,
        },
    ),
    "spade": Preset(
        """SPADE (GauGAN), label map to photo at 256 x 256.

Paper: Park, Liu, Wang, Zhu, "Semantic Image Synthesis with Spatially-Adaptive Normalization",
CVPR 2019, section 3 and appendix A.
Reproduces: the generator (97.48, 96.49 or 93.05 million parameters with the 184, 151 or 36
channels of COCO-Stuff, ADE20K and Cityscapes) with spectral norm and batch statistics over all
processes, against discriminators at 2 scales (5,601,410 with 36 and 3 channels), hinge, feature
matching 10, perceptual loss 10 on VGG19, Adam (0, 0.9) at 1e-4 for the generator and 4e-4 for the
discriminators, batch 32 (of all processes: 8 with 4 each there), 100 epochs at constant rate and
100 of linear decay; the generator learns first, and the discriminators then see fresh pictures.
Cost: 18,400 steps on Cityscapes' 2,975 pairs; the paper trained on 8 V100 GPUs. Memory in float32,
reckoned from shapes: 1.5 GiB for weights, gradients and Adam's averages, and features kept for the
generator's backward pass (VGG19's and the discriminators' included): 1.2 GiB for one picture, 3.8
for 4, 28.4 for 32 in one process; `generator.activation_checkpointing=true` leaves 0.3 of the 1.2.
Published (the paper's table 1): COCO-Stuff FID 22.6, mean IoU 37.4; ADE20K 33.9, 38.5; Cityscapes
(512 x 256) 71.8, 62.3; not trained here.
""",
        base=None,
        changes={
            "data.labels": {},
            "generator.name": "spade",
            "discriminators": [
                {
                    **{"name": "multiscale", "width": 64, "layers": 3, "scales": 2},
                    **{"spectral": True, "bias": False, "init": "xavier"},
                }
            ],
            "training.update_order": "generator-first",
            "training.schedule": "linear-late",
            "objective.gan": "hinge",
            "objective.feature_layers": "sum",
            "objective.l1": 0.0,
            "objective.discriminator_scale": 1.0,
            "objective.feature_matching": 10.0,
            "objective.vgg": 10.0,
            "training.batch_size": 32,
            "training.lr": 1e-4,
            "training.discriminator_lr": 4e-4,
            "training.betas": [0.0, 0.9],
            # The losses' terms on held-out pairs: what is learnt by heart shows there.
            "validation.every": 5.0,
        },
    ),
    "spade-vae": Preset(
        """SPADE with an encoder of style: one label map, many pictures.

Paper: as `spade`, section 3, "multi-modal synthesis", and appendix A.
Reproduces: the first map of the generator is made of a code of 256 numbers, drawn around what an
encoder (10.46 million parameters) reads from the target; KL divergence 0.2, averaged over
samples (the paper's code sums 0.05 of it over those of a GPU, four). Everything else as `spade`.
Pictures: `limner translate RUN INPUTS --style PICTURE` takes another picture's style,
`--samples N` draws N styles.
Cost: as `spade`; 109,557,955 parameters in the generator with the 36 channels of Cityscapes, so
that weights, gradients and Adam's averages take 1.9 GiB.
Published: see `spade`; not trained here.
""",
        base="spade",
        changes={
            "generator.latent": 256,
            "encoder.name": "spade-encoder",
            "objective.kl": 0.2,
        },
    ),
    "spade-small": Preset(
        """SPADE for two CPU cores: 128 x 96 pixels, narrow networks, no perceptual loss.

Paper: as `spade`. What differs, and why: 12 filters and 16 between labels and modulation (64 and
128 there), discriminators of 32 filters whose field suits the size, batch 1 with instance
statistics (those of one picture are the batch's), no perceptual loss, since its weights are not
shipped (add it with `objective.vgg=10 objective.vgg_network=vgg16`, at three times the cost).
Sides must be multiples of 32; pictures of another shape want another `data.size`.
Cost: about 0.2 s a step on one core of two.
""",
        base="spade",
        changes={
            "data.size": [96, 128],
            "generator.width": 12,
            "generator.hidden": 16,
            "generator.norm": "instance",
            "discriminators.0.width": 32,
            "discriminators.0.layers": 2,
            "objective.vgg": 0.0,
            "training.epochs": 100,
            "training.batch_size": 1,
            "validation.images": 50,
        },
    ),
    "study-base": Preset(
        """The study's base model: pix2pix with one discriminator that sees 94 pixels.

Paper: Asher, Bechhofer, Berman, "Exploring Alternative Architectures For The Pix2Pix Model",
section V.A, configuration 1, and its code, which builds on akanametov/pix2pix.
Reproduces: U-Net of eight levels with a bias everywhere (54,419,459 parameters), whole channels
dropped at its three innermost decoder levels, no ReLU on the outermost skip; the "large"
discriminator, instance norm, four strided layers, 15 x 15 logits (2,767,809); PyTorch's default
initialisation; BCE with 100 L1, the discriminator's loss (fake + real) / 2; both losses computed
before either update, each on a picture of its own; Adam 2e-4 (0.5, 0.999) at constant rate,
resize to 256 without crop or flip, batch 1, 200 epochs. Pictures are made with running statistics
and without dropout. Not reproduced: the order of its random draws.
Cost: 80,000 steps on the 400 facades; 38.5 s an epoch on the study's L4 GPU.
Expected: facades FID 186.2 and 188.1 (two runs); 292.2 after 32 epochs.
""",
        base=None,
        changes={
            "data.mode": "resize",
            "data.flip": False,
            "data.interpolation": ["bicubic", "bicubic"],
            "generator.bias": True,
            "generator.dropout_kind": "channel",
            "generator.dropout_innermost": True,
            "generator.rectify_last_skip": False,
            "generator.init": "default",
            "discriminators": [_LARGE],
            "training.schedule": "constant",
            "training.update_order": "together",
            "training.fresh_fake": True,
        },
    ),
    "study": Preset(
        """The study's best model: two discriminators, of 94 and of 62 pixels, weighed 0.7 and 0.3.

Paper: as `study-base`, section IV.B.2 and equation 1; section V.C, configuration 2.
Reproduces: what `study-base` does, with the "small" discriminator besides, whose logits' kernel is
2 (17 x 17 logits, 2,761,665 parameters). Each learns by itself at full weight; the generator's
adversarial terms are weighed. The other configurations are settings:
`--set objective.weighting=dynamic-1 --set objective.weights=[0.9,0.1]` is the first, dynamic-2
the study's second version, and weights of [0.5,0.5] and [0.3,0.7] its other constant ones.
Cost: as `study-base`; about 35 s an epoch on the study's L4 GPU.
Expected: facades FID 184.6; configurations 1 to 8: 298.4, 184.6, 185.3, 194.9, 190.4, 190.4,
187.0, 295.5.
""",
        base="study-base",
        changes={
            "discriminators": [_LARGE, {**_LARGE, "kernel": 2}],
            "objective.weights": [0.7, 0.3],
        },
    ),
    "study-add": Preset(
        """The study's base model with skips that add.

Paper: as `study-base`, section V.B.
Reproduces: what `study-base` does, with d + e at all seven joins: the
decoder's inputs are not doubled, 39,080,963 parameters.
Cost: 32.7 s an epoch on the study's L4 GPU, where `study-base` takes 38.5.
Expected: facades FID 367.8 (table I); with `training.batch_size=4 training.lr=5e-5` 217.2 after 250
epochs and 212.5 after 400 (table II).
""",
        base="study-base",
        changes={"generator.skips": "add"},
    ),
    "study-multiply": Preset(
        """The study's base model with skips that multiply.

Paper: as `study-base`, section V.B.
Reproduces: what `study-base` does, with d * e at all seven joins: the
decoder's inputs are not doubled, 39,080,963 parameters.
Cost: 33.1 s an epoch on the study's L4 GPU, where `study-base` takes 38.5.
Expected: facades FID 384.1 (table I); with `training.batch_size=4 training.lr=5e-5` 189.6 after 250
epochs and 191.8 after 400 (table II).
""",
        base="study-base",
        changes={"generator.skips": "multiply"},
    ),
    "study-alternating": Preset(
        """The study's base model with skips that concatenate and multiply by turns.

Paper: as `study-base`, section VI: its first proposal for what comes next.
Reproduces: what `study-base` does, with joins that concatenate and multiply by
turns, beginning at the outermost, which concatenates: 47,996,931 parameters.
Cost: between those of `study-multiply` and `study-base`.
Expected: nothing is published.
""",
        base="study-base",
        changes={"generator.skips": "alternating"},
    ),
}


def _known(name: str) -> Preset:
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]


DEFAULT = "pix2pix"
"""What settings begin with where no preset is named."""


def preset(name: str) -> Config:
    """Return the configuration of that name.

    Raises:
        ConfigError: no preset has that name; the message lists those that there are.
    """
    known = _known(name)
    base = Config(preset=name) if known.base is None else preset(known.base)
    return replace(base, {"preset": name, **known.changes})


def about(name: str) -> str:
    """Return what a preset is: paper, what it reproduces, cost, expected figures.

    Raises:
        ConfigError: no preset has that name.
    """
    return _known(name).about.strip()
