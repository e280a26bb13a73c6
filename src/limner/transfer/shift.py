"""How far new data lies from what a run has learnt, before anything is trained on it.

The run's generator translates some of the new sources as it stands. What its layers see is held
against what they saw of the run's own pairs, its pictures against the new targets, the
discriminator's opinion of the new pictures against that of the old ones. What the run's own pairs
gave is kept in the run (`reference.json`), so that they are needed once.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limner.config import Config, LabelSettings, read_config, replace
from limner.data import Sample, class_ids, derive_labels, find_pairs, header
from limner.findings import Finding, worst_first
from limner.inference import Translator, open_pairs
from limner.transfer.run_statistics import (
    Seen,
    look,
    reference,
    watched_layers,
)

# Each with what it was set from: docs/transfer.md has the figures.
THRESHOLDS = {
    "error_ratio": 1.1,  # beside the chance of few pairs; other frames: 1.02; CamVid's dusk: 1.18
    "layer_shift": 0.35,  # the median layer; other frames: 0.02; dusk: 0.06
    "restored": 0.4,  # share of what got worse that statistics estimated anew win back
    "told": 0.1,  # what is left of what pictures tell of their targets; other tasks: 0.05
    "told_unseen": 0.3,  # taken for what a run tells of its own pairs where these are gone
    "lost_labels": 0.5,  # share of pixels whose class the run does not know
    "colours": 0.5,  # standard deviations, or powers of e; dusk: 0.8
    "saturated": 0.2,  # share of values beyond 98 % of the range
}


@dataclass(frozen=True)
class LayerShift:
    """What a normalised layer sees of the new data against what it knows.

    Args:
        name: the module's, within the generator.
        mean_sigmas: the root mean square over channels of the shift of the mean, in standard
            deviations of the layer's own data.
        std_ratio: new standard deviation by the old one, the geometric mean over channels.
        stored: against the statistics that the layer has stored, or those of the run's pairs.
    """

    name: str
    mean_sigmas: float
    std_ratio: float
    stored: bool

    @property
    def size(self) -> float:
        """Both in one number: deviations, and powers of e."""
        return self.mean_sigmas + abs(math.log(max(self.std_ratio, 1e-6)))


@dataclass(frozen=True)
class Shift:
    """How far a data set lies from a run; fields as `limner shift --json` has them."""

    distance: float
    layers: tuple[LayerShift, ...]
    discriminator: dict[str, float | None] | None
    labels: dict[str, Any] | None
    recommendation: Literal["use", "re-estimate", "fine-tune", "train-anew"]
    findings: tuple[Finding, ...]
    rows: tuple[tuple[Tensor, Tensor, Tensor], ...] = field(repr=False, default=())
    """Source, the run's picture and target of some pairs, for a page."""

    def to_json(self) -> dict[str, Any]:
        """The shift as JSON has it."""
        return {
            "distance": self.distance,
            "layers": [asdict(layer) for layer in self.layers],
            "discriminator": self.discriminator,
            "labels": self.labels,
            "recommendation": self.recommendation,
            "findings": [finding.to_json() for finding in self.findings],
        }


def shift(
    run: Path,
    data: Path,
    *,
    split: str = "train",
    device: str = "cpu",
    cache_folder: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Shift:
    """Return how far `data` lies from what `run` has learnt.

    Args:
        run: a run's folder, its own or imported.
        data: new pairs, in any form that training takes.
        split: of the new data.
        device: where the networks work.
        cache_folder: for decoded images; None for none.
        progress: told what is being done.

    Raises:
        CheckpointError: the run has no checkpoint. DataError: the pairs cannot be read.
    """
    config = read_config(run / "config.yaml")
    translator = Translator.load(run, device=device, backend="eager")
    prepared, labels, ids = _prepared(config, data, split, memory=cache_folder)
    pairs = open_pairs(prepared, data, split, cache_folder=cache_folder)
    known = reference(run, config, translator, cache_folder=cache_folder, progress=progress)
    progress("looking at the new pairs")
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    renumbering = _Renumbering(config, ids)
    new = look(run, config, translator, pairs, prepare=renumbering, rows=rows, estimate=True)
    layers = layer_shifts(translator.generator, known, new)
    # Stored statistics lag behind the weights, so that own pairs are off, too: what counts is how
    # much further the new ones are.
    moved = layer_shifts(translator.generator, known, new, stored=False) if known else layers
    discriminator = None
    if new.real is not None and new.fake is not None:
        discriminator = {
            "real_new": new.real,
            "fake_new": new.fake,
            "real_old": None if known is None else known.real,
            "fake_old": None if known is None else known.fake,
        }
    recommendation = recommended(moved, new, known, lost=renumbering.lost)
    findings = [
        *_of_labels(labels, lost=renumbering.lost),
        *_of_layers(moved),
        *_of_pictures(new, known),
        *_of_colours(new, known),
        _in_short(recommendation, new, known, run=run, data=data),
    ]
    return Shift(
        distance=round(new.error + 0.1 * _squashed(moved) + renumbering.lost, 6),
        layers=tuple(layers),
        discriminator=discriminator,
        labels=labels,
        recommendation=recommendation,
        findings=tuple(worst_first(findings)),
        rows=tuple(rows),
    )


def layer_shifts(
    network: nn.Module, known: Seen | None, new: Seen, *, stored: bool = True
) -> list[LayerShift]:
    """Return the shift of every layer that has something to be held against.

    Args:
        network: the generator, whose norms may have statistics stored.
        known: what it did with the run's own pairs, where that is known.
        new: what it does with new ones.
        stored: hold layers against the statistics that they store, where they do.
    """
    shifts = []
    modules = watched_layers(network)
    for name, (mean, variance) in new.layers.items():
        module = modules[name]
        stores = stored and getattr(module, "running_mean", None) is not None
        if stores:
            before = (module.running_mean, module.running_var)
        elif known is not None and name in known.layers:
            before = tuple(torch.tensor(values) for values in known.layers[name])
        else:
            continue
        old_mean, old_variance = (torch.as_tensor(v).detach().float().cpu() for v in before)
        now, spread = torch.tensor(mean), torch.tensor(variance)
        # A channel that never moved has no deviation to count in.
        floor = 1e-4 * old_variance.mean() + 1e-8
        sigmas = (now - old_mean).square() / (old_variance + floor)
        ratio = ((spread + floor) / (old_variance + floor)).log().mean() / 2
        shifts.append(
            LayerShift(
                name=name,
                mean_sigmas=round(float(sigmas.mean().sqrt()), 6),
                std_ratio=round(float(ratio.exp()), 6),
                stored=stores,
            )
        )
    return shifts


Recommendation = Literal["use", "re-estimate", "fine-tune", "train-anew"]


def recommended(
    layers: Sequence[LayerShift], new: Seen, known: Seen | None, *, lost: float
) -> Recommendation:
    """Return what to do with a run for new data, from what was seen.

    A source that means something else cannot be mended by more training of what is there: its
    classes are unknown, or pictures suit other pairs' targets as well as their own; pictures
    as near to their targets as those of the run's own pairs need nothing; where statistics that
    were estimated anew win most of the difference back, statistics are what is wrong.

    Args:
        layers: the shift of the generator's layers.
        new, known: what the run does with the new pairs, and with its own where that is known.
        lost: the share of pixels whose class the run does not know.
    """
    told_before = THRESHOLDS["told_unseen"] if known is None else known.told
    if new.told is not None and told_before and new.told < THRESHOLDS["told"] * told_before:
        return "train-anew"
    if lost > THRESHOLDS["lost_labels"]:
        return "train-anew"
    near = _median_shift(layers) < THRESHOLDS["layer_shift"]
    ratio, estimated = THRESHOLDS["error_ratio"], new.estimated_error
    if known is None:
        if layers and near:
            return "use"
        won_back = estimated is not None and ratio * estimated < new.error
        return "re-estimate" if won_back else "fine-tune"
    spread = max(new.deviation, known.deviation)
    chance = 2 * spread * math.sqrt(1 / new.pairs + 1 / known.pairs)
    if near and new.error <= ratio * known.error + chance:
        return "use"
    worse = new.error - known.error
    if estimated is not None and new.error - estimated > THRESHOLDS["restored"] * worse > 0:
        return "re-estimate"
    return "fine-tune"


def _median_shift(layers: Sequence[LayerShift]) -> float:
    return statistics.median(layer.size for layer in layers) if layers else 0.0


def _squashed(layers: Sequence[LayerShift]) -> float:
    """The layers' shift from 0 to 1, so that it orders what pictures alone do not tell apart."""
    return 1 - math.exp(-_median_shift(layers))


def _prepared(
    config: Config, data: Path, split: str, *, memory: Path | None
) -> tuple[Config, dict[str, Any] | None, dict[int, int | None] | None]:
    """Return the run's settings for reading the new data, and how its labels differ.

    The third tells the run's id of each of the new data's ids, None where the class has none; it is
    None where sources are pictures or ids need no change.
    """
    config = replace(config, {"data.root": str(data), "data.type": {}})
    if config.data.labels is None:
        pairs = find_pairs(data, split, direction=config.data.direction)
        for pair in pairs[:1]:
            channels = (header(pair.source)[0], header(pair.target)[0])
            if channels != config.data.channels:
                config = replace(config, {"data.convert": True})
        return config, None, None
    old = config.data.labels
    facts = derive_labels(data, direction=config.data.direction, memory=memory)
    settings = {key: getattr(facts, key) for key in LabelSettings.model_fields}
    new = LabelSettings(**settings)
    settings["edges"] = bool(old.edges) and new.edges
    config = replace(config, {"data.labels": settings})
    before, after = class_ids(old, new)
    ids = {k: before.get(name) for name, k in after.items()}
    renumbered = {name: [before[name], k] for name, k in after.items() if before.get(name, k) != k}
    differences = {
        "new": [name for name in after if name not in before],
        "missing": [name for name in before if name not in after],
        "renumbered": renumbered,
    }
    return config, differences, ids


class _Renumbering:
    """Gives the new data's classes the ids that the run knows them by; counts what it knows not."""

    def __init__(self, config: Config, ids: dict[int, int | None] | None) -> None:
        self.ids, self.pixels, self.unknown = ids, 0, 0
        labels = config.data.labels
        self.stand_in = 0 if labels is None or labels.void is None else labels.void
        self.edges = labels is not None and bool(labels.edges)

    @property
    def lost(self) -> float:
        """The share of pixels whose class the run does not know."""
        return self.unknown / self.pixels if self.pixels else 0.0

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with its source renumbered."""
        if self.ids is None:
            return sample
        source: Tensor = sample["source"]
        renumbered = torch.full_like(source, self.stand_in)
        self.pixels += source.numel()
        for theirs, ours in self.ids.items():
            mask = source == theirs
            if ours is None:
                self.unknown += int(mask.sum())
            else:
                renumbered[mask] = ours
        changed = {**sample, "source": renumbered}
        if self.edges and "instance" not in sample:  # no instances: the classes are all there is
            changed["instance"] = renumbered
        return changed  # pyright: ignore[reportReturnType]


def _of_labels(labels: dict[str, Any] | None, *, lost: float) -> list[Finding]:
    if labels is None or not any(labels.values()):
        return []
    new, missing, renumbered = labels["new"], labels["missing"], labels["renumbered"]
    words = [
        f"{len(group)} {word} ({', '.join(list(group)[:5])})"
        for word, group in (("new", new), ("missing", missing), ("renumbered", renumbered))
        if group
    ]
    return [
        Finding(
            name="labels",
            severity="warning" if lost else "note",
            message=f"of the classes {'; '.join(words)}: {lost:.0%} of the pixels are of classes "
            "that the run does not know",
            cure="train with --from, which carries classes over by their names",
            evidence={"new": len(new), "missing": len(missing), "lost": lost},
        )
    ]


def _of_layers(layers: Sequence[LayerShift]) -> list[Finding]:
    if _median_shift(layers) < THRESHOLDS["layer_shift"]:
        return []
    worst = max(layers, key=lambda layer: layer.size)
    return [
        Finding(
            name="statistics",
            severity="warning",
            message=f"the generator's layers see other statistics than in training, half of them "
            f"by {_median_shift(layers):.2f} or more; most {worst.name}, whose mean is "
            f"{worst.mean_sigmas:.2f} standard deviations off, its own spread "
            f"{worst.std_ratio:.2f} times as wide",
            cure="train --from; --epochs 0 estimates stored statistics alone anew",
            evidence={
                "median": _median_shift(layers),
                "worst": worst.name,
                "mean_sigmas": worst.mean_sigmas,
                "std_ratio": worst.std_ratio,
            },
        )
    ]


def _of_pictures(new: Seen, known: Seen | None) -> list[Finding]:
    found = []
    before = 0.0 if known is None else known.saturated
    if new.saturated > max(THRESHOLDS["saturated"], 2 * before):
        found.append(
            Finding(
                name="saturation",
                severity="warning",
                message=f"{new.saturated:.0%} of the pictures' values lie at the ends of their "
                f"range ({before:.0%} for the run's own pairs)",
                cure="train --from, or look at data.range of both data sets",
                evidence={"new": new.saturated, "old": before},
            )
        )
    return found


def _of_colours(new: Seen, known: Seen | None) -> list[Finding]:
    """Whether sources or targets are lighter, darker, flatter or stronger than the run's own."""
    findings = []
    for name, values in new.colours.items():
        if known is None or name not in known.colours:
            continue
        now, before = (torch.tensor(side).reshape(2, -1) for side in (values, known.colours[name]))
        if now.shape != before.shape:
            continue
        mean, spread = now.mean(1).tolist()
        old_mean, old_spread = before.mean(1).tolist()
        moved = float(((now[0] - before[0]) / before[1].clamp(min=1e-3)).square().mean().sqrt())
        ratio = spread / max(old_spread, 1e-3)
        if (
            moved < THRESHOLDS["colours"]
            and abs(math.log(max(ratio, 1e-3))) < THRESHOLDS["colours"]
        ):
            continue
        findings.append(
            Finding(
                name=f"{name}-values",
                severity="warning",
                message=f"the {name}s' mean is {mean:.2f} with a spread of {spread:.2f}, and was "
                f"{old_mean:.2f} with {old_spread:.2f} (of -1 to 1)",
                cure="train --from; or, where both mean the same, give both one data.range",
                evidence={"mean_sigmas": moved, "spread_ratio": ratio},
            )
        )
    return findings


CURES = {
    "use": "limner translate {run} {data} --out PICTURES",
    "re-estimate": "limner train {data} --from {run} --epochs 0",
    "fine-tune": "limner train {data} --from {run}",
    "train-anew": "limner train {data} --preset PRESET",
}


def _in_short(
    recommendation: Recommendation, new: Seen, known: Seen | None, *, run: Path, data: Path
) -> Finding:
    """What to do, with the command, as the last finding."""
    ratio = None if known is None or not known.error else new.error / known.error
    than = (
        "; its own pairs are not at hand to compare with"
        if ratio is None
        else f", {ratio:.2f} times as far as those of its own pairs"
    )
    evidence: dict[str, float] = {"error_new": new.error, "saturated": new.saturated}
    if known is not None:
        evidence["error_old"] = known.error
    if new.stranger_error is not None:
        evidence["error_other_pairs"] = new.stranger_error
    if new.estimated_error is not None:
        evidence["error_new_estimated"] = new.estimated_error
    return Finding(
        name="recommendation",
        severity="note",
        message=f"{recommendation}: the run's pictures lie {new.error:.2f} from their targets"
        f"{than}",
        cure=CURES[recommendation].format(run=run, data=data),
        evidence=evidence,
    )
