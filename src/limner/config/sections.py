"""The keys of `objective`, `training`, `validation` and `inference`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from limner.settings import Fraction, Optimizer, PositiveInt, Rate, Section, Weight

Augmentation = Literal["colour", "translation", "cutout"]


_NO_TERMS = {
    *("weighting", "weights", "weights_end", "adaptive_sharpness", "adaptive_floor"),
    *("vgg_network", "vgg_taps", "vgg_weights", "vgg_input"),
}


class ObjectiveSettings(Section):
    """What the networks are asked for."""

    gan: Literal["vanilla", "lsgan", "hinge", "wgan-gp"] = "vanilla"
    """The adversarial loss."""
    gan_weight: Weight = 1.0
    """Weight of the adversarial term in the generator's loss."""
    weighting: Literal["constant", "dynamic-1", "dynamic-2", "linear", "cosine", "adaptive"] = (
        "constant"
    )
    """How the weights of several discriminators in that term change from epoch to epoch."""
    weights: tuple[Weight, ...] | None = None
    """The weight of each discriminator at the start; None means equal shares of 1."""
    weights_end: tuple[Weight, ...] | None = None
    """Those of the last epoch, for linear and cosine."""
    adaptive_sharpness: Weight = 1.0
    """How far adaptive weights follow the discriminators' losses; 0 leaves them as they are."""
    adaptive_floor: Fraction = 0.1
    """The least share of a discriminator under adaptive weights."""
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
    scales: Literal["mean", "sum"] = "mean"
    """How the adversarial terms of a discriminator's scales add up: SPADE's mean, pix2pixHD's sum.

    Penalties and the discriminator's terms add up the same way; feature matching is a mean."""
    feature_matching: Weight = 0.0
    """Weight of the mean absolute difference of the discriminators' inner features."""
    feature_layers: Literal["mean", "sum"] = "mean"
    """How a scale's layers add up there: 4 times the mean, as in pix2pixHD, or SPADE's sum."""
    vgg: Weight = 0.0
    """Weight of the perceptual loss; its classifier's weights are found, or fetched, beforehand."""
    vgg_network: Literal["vgg19", "vgg16"] = "vgg19"
    """The classifier of the perceptual loss."""
    vgg_taps: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    """Its layers that are compared."""
    vgg_weights: tuple[Weight, ...] = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
    """The weight of each of these layers."""
    vgg_input: Literal["raw", "imagenet"] = "raw"
    """What it is given: values in [-1, 1] as pix2pixHD and SPADE do, or normalised as trained."""
    kl: Weight = 0.0
    """Weight of the divergence of an encoder's distribution from the standard normal one."""
    r1: Weight = 0.0
    """Weight (gamma) of the discriminators' gradient penalty on real pictures."""
    r1_every: PositiveInt = 1
    """Steps between penalties r1, each then so many times as heavy; 16 saves most of its cost."""
    augment: tuple[Augmentation, ...] = ()
    """What is done to all that the discriminators see, against small sets being learnt by heart."""

    @property
    def terms(self) -> dict[str, Any]:
        """The keywords of `limner.objective.Objective`; not what weighs discriminators."""
        return self.model_dump(exclude=_NO_TERMS)

    @model_validator(mode="after")
    def _contradictions(self) -> ObjectiveSettings:
        if len(self.vgg_taps) != len(self.vgg_weights):
            raise ValueError(
                f"objective.vgg_weights has {len(self.vgg_weights)} numbers for the "
                f"{len(self.vgg_taps)} layers of objective.vgg_taps: give one for each"
            )
        return self


SEGMENTATION = ("pixel_accuracy", "class_accuracy", "class_iou", "frequency_weighted_iou")
"""The figures of the metric seg."""


class TrainingSettings(Section):
    """How long, how fast, in what precision."""

    epochs: Annotated[int, Field(ge=0)] = 200
    """Passes over the training pairs; 0 only with start_from: nothing is trained, but what begins
    is written, with statistics estimated anew where that is asked for."""
    steps: PositiveInt | None = None
    """Stop after so many steps even if epochs remain."""
    batch_size: PositiveInt = 1
    """Pairs a forward pass, for each process."""
    accumulate: PositiveInt = 1
    """Forward passes whose gradients make one step."""
    discriminator_updates: PositiveInt = 1
    """Updates of the discriminators in a step, on the same pairs with noise drawn anew."""
    generator_updates: PositiveInt = 1
    """Updates of the generator in a step, on the same pairs with noise drawn anew."""
    update_order: Literal["discriminator-first", "together", "generator-first"] = (
        "discriminator-first"
    )
    """Whether the generator meets the discriminators just updated, or the ones of before.

    Together, both losses are computed before either update, as in the study and pix2pixHD, so that
    each network is updated once;
    generator-first, the discriminators then see pictures made anew, as in SPADE."""
    fresh_fake: bool = False
    """Whether the generator makes the picture for its own loss anew, with other noise.

    With accumulate above 1 it does so in any case."""
    start_from: str | None = None
    """A run whose networks the training begins with, as far as they fit (`limner train --from`);
    enhancers of pix2pixhd-local begin around its global generator."""
    discriminator_warmup: Annotated[int, Field(ge=0)] | None = None
    """Steps at the start in which the discriminators learn and the generator stands still. None
    means 200, or a tenth of the training if that is less, where start_from lends a generator
    without discriminators; else 0."""
    statistics: Literal["keep", "re-estimate"] = "keep"
    """What batch norms store at the start from another run: what that run stored, or what the new
    training set's sources give before the first step; see docs/transfer.md."""
    keep_optimizer: bool = False
    """Whether the optimizers go on with that run's averages, too, where its weights were loaded."""
    freeze: tuple[Literal["encoder", "blocks", "decoder"], ...] = ()
    """Parts of the generator that stay as they are, statistics of norms included: encoder (what
    halves), blocks (between, in resnet and pix2pixhd), decoder (what doubles)."""
    freeze_discriminator: Annotated[int, Field(ge=0)] = 0
    """First layers of each discriminator that stay as they are (Mo, Cho and Shin 2020)."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """What each stage of the generator before the last multiplies the learning rate by."""
    l2_sp: Weight = 0.0
    """Decay towards the weights that start_from gave instead of 0 (L2-SP, Li et al. 2018),
    decoupled: each update moves a weight by lr times this of the way back. Weights that began anew
    are left alone."""
    fix_global: Weight = 0.0
    """Epochs in which only the outermost enhancer of pix2pixhd-local learns."""
    reset_encoder: bool = True
    """Whether an encoder's optimizer begins anew with the generator's after these, as pix2pixHD
    makes one new optimizer for both."""
    optimizer: Optimizer = "adam"
    """The optimiser of every network, but of discriminators that name their own."""
    lr: Rate = 2e-4
    """Learning rate of the generator, before the schedule."""
    discriminator_lr: Rate | None = None
    """Learning rate of the discriminators; None means the generator's."""
    betas: tuple[Fraction, Fraction] = (0.5, 0.999)
    """Adam's decay rates."""
    weight_decay: Weight = 0.0
    """Decoupled for adamw, L2 for the others."""
    schedule: Literal["constant", "linear", "linear-late", "cosine"] = "linear"
    """How the learning rates change from epoch to epoch; linear-late decays an epoch later."""
    decay_start: Fraction = 0.5
    """The part of the epochs before the decay begins."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a running average of the generator's weights, which then makes the pictures.

    The decay after t steps is at most t / (t + 3), so that short trainings forget their start."""
    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"
    """Number format, as Lightning Fabric names it."""
    deterministic: bool = False
    """Refuse operations whose result differs from run to run. On a CPU there are none: there
    trainings repeat to the last digit, with as many threads, in any case."""
    cuda_graph: bool = False
    """Record the step as one CUDA graph and replay it, where nothing but the pictures changes."""
    resident: bool = False
    """Keep the training images on the CUDA device, as far as a quarter of its free memory holds
    them; draws are cut and mirrored there."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load data; 0 loads in the training process, fast enough once it is cached."""
    log_every: PositiveInt = 50
    """Steps between lines of the log; each line is the mean since the last."""
    health: PositiveInt | None = 50
    """Steps between looks at the health of the two networks (`limner diagnose`); None for never."""
    checkpoint_every: Annotated[float, Field(gt=0)] = 5.0
    """Epochs between checkpoints; fractions are allowed, here and below."""
    samples_every: Annotated[float, Field(gt=0)] | None = 10.0
    """Epochs between sample sheets; None for never."""


class ValidationSettings(Section):
    """What is measured on held-out pairs during training."""

    every: Annotated[float, Field(gt=0)] | None = None
    """Epochs between measurements; None for never."""
    split: str = "val"
    """The split to measure on; a set without it is not measured, with a word in the log."""
    images: PositiveInt = 200
    """At most so many pairs, the first of the split."""
    metrics: tuple[str, ...] = ("l1", "ssim")
    """Metrics, as `limner evaluate --metrics` names them; those with networks need weights."""
    best: str | None = None
    """The metric that decides which checkpoint is kept as the best; None keeps the newest.

    Of l1, psnr and ssim beware: they like blur better than detail. lpips is fair. With seg
    among the metrics, one of its figures, such as class_iou."""
    segmenter: str | None = None
    """For the metric seg: an .onnx file, or a segmentation model of Hugging Face, folder or name.

    The label maps are the data set's own."""
    class_map: str | None = None
    """For seg: a name or file, as for `limner evaluate`; by itself that of a known data set."""
    segmentation_size: tuple[PositiveInt, PositiveInt] | None = None
    """For seg: height and width to which pictures are resized; by itself as they are."""

    @property
    def seg(self) -> bool:
        """Whether the segmentation score is asked for."""
        return "seg" in self.metrics


class InferenceSettings(Section):
    """How the generator is used once trained."""

    statistics: Literal["running", "batch"] = "running"
    """Batch norm's statistics: those of training, or each picture's own as the paper has it."""
    dropout: bool = False
    """Keep dropout on, as the paper's only source of noise; seeded, so that results repeat."""
