"""Pairs translated and measured in memory: the validation of a training.

`limner evaluate` measures the files that it writes, this the same 8-bit pictures before they are
files; generator, seed, order and metrics are the same, and so are the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from limner.data import PairedDataset
from limner.evaluation.measure import SEED, measure
from limner.evaluation.metrics import METRICS, Scores, chosen
from limner.evaluation.segmentation.labelmaps import scenes_in_memory
from limner.evaluation.segmentation.results import merged, others_than_seg
from limner.evaluation.segmentation.scoring import Segmentation, score_pictures
from limner.inference import Translator, picture_suffix, to_bytes


def measure_translations(
    translator: Translator,
    pairs: PairedDataset,
    *,
    metrics: Sequence[str],
    images: int | None = None,
    weights: Path | None = None,
    device: str | torch.device = "cpu",
    seed: int = SEED,
    segmentation: Segmentation | None = None,
) -> Scores:
    """Return the scores of a generator's pictures of `pairs`, without a file being written.

    Args:
        translator: the generator; dropout, where it stays on, is drawn from `seed`.
        pairs: sources and targets; the first `images` of them are measured.
        metrics, weights, device, seed, segmentation: as for `limner.evaluation.evaluate.evaluate`.
    """
    translator.seed = seed
    count = min(len(pairs), images or len(pairs))
    # The order in which a folder of these pictures is read: KID's subsets depend on it.
    rest = others_than_seg(metrics, segmentation)
    paired = any(METRICS[name].paired for name in chosen(rest)) if rest else True
    suffix = "" if paired else picture_suffix(translator.config.data.channels[1])
    order = sorted(range(count), key=lambda index: pairs.pairs[index].name + suffix)
    real, fake, names = [], [], []
    for index in order:
        pair = pairs[index]
        real.append(to_bytes(pair["target"]))
        fake.append(to_bytes(translator.of(pair)))
        names.append(pair["name"])
    scores = Scores({}, {}, {})
    if rest:
        scores = measure(
            real,
            fake,
            metrics=rest,
            weights=weights,
            device=device,
            seed=seed,
            names=names,
            bootstrap=0,  # training keeps the values only
        )
    if segmentation is None:
        return scores
    scenes = scenes_in_memory(names, segmentation.labels)
    found = score_pictures(segmentation, scenes, real, fake)
    return merged(scores, segmentation, found, seed=seed)
