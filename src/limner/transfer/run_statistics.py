"""What a run does with some pairs: what its layers see, how its pictures fall, what it thinks.

Measured of the run's own pairs once and kept in the run (`reference.json`); and of new ones, to be
held against them.
"""

from __future__ import annotations

import contextlib
import copy
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limner.config import Config
from limner.data import PairedDataset, Sample, splits
from limner.errors import DiskError, LimnerError
from limner.evaluation.metrics.per_pixel import SSIM_SMALLEST, edge_f, ssim
from limner.files import read_json, write_text
from limner.inference import Translator, as_for_pictures, open_pairs, to_bytes
from limner.run import checkpoint_folder, load_weights
from limner.training.carry_over import fresh_discriminators
from limner.training.norm_statistics import re_estimate, spread_over, stored
from limner.training.parts import FIELDS, parts_of
from limner.training.state import build_discriminators

PAIRS = 48
"""Pairs that are looked at, spread over the split."""
REFERENCE = "reference.json"
VERSION = 3
"""Of what `REFERENCE` holds."""
SATURATION = 0.98
"""Beyond this share of the range a value counts as saturated."""


@dataclass(frozen=True)
class Seen:
    """What a run does with some pairs: a mean and a variance a channel of every layer, and so on.

    Args:
        layers: by name the mean over pairs of each channel's mean and variance.
        error: of the pictures against their targets, see `dissimilarity`.
        deviation: of that, over pairs.
        estimated_error: the same once batch norms' stored statistics were estimated anew on the
            sources; None where the run stores or uses none, or where that was not tried.
        stranger_error: of the pictures against targets of other pairs; None where there is but one.
        saturated: share of values near the ends of the range.
        colours: mean and standard deviation of each channel of sources and targets.
        real, fake: the discriminators' mean logit of targets and pictures; None without one.
        pairs: how many.
    """

    layers: dict[str, tuple[list[float], list[float]]]
    error: float
    deviation: float
    estimated_error: float | None
    stranger_error: float | None
    saturated: float
    colours: dict[str, list[float]]
    real: float | None
    fake: float | None
    pairs: int

    @property
    def told(self) -> float | None:
        """What pictures tell of their own targets: 0 nothing, since other pairs' suit as well.

        With statistics estimated anew where those serve better.
        """
        if not self.stranger_error:
            return None
        errors = [self.error, *([] if self.estimated_error is None else [self.estimated_error])]
        return 1 - min(errors) / self.stranger_error


def dissimilarity(target: Tensor, picture: Tensor) -> float:
    """Return how unlike two pictures C x H x W in [-1, 1] are, 0 where they are equal.

    The mean of three losses of likeness: structure (SSIM, Wang et al. 2004) at full and at a
    quarter of the resolution, and edges that are not met (`edge_f`). It needs no weights; it is
    there to order data sets as perceptual distances do, not to be published.
    """
    real, fake = to_bytes(target[None].float()), to_bytes(picture[None].float())
    parts = [1 - float(edge_f(real, fake))]
    for scale in (1, 4):
        if min(real.shape[-2:]) // scale >= SSIM_SMALLEST:
            shrunk = [_shrunk(image, scale) for image in (real, fake)]
            parts.append(1 - float(ssim(*shrunk)))
    return sum(parts) / len(parts)


def _shrunk(image: Tensor, scale: int) -> Tensor:
    if scale == 1:
        return image
    return nn.functional.avg_pool2d(image.float(), scale).round().to(torch.uint8)


def look(
    run: Path,
    config: Config,
    translator: Translator,
    pairs: PairedDataset,
    *,
    prepare: Callable[[Sample], Sample] = lambda sample: sample,
    rows: list[tuple[Tensor, Tensor, Tensor]] | None = None,
    estimate: bool = False,
) -> Seen:
    """Let a run work on some pairs and return what was seen.

    Args:
        run, config, translator: the run.
        pairs: not augmented.
        prepare: changes a sample before it is translated.
        rows: gets source, picture and target of the first eight.
        estimate: try statistics estimated anew, too.
    """
    discriminators = _discriminators(run, config, device=translator.device)
    indices = spread_over(len(pairs), PAIRS)
    anew = None
    if estimate and config.inference.statistics == "running" and stored(translator.generator):
        anew = _estimated_anew(config, translator, [prepare(pairs[index]) for index in indices])
    layers: dict[str, list[Tensor]] = {}
    colours: dict[str, list[Tensor]] = {"source": [], "target": []}
    errors, estimated, saturated, real, fake = [], [], [], [], []
    shown: list[tuple[Tensor, Tensor]] = []
    for index in indices:
        sample = prepare(pairs[index])
        with _watched(translator.generator, layers):
            picture = translator.translate_sample(sample)
        target = sample["target"]
        errors.append(dissimilarity(target, picture))
        shown.append((target, picture))
        saturated.append(float((picture.abs() > SATURATION).float().mean()))
        if anew is not None:
            estimated.append(dissimilarity(target, anew.translate_sample(sample)))
        for name in ("source", "target"):
            if sample[name].is_floating_point():
                values = sample[name].flatten(1)
                colours[name].append(torch.stack([values.mean(1), values.std(1)]))
        if discriminators:
            real.append(_opinion(discriminators, config, sample, target))
            fake.append(_opinion(discriminators, config, sample, picture))
        if rows is not None and len(rows) < 8:
            rows.append((sample["source"], picture, target))
    return Seen(
        layers={
            name: tuple(torch.stack(seen).mean(0).tolist())  # pyright: ignore[reportArgumentType]
            for name, seen in layers.items()
        },
        error=_mean(errors),
        deviation=statistics.stdev(errors) if len(errors) > 1 else 0.0,
        estimated_error=_mean(estimated) if estimated else None,
        stranger_error=_strangers(shown),
        saturated=_mean(saturated),
        colours={
            name: torch.stack(seen).mean(0).flatten().tolist()
            for name, seen in colours.items()
            if seen
        },
        real=_mean(real) if real else None,
        fake=_mean(fake) if fake else None,
        pairs=len(indices),
    )


def _strangers(shown: list[tuple[Tensor, Tensor]]) -> float | None:
    """Return how unlike pictures are to targets of other pairs, far off in the order of the set."""
    away = len(shown) // 2
    others = [*shown[away:], *shown[:away]] if away else []
    values = [
        dissimilarity(target, picture)
        for (_, picture), (target, _) in zip(shown, others, strict=False)
        if target.shape == picture.shape
    ]
    return _mean(values) if values else None


NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)


def watched_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers to watch: norms, or where there are none convolutions."""
    modules = dict(network.named_modules())
    norms: dict[str, nn.Module] = {
        name: module for name, module in modules.items() if isinstance(module, NORMS)
    }
    return norms or {
        name: module
        for name, module in modules.items()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    }


@contextlib.contextmanager
def _watched(network: nn.Module, layers: dict[str, list[Tensor]]) -> Iterator[None]:
    """Within, add each channel's mean and variance over pixels of every watched layer's input."""

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].float().flatten(2)[0]
            spread = values.var(1) if values.shape[1] > 1 else torch.zeros(len(values))
            layers.setdefault(name, []).append(torch.stack([values.mean(1).cpu(), spread.cpu()]))

        return look

    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in watched_layers(network).items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _estimated_anew(config: Config, translator: Translator, samples: list[Sample]) -> Translator:
    """Return a copy whose batch norms have stored the statistics of these samples' sources."""
    network = copy.deepcopy(translator.generator)
    re_estimate(network, config, samples, encoder=translator.encoder)
    return Translator(network, config, encoder=translator.encoder)


def reference(
    run: Path,
    config: Config,
    translator: Translator,
    *,
    cache_folder: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Seen | None:
    """Return what a run does with its own pairs; None where they are gone and nothing was kept.

    Layers and colours are those of its training pairs, since they are what it learnt from; errors
    and opinions those of held-out ones where there are any, since training pairs are known by
    heart.
    """
    path = run / REFERENCE
    mark = {"version": VERSION, "checkpoint": translator.checkpoint, "pairs": PAIRS}
    with contextlib.suppress(OSError, LimnerError, TypeError, KeyError, ValueError):
        kept = read_json(path)
        if {key: kept[key] for key in mark} == mark:
            return Seen(**kept["seen"])
    root = Path(config.data.root)
    try:
        held_out = [split for split in ("val", "test") if split in splits(root)]
        learnt = open_pairs(config, root, "train", cache_folder=cache_folder)
        other = open_pairs(config, root, held_out[0]) if held_out else None
    except LimnerError:
        return None
    progress("looking at the run's own pairs")
    seen = look(run, config, translator, learnt)
    if other is not None:
        unknown = look(run, config, translator, other)
        seen = replaced(seen, unknown)
    with contextlib.suppress(DiskError, OSError):  # a run that cannot be written to is read again
        write_text(path, json.dumps({**mark, "seen": asdict(seen)}))
    return seen


def replaced(learnt: Seen, held_out: Seen) -> Seen:
    """Layers and colours of one, errors and opinions of the other."""
    return Seen(**{**asdict(held_out), "layers": learnt.layers, "colours": learnt.colours})


def _discriminators(run: Path, config: Config, *, device: torch.device) -> list[nn.Module]:
    """The run's discriminators; none where it was imported without and has not learnt since."""
    if fresh_discriminators(run, config):
        return []
    folder = checkpoint_folder(run)
    files = [folder / f"discriminator_{k}.safetensors" for k in range(len(config.discriminators))]
    networks = build_discriminators(config)
    for network, file in zip(networks, files, strict=True):
        load_weights(network, file)
        network.to(device)
    return networks


def _opinion(
    discriminators: list[nn.Module], config: Config, sample: Sample, picture: Tensor
) -> float:
    """The mean logit of all scales and positions: above 0 is taken for real under vanilla."""
    whole: dict[str, Any] = dict(sample)
    batch = {name: whole[name][None] for name in FIELDS if name in whole}
    (part,) = parts_of(batch, 1, config.expansion)
    logits = []
    for network, settings in zip(discriminators, config.discriminators, strict=True):
        like = next(network.parameters())
        seen = [part.source] if settings.conditional else []
        shown = torch.cat([image.to(like) for image in (*seen, picture[None])], dim=1)
        with as_for_pictures(network, statistics="batch", dropout=False) as discriminator:
            logits += [float(scale[-1].float().mean()) for scale in discriminator(shown)]
    return _mean(logits)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
