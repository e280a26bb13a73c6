"""Several runs measured on the same pairs and compared: image by image, and where most."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import torch

from limner import __version__
from limner.config import Config, differences, read_config
from limner.errors import ConfigError, DataError
from limner.evaluation import statistics
from limner.evaluation.evaluate import evaluate
from limner.evaluation.measure import SEED, find_weights
from limner.evaluation.metrics import FIGURES
from limner.evaluation.provenance import Evaluation
from limner.evaluation.segmentation.scoring import Segmentation, without_seg
from limner.evaluation.statistics import holm, paired_test
from limner.networks.pretrained import Progress
from limner.run import checkpoint_folder

BELIEVED = 0.05
"""The corrected p-value below which a difference is taken for one."""
MOST_DIFFERENT = 12
"""Images listed for each metric."""

Results = Mapping[str, Evaluation]
"""What measuring each run gave, by the run's label."""


@dataclass(frozen=True)
class Test:
    """Two runs by one metric: the mean difference a - b, and whether it is more than chance.

    `interval` is that of the mean difference, `a_better` and `b_better` on how many images each
    is better, `p` the p-value as it is and `p_holm` corrected for all tests; `better` is the label
    of the better run where the difference is believed.
    """

    metric: str
    a: str
    b: str
    mean_difference: float
    interval: tuple[float, float]
    a_better: int
    b_better: int
    p: float
    p_holm: float = 1.0
    better: str | None = None


@dataclass(frozen=True)
class Contrast:
    """Runs against each other by their results.

    `tests`: for each metric with a value an image and each two runs. `method` says how. `best`:
    the best run by each metric, `clear` where every other one differs by more than chance.
    `differ`: for each such metric the images on which the runs lie furthest apart. `notes`: what to
    bear in mind.
    """

    images: int
    tests: list[Test]
    method: dict[str, Any]
    best: dict[str, dict[str, Any]]
    differ: dict[str, list[dict[str, Any]]]
    notes: list[str]


@dataclass(frozen=True)
class Comparison:
    """Several runs measured on one split: results and folders by label, and their contrast.

    `settings` are the keys in which the runs' configurations differ, with each run's value.
    """

    split: str
    data: str
    command: str
    version: str
    folders: dict[str, str]
    runs: dict[str, Evaluation]
    settings: dict[str, dict[str, object]]
    contrast: Contrast

    def to_json(self) -> dict[str, Any]:
        """Return the contents of comparison.json."""
        plain = {k: v for k, v in vars(self).items() if k != "contrast"}
        runs = {label: one.to_json() for label, one in self.runs.items()}
        return {**plain, "runs": runs, **asdict(self.contrast)}


def compare_results(results: Results, *, seed: int) -> Contrast:
    """Compare runs by the results that measuring them gave; `DataError` for different images."""
    names = _common_names(results)
    groups = next(iter(results.values())).scores.groups
    units = f"{len(set(groups))} groups" if groups else "images"
    raw: list[Test] = []
    differ: dict[str, list[dict[str, Any]]] = {}
    for metric in _paired_metrics(results, len(names)):
        values = {label: one.scores.per_image[metric] for label, one in results.items()}
        raw += [_test(metric, a, b, values, groups, seed) for a, b in combinations(values, 2)]
        differ[metric] = _most_different(names, values)
    corrected = holm([test.p for test in raw])
    tests = [_corrected(test, p) for test, p in zip(raw, corrected, strict=True)]
    return Contrast(
        images=len(names),
        tests=tests,
        method={
            "test": "paired permutation test of the mean difference, two-sided",
            "sign_patterns": statistics.FLIPS,
            "correction": "Holm, over all metrics and pairs of runs",
            "interval": f"percentile bootstrap over {units}",
            "units": units,
            "draws": statistics.DRAWS,
            "level": statistics.LEVEL,
            "believed_below": BELIEVED,
            "seed": seed,
        },
        best=_best(results, tests),
        differ=differ,
        notes=_notes(results, len(names)),
    )


def _corrected(test: Test, p: float) -> Test:
    """Return the test with its corrected p-value and the better run, if one is believed."""
    sign = test.mean_difference * (1 if FIGURES[test.metric].better == "higher" else -1)
    better = None if p >= BELIEVED else test.a if sign > 0 else test.b
    return replace(test, p_holm=p, better=better)


def _common_names(results: Results) -> list[str]:
    (first, one), *others = results.items()
    names = list(one.names)
    for label, other in others:
        if list(other.names) != names:
            raise DataError(
                f"{first} and {label} were measured on different images: evaluate both on one split"
            )
    return names


def _paired_metrics(results: Results, count: int) -> list[str]:
    """Return the metrics that every run has a value an image of."""
    first = next(iter(results.values())).scores.per_image
    return [
        metric
        for metric in first
        if metric in FIGURES
        and all(len(one.scores.per_image.get(metric, ())) == count for one in results.values())
    ]


def _test(
    metric: str,
    a: str,
    b: str,
    values: Mapping[str, Sequence[float]],
    groups: Sequence[str],
    seed: int,
) -> Test:
    apart = [x - y for x, y in zip(values[a], values[b], strict=True)]
    outcome = paired_test(apart, seed=seed, groups=groups)
    up, down = sum(d > 0 for d in apart), sum(d < 0 for d in apart)
    a_better, b_better = (up, down) if FIGURES[metric].better == "higher" else (down, up)
    return Test(
        metric=metric,
        a=a,
        b=b,
        mean_difference=outcome.mean,
        interval=outcome.interval,
        a_better=a_better,
        b_better=b_better,
        p=outcome.p,
    )


def widest_first(values: Collection[Sequence[float]]) -> list[int]:
    """Return the places of images by how far their values lie apart, the furthest first.

    Args:
        values: a sequence a run, each with a value an image.
    """
    apart = [max(column) - min(column) for column in zip(*values, strict=True)]
    return sorted(range(len(apart)), key=lambda k: -apart[k])


def _most_different(
    names: Sequence[str], values: Mapping[str, Sequence[float]]
) -> list[dict[str, Any]]:
    """Return the images with the widest spread of a metric over the runs, the widest first."""
    order = widest_first(values.values())[:MOST_DIFFERENT]
    return [
        {"name": names[k], "values": {label: each[k] for label, each in values.items()}}
        for k in order
    ]


def _best(results: Results, tests: Sequence[Test]) -> dict[str, dict[str, Any]]:
    best: dict[str, dict[str, Any]] = {}
    shared = [
        metric
        for metric in next(iter(results.values())).scores.values
        if metric in FIGURES and all(metric in one.scores.values for one in results.values())
    ]
    for metric in shared:
        values = {label: one.scores.values[metric] for label, one in results.items()}
        pick = max if FIGURES[metric].better == "higher" else min
        label = pick(values, key=lambda name: values[name])
        won = [t.better == label for t in tests if t.metric == metric and label in (t.a, t.b)]
        best[metric] = {"run": label, "clear": bool(won) and all(won)}
    return best


def _notes(results: Results, count: int) -> list[str]:
    """Return in sentences what makes figures less than comparable."""
    notes = []
    keys = ("size", "mode", "channels", "convert", "interpolation")
    prepared = [one.provenance.get("preparation", {}) for one in results.values()]
    changed = [key for key in keys if any(one.get(key) != prepared[0].get(key) for one in prepared)]
    if changed:
        differing = "; ".join(
            f"{label}: {', '.join(f'{key} {one.get(key)}' for key in changed)}"
            for label, one in zip(results, prepared, strict=True)
        )
        notes.append(
            f"The runs prepare their pictures differently ({differing}), so each was measured "
            "against targets of its own; the figures compare the runs as they are, not their "
            "networks."
        )
    if count < 20:
        notes.append(
            f"{count} image{'' if count == 1 else 's'} can show a large difference only; the "
            "intervals are rough."
        )
    return notes


def compare_runs(
    runs: Sequence[Path],
    data: Path,
    *,
    split: str = "test",
    metrics: Sequence[str] = ("l1", "psnr", "ssim"),
    checkpoint: str = "best",
    weights: Path | None = None,
    device: str | torch.device = "cpu",
    seed: int = SEED,
    progress: Progress | None = None,
    command: str = "",
    segmentation: Segmentation | None = None,
    statistics: Literal["running", "batch"] | None = None,
    dropout: bool | None = None,
) -> Comparison:
    """Evaluate every run on the same split and compare them; arguments as for `evaluate`.

    Each run is measured as by itself, into RUN/evaluation/SPLIT; an earlier evaluation serves
    only where it is provably the same (`provenance.earlier`).

    Raises:
        ConfigError: fewer than two runs, one given twice, or runs of opposite directions.
        LimnerError: as `evaluate`.
    """
    labelled = labels(runs)
    find_weights(without_seg(metrics, segmentation), weights=weights)
    configs = {}
    for label, run in labelled.items():
        checkpoint_folder(run, checkpoint)
        configs[label] = read_config(run / "config.yaml")
    directions = {label: config.data.direction or "AtoB" for label, config in configs.items()}
    if len(set(directions.values())) > 1:
        ways = ", ".join(f"{label} {way}" for label, way in directions.items())
        raise ConfigError(
            f"these runs translate in opposite directions ({ways}): compare those of one direction"
        )
    results = {
        label: evaluate(
            run,
            data,
            split=split,
            metrics=metrics,
            checkpoint=checkpoint,
            weights=weights,
            device=device,
            seed=seed,
            progress=_named(progress, label),
            command=command,
            reuse=True,
            segmentation=segmentation,
            statistics=statistics,
            dropout=dropout,
        )
        for label, run in labelled.items()
    }
    return Comparison(
        split=split,
        data=str(data),
        command=command,
        version=__version__,
        folders={label: str(run) for label, run in labelled.items()},
        runs=results,
        settings=_settings(configs),
        contrast=compare_results(results, seed=seed),
    )


def labels(runs: Sequence[Path]) -> dict[str, Path]:
    """Return the runs by what they are called: their folders' names, or paths where those clash.

    Raises:
        ConfigError: fewer than two runs, or one given twice.
    """
    if len(runs) < 2:
        raise ConfigError("a comparison needs at least two runs: name them before the data set")
    places = [run.resolve() for run in runs]
    for place in places:
        if places.count(place) > 1:
            raise ConfigError(f"{place} is given twice: name each run once")
    names = [place.name for place in places]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    return dict(zip(names, runs, strict=True))


def _named(progress: Progress | None, label: str) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total, what: progress(done, total, f"{label}: {what}")


def _settings(configs: Mapping[str, Config]) -> dict[str, dict[str, object]]:
    """Return the keys in which the configurations differ, with each run's value."""
    first, *others = configs.values()
    changed = [differences(first, other) for other in others]
    keys = sorted({key for change in changed for key in change} - {"data.root"})
    settings: dict[str, dict[str, object]] = {}
    for key in keys:
        base = next(change[key][0] for change in changed if key in change)
        values = [base, *(change[key][1] if key in change else base for change in changed)]
        settings[key] = dict(zip(configs, values, strict=True))
    return settings
