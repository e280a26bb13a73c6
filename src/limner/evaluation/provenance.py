"""What an evaluation came out of, kept in results.json: to repeat it, or to take it again."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from limner import files
from limner.data import PairedDataset
from limner.data.pairs import Pair, files_of
from limner.errors import DataError, FileError
from limner.evaluation.measure import find_weights, versions
from limner.evaluation.metrics import METRICS, SEG, Scores
from limner.inference import Translator
from limner.networks import pretrained

RESULTS = "results.json"
KINDS = ("source", "target", "images")
"""The folders of pictures in RUN/evaluation/SPLIT."""
_LARGEST = 2**30  # bytes of a results.json: a million pictures by every metric


@dataclass(frozen=True)
class Evaluation:
    """A run's figures on a split, as RUN/evaluation/SPLIT/results.json holds them.

    `provenance` is all that the figures depend on (see `provenance_of`), `pictures` the digest of
    the pictures measured, `names` those of the pictures in the order of `scores.per_image`.
    """

    split: str
    checkpoint: str
    images: int
    names: list[str]
    scores: Scores
    data: str
    seed: int
    command: str
    version: str
    provenance: dict[str, Any] = field(default_factory=dict)
    pictures: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the contents of results.json."""
        return {**asdict(self), "scores": self.scores.to_json()}

    @classmethod
    def from_json(cls, content: Any) -> Evaluation:
        """Return the evaluation that `to_json` gave; `DataError` where it is damaged."""
        if not isinstance(content, dict) or content.keys() != {one.name for one in fields(cls)}:
            raise DataError(f"this is no {RESULTS} of an evaluation: evaluate again")
        basis = content["provenance"]
        try:
            form = (basis["asked"]["metrics"], list), (basis["metric_weights"], dict)
        except (KeyError, TypeError) as error:
            raise DataError(f"this {RESULTS} lacks what it rests on: evaluate again") from error
        if not all(isinstance(part, kind) for part, kind in (*form, (content["names"], list))):
            raise DataError(f"this {RESULTS} is damaged: evaluate again")
        return cls(**{**content, "scores": Scores.from_json(content["scores"])})

    @property
    def metrics(self) -> list[str]:
        """The metrics that were asked for."""
        return list(self.provenance["asked"]["metrics"])

    def only(self, metrics: Collection[str]) -> Evaluation:
        """Return the evaluation as if these of its metrics alone had been asked for."""
        scores = self.scores.only(metrics)
        basis = copy.deepcopy(self.provenance)
        basis["asked"]["metrics"] = [name for name in metrics if name in self.metrics]
        if SEG not in metrics:
            basis["asked"].pop("segmentation", None)
        needs = {need for name in metrics if name in METRICS for need in METRICS[name].weights}
        basis["metric_weights"] = {
            need: one for need, one in basis["metric_weights"].items() if need in needs
        }
        return replace(self, scores=scores, names=list(scores.names), provenance=basis)

    def with_earlier(self, other: Evaluation | None) -> Evaluation:
        """Return the evaluation with what an earlier one of the same pictures measured beside it.

        A figure of both is this one's. Earlier figures are kept only where all that they depend on
        but the choice of metrics is the same, and the weights that they used are.
        """
        if other is None or other.pictures != self.pictures:
            return self
        if _common(other.provenance) != _common(json.loads(json.dumps(self.provenance))):
            return self
        mine = self.provenance["metric_weights"]
        theirs = other.provenance["metric_weights"]
        kept = [
            name
            for name in other.metrics
            if name not in self.metrics
            and all(
                mine.get(need, theirs.get(need)) == theirs.get(need)
                for need in (METRICS[name].weights if name in METRICS else ())
            )
        ]
        if not kept:
            return self
        old = other.only(kept)
        scores = Scores(
            values=old.scores.values | self.scores.values,
            per_image=old.scores.per_image | self.scores.per_image,
            details=old.scores.details | self.scores.details,
            names=self.scores.names or old.scores.names,
            groups=self.scores.groups or old.scores.groups,
        )
        basis = copy.deepcopy(self.provenance)
        basis["asked"] = {**old.provenance["asked"], **basis["asked"]}
        basis["asked"]["metrics"] = [*old.metrics, *self.metrics]
        basis["metric_weights"] = old.provenance["metric_weights"] | basis["metric_weights"]
        return replace(self, scores=scores, names=list(scores.names), provenance=basis)


def _common(basis: dict[str, Any]) -> dict[str, Any]:
    """Return what decides every figure, whatever the metrics are."""
    asked = {k: v for k, v in basis["asked"].items() if k not in ("metrics", "segmentation")}
    return {**{k: v for k, v in basis.items() if k != "metric_weights"}, "asked": asked}


def read_evaluation(folder: Path) -> Evaluation | None:
    """Return the evaluation in RUN/evaluation/SPLIT; None where there is none that can be used."""
    try:
        return Evaluation.from_json(files.read_json(folder / RESULTS, at_most=_LARGEST))
    except (OSError, FileError, DataError):
        return None


def earlier(folder: Path, wanted: dict[str, Any]) -> Evaluation | None:
    """Return the evaluation in RUN/evaluation/SPLIT if it provably gives what is `wanted`, or None.

    Less the metrics that it has beyond those, its provenance must be equal in every part, and the
    pictures must be the very ones measured.
    """
    there = read_evaluation(folder)
    if there is None or there.pictures != pictures_digest(folder):
        return None
    metrics = wanted["asked"]["metrics"]
    try:
        there = there.only(metrics)
    except (KeyError, TypeError, AttributeError):
        return None
    return there if there.provenance == json.loads(json.dumps(wanted)) else None


def provenance_of(
    run: Path,
    translator: Translator,
    pairs: PairedDataset,
    *,
    weights: Path | None,
    asked: dict[str, Any],
) -> dict[str, Any]:
    """Return what decides the figures of an evaluation, ready for JSON.

    Hashes (SHA-256) stand for the generator's weights, config.yaml, the files of the pairs that
    are measured and the pretrained weights of the metrics. Two evaluations with equal provenance
    give equal figures on one machine.

    Args:
        run, translator: the run and its loaded generator.
        pairs: what is translated.
        weights: where the metrics' weights lie.
        asked: every keyword that decides a figure, `metrics` among them, by its name.
    """
    data = translator.config.data
    measured = [name for name in asked["metrics"] if name in METRICS]
    weight_files = find_weights(measured, weights=weights)
    return {
        "asked": asked,
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "generator": dict(translator.weights),
        "config": {"sha256": pretrained.sha256(run / "config.yaml")},
        "pairs": {"count": len(pairs), "sha256": pairs_digest(pairs.pairs)},
        "preparation": {
            "size": list(data.size),
            "mode": data.mode,
            "direction": data.direction,
            "channels": list(data.channels),
            "convert": data.convert,
            "interpolation": list(pairs.interpolation),
        },
        "metric_weights": {
            need: {"file": path.name, "sha256": pretrained.sha256(path)}
            for need, path in weight_files.items()
        },
    }


def pairs_digest(pairs: Iterable[Pair]) -> str:
    """Return one SHA-256 of the names and file contents of pairs, in order, wherever they lie."""
    digest = hashlib.sha256()
    for pair in pairs:
        paths = files_of(pair)
        contents = [pretrained.sha256(path) for path in dict.fromkeys(paths)]
        group = [] if pair.group is None else [{"group": pair.group}]
        digest.update(json.dumps([pair.name, pair.source_half, *contents, *group]).encode())
    return digest.hexdigest()


def pictures_digest(folder: Path) -> str:
    """Return one SHA-256 of all pictures of an evaluation: their kinds, names and contents."""
    digest = hashlib.sha256()
    for kind in KINDS:
        for path in sorted((folder / kind).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                digest.update(f"{name} {pretrained.sha256(path)}\n".encode())
    return digest.hexdigest()
