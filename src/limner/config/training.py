"""The keys of `training`, `validation` and `inference`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from limner.settings import Fraction, Optimizer, PositiveInt, Rate, Section, Weight

SEGMENTATION = ("pixel_accuracy", "class_accuracy", "class_iou", "frequency_weighted_iou")
"""The figures of the metric seg."""


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
    discriminator_updates: PositiveInt = 1
    """Updates of the discriminators in a step, on the same pairs with noise drawn anew."""
    generator_updates: PositiveInt = 1
    """Updates of the generator in a step, on the same pairs with noise drawn anew."""
    update_order: Literal["discriminator-first", "together"] = "discriminator-first"
    """Whether the generator meets the discriminators just updated, or the ones of before.

    Together, both losses are computed before either update, as in the study."""
    fresh_fake: bool = False
    """Whether the generator makes the picture for its own loss anew, with other noise.

    With accumulate above 1 it does so in any case."""
    start_from: str | None = None
    """A run whose global generator the enhancers of pix2pixhd-local begin around."""
    fix_global: Weight = 0.0
    """Epochs in which only the outermost enhancer of pix2pixhd-local learns."""
    optimizer: Optimizer = "adam"
    """The optimiser of every network, but of discriminators that name their own."""
    lr: Rate = 2e-4
    """Learning rate of the generator, before the schedule."""
    discriminator_lr: Rate | None = None
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
    """Decay of a running average of the generator's weights, which then makes the pictures.

    The decay after t steps is at most t / (t + 3), so that short trainings forget their start."""
    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"
    """Number format, as Lightning Fabric names it."""
    deterministic: bool = False
    """Refuse operations whose result differs from run to run. On a CPU there are none: there
    trainings repeat to the last digit, with as many threads, in any case."""
    capture: bool = False
    """Record the step as one CUDA graph and replay it, where nothing but the pictures changes."""
    resident: bool = False
    """Keep the training images on the CUDA device, as far as a quarter of its free memory holds
    them; draws are cut and mirrored there."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load data; 0 loads in the training process, fast enough once it is cached."""
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

    Of l1, psnr and ssim beware: they like blur better than detail. lpips is a fair judge. With seg
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
