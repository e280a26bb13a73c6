"""What is drawn and measured during a training: sheets of samples, and figures of held-out pairs.

`training` knows nothing of evaluation or of sheets: `api` hands it these as callables.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from limner.config import Config
from limner.data import PairedDataset
from limner.errors import ConfigError
from limner.evaluation.evaluate import check_metrics, measure_translations
from limner.evaluation.measure import find_weights
from limner.evaluation.metrics import FIGURES
from limner.evaluation.segmentation.label_files import own_class_map, own_labels
from limner.evaluation.segmentation.scoring import (
    Segmentation,
    check_alignment,
    segmentation,
    without_seg,
)
from limner.files import write_from
from limner.inference import Translator, shown_source
from limner.objective import Objective
from limner.sheets import sample_sheet, spread
from limner.training.held_out import held_out_losses
from limner.training.state import State

SHEET_ROWS = 8


@dataclass(frozen=True)
class Samples:
    """Writes RUN/samples/STEP.jpg: source, output and target of the same few pairs each time."""

    run: Path
    dataset: PairedDataset

    def __call__(self, state: State) -> Path:
        """Write the sheet of the present step and return its path."""
        translator = _translator(state)
        rows, names = [], []
        for index in spread(len(self.dataset), SHEET_ROWS):
            pair = self.dataset[index]
            picture = translator.translate_sample(pair)
            rows.append([shown_source(state.config, pair["source"]), picture, pair["target"]])
            names.append(pair["name"])
        sheet = sample_sheet(rows, titles=["source", "output", "target"], names=names)
        path = self.run / "samples" / f"{state.step:08d}.jpg"
        write_from(path, partial(sheet.save, format="JPEG", quality=90))
        return path


@dataclass(frozen=True)
class Validation:
    """Measures the generator on held-out pairs with the functions of `limner evaluate`.

    Making one finds the metrics' weights, so that it fails before training starts.

    Raises:
        ConfigError: a metric is unknown. WeightsError: weights are missing.
    """

    dataset: PairedDataset
    metrics: tuple[str, ...]
    images: int
    weights: Path | None
    objective: Objective
    segmentation: Segmentation | None = None

    def __post_init__(self) -> None:
        find_weights(without_seg(self.metrics, self.segmentation), weights=self.weights)

    def __call__(self, state: State) -> dict[str, float]:
        """Return the value of each metric, and of each term of the losses as `val/g/l1`."""
        translator = _translator(state)
        scores = measure_translations(
            translator,
            self.dataset,
            metrics=self.metrics,
            images=self.images,
            weights=self.weights,
            device=state.fabric.device,
            segmentation=self.segmentation,
        )
        losses = held_out_losses(state, self.objective, self.dataset, images=self.images)
        return {**scores.values, **losses}


def _translator(state: State) -> Translator:
    encoder = None if state.encoder is None else state.encoder.plain
    return Translator(state.picture_network, state.config, encoder=encoder)


def open_validation(
    config: Config,
    dataset: PairedDataset,
    *,
    weights: Path | None,
    objective: Objective,
    device: torch.device | str,
) -> Validation:
    """Return the validation of a training, after a look at whether it will be able to measure.

    Raises:
        ConfigError: a metric cannot measure such pictures, or so few of them; or as
            `segmentation_of`. WeightsError: weights are missing.
    """
    settings = config.validation
    task = segmentation_of(config, device=device)
    count = min(len(dataset), settings.images)
    check_metrics(config, settings.metrics, segmentation=task, images=count)
    return Validation(dataset, settings.metrics, settings.images, weights, objective, task)


def segmentation_of(config: Config, *, device: torch.device | str) -> Segmentation | None:
    """Return what the metric seg needs during training; None where it is not asked for.

    Raises:
        ConfigError: the segmenter is not named, or the data set tells no label maps or classes.
    """
    settings = config.validation
    if not settings.seg:
        return None
    if settings.segmenter is None:
        raise ConfigError(
            "seg among validation.metrics needs a segmenter: set validation.segmenter"
        )
    check_alignment(config.data.mode)
    data = Path(config.data.root)
    labels = own_labels(config, data, settings.split)
    return segmentation(
        segmenter=settings.segmenter,
        labels=labels,
        class_map=settings.class_map or own_class_map(config, data, settings.split),
        size=settings.segmentation_size,
        device=device,
    )


def is_better(metric: str, new: float, old: float | None) -> bool:
    """Whether `new` beats `old` in the sense of the metric; anything beats None."""
    if old is None:
        return True
    return new > old if FIGURES[metric].better == "higher" else new < old
