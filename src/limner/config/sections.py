"""The sections of a configuration: every key, its type, its default and what it means, once.

The docstring under a key is its documentation; `limner presets --keys` prints it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Interpolation = Literal["auto", "nearest", "bilinear", "bicubic", "lanczos"]
Norm = Literal["batch", "instance", "instance-affine", "group", "none"]
Init = Literal["normal", "xavier", "kaiming", "orthogonal", "default"]


def _both(value: object) -> object:
    """Read one value as the same value twice: a square size, a setting for source and target."""
    return value if isinstance(value, list | tuple) else (value, value)


PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Size = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(_both)]
Channels = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(_both)]
Interpolations = Annotated[tuple[Interpolation, Interpolation], BeforeValidator(_both)]


class Section(BaseModel):
    """A frozen group of keys that refuses unknown ones."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True
    )


class DataSettings(Section):
    """How pairs are found and prepared."""

    root: str = ""
    """The data set's folder; the command line fills it in."""
    direction: Literal["AtoB", "BtoA"] | None = None
    """Which way to translate; nothing means what dataset.yaml says, else AtoB."""
    mode: Literal["resize_crop", "crop", "resize", "none"] = "resize_crop"
    """resize_crop: to load_size, then a random crop; crop: a random crop; resize: to size; none."""
    size: Size = (256, 256)
    """What the networks see in training: height and width, or one number for a square."""
    load_size: Size | None = None
    """What resize_crop resizes to before it crops; nothing means size x 286 / 256."""
    flip: bool = True
    """Mirror half of the training pairs from left to right."""
    channels: Channels = (3, 3)
    """Channels of source and target, or one number for both; nothing is converted silently."""
    convert: bool = False
    """Convert images of other channel counts (grey to colour, alpha off) instead of refusing."""
    interpolation: Interpolations = ("auto", "auto")
    """For source and target; auto is nearest for label colours and bicubic for photos."""
    cache_gib: Annotated[float, Field(ge=0)] = 4.0
    """Bound of the cache of decoded images on disk, in GiB; 0 switches it off."""


class UNetSettings(Section):
    """The encoder-decoder with skip connections (Isola et al. 2017, section 3.2.1)."""

    name: Literal["unet"] = "unet"
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ngf)."""
    depth: Annotated[int, Field(ge=2)] | None = None
    """Number of halvings; nothing means as many as data.size allows, at most 8."""
    norm: Norm = "batch"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    dropout: Fraction = 0.5
    """Probability, in the innermost decoder levels of full width."""
    dropout_kind: Literal["element", "channel", "none"] = "element"
    """What is dropped: single values, whole channels, nothing."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation for normal, gain for the others."""


class ResNetSettings(Section):
    """The residual generator (Johnson et al. 2016)."""

    name: Literal["resnet"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ngf)."""
    blocks: PositiveInt = 9
    """Residual blocks: 9 for 256 pixels and more, 6 for 128."""
    norm: Norm = "instance"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    dropout: Fraction = 0.0
    """Probability, within each block."""
    dropout_kind: Literal["element", "channel", "none"] = "element"
    """What is dropped: single values, whole channels, nothing."""
    padding: Literal["reflect", "replicate", "zero"] = "reflect"
    """How convolutions see beyond the border."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation for normal, gain for the others."""


class PatchSettings(Section):
    """The n-layer PatchGAN (Isola et al. 2017, section 3.2.2)."""

    name: Literal["patch"] = "patch"
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ndf)."""
    layers: PositiveInt = 3
    """Strided layers; 1 to 5 see fields of 16, 34, 70, 142 and 286 pixels."""
    norm: Norm = "batch"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    conditional: bool = True
    """Whether it sees the source beside the picture it judges."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation for normal, gain for the others."""


class PixelSettings(Section):
    """The 1 x 1 PixelGAN (Isola et al. 2017, section 4.4)."""

    name: Literal["pixel"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ndf)."""
    norm: Norm = "batch"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; nothing means where the norm has none."""
    conditional: bool = True
    """Whether it sees the source beside the picture it judges."""
    init: Init = "normal"
    """Initialisation of the weights; default is PyTorch's own."""
    init_gain: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation for normal, gain for the others."""


GeneratorSettings = Annotated[UNetSettings | ResNetSettings, Field(discriminator="name")]
DiscriminatorSettings = Annotated[PatchSettings | PixelSettings, Field(discriminator="name")]


class ObjectiveSettings(Section):
    """What the networks are asked for."""

    gan: Literal["vanilla", "lsgan", "hinge", "wgan-gp"] = "vanilla"
    """The adversarial loss."""
    gan_weight: Weight = 1.0
    """Weight of the adversarial term in the generator's loss."""
    l1: Weight = 100.0
    """Weight of the mean absolute difference."""
    l2: Weight = 0.0
    """Weight of the mean squared difference."""
    discriminator_scale: Annotated[float, Field(gt=0)] = 0.5
    """Factor on each discriminator's loss; pix2pix halves it to slow the discriminator."""
    gradient_penalty: Weight = 10.0
    """Weight of the penalty of wgan-gp; the others do not use it."""
    real_label: Annotated[float, Field(gt=0, le=1.5)] = 1.0
    """What the discriminator is told of real pictures (vanilla, lsgan); 0.9 softens it."""
    instance_noise: Weight = 0.0
    """Standard deviation of the noise added to all that the discriminators see."""


class TrainingSettings(Section):
    """How long, how fast, in what precision."""

    epochs: PositiveInt = 200
    """Passes over the training pairs."""
    steps: PositiveInt | None = None
    """Stop after so many steps even if epochs remain."""
    batch_size: PositiveInt = 1
    """Pairs a forward pass, for each process."""
    accumulate: PositiveInt = 1
    """Forward passes whose gradients make one step."""
    optimizer: Literal["adam", "adamw", "radam"] = "adam"
    """The optimiser of every network."""
    lr: Annotated[float, Field(gt=0)] = 2e-4
    """Learning rate of the generator, before the schedule."""
    discriminator_lr: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of the discriminators; nothing means the generator's."""
    betas: tuple[Fraction, Fraction] = (0.5, 0.999)
    """Adam's decay rates."""
    weight_decay: Weight = 0.0
    """Decoupled for adamw, L2 for the others."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """How the learning rates change from epoch to epoch."""
    decay_start: Fraction = 0.5
    """The part of the epochs before the decay begins."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a running average of the generator's weights, which then makes the pictures."""
    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"
    """Number format, as Lightning Fabric names it."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that load data; 0 loads in the training process."""
    log_every: PositiveInt = 50
    """Steps between lines of the log; each line is the mean since the last."""
    checkpoint_every: Annotated[float, Field(gt=0)] = 5.0
    """Epochs between checkpoints; fractions are allowed, here and below."""
    samples_every: Annotated[float, Field(gt=0)] | None = 10.0
    """Epochs between sample sheets; nothing for none."""


class ValidationSettings(Section):
    """What is measured on held-out pairs during training."""

    every: Annotated[float, Field(gt=0)] | None = None
    """Epochs between measurements; nothing for none."""
    split: str = "val"
    """The split to measure on; a set without it is not measured, with a word in the log."""
    images: PositiveInt = 200
    """At most so many pairs, the first of the split."""
    metrics: tuple[str, ...] = ("l1", "ssim")
    """Metrics, as `limner evaluate --metrics` names them; those with networks need weights."""
    best: str | None = None
    """The metric that decides which checkpoint is kept as the best; nothing keeps the newest.

    Of l1, psnr and ssim beware: they like blur better than detail. lpips is a fair judge."""


class InferenceSettings(Section):
    """How the generator is used once trained."""

    statistics: Literal["running", "batch"] = "running"
    """Batch norm's statistics: those of training, or each picture's own as the paper has it."""
    dropout: bool = False
    """Keep dropout on, as the paper's only source of noise; seeded, so that results repeat."""
