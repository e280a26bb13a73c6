"""What a figure came out of: enough to repeat it, and to know an earlier one for the same."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from limner import __version__
from limner.data import PairedDataset
from limner.data.pairs import Pair
from limner.evaluation import weights as store
from limner.evaluation.metrics import METRICS
from limner.inference import Translator, checkpoint_folder, generator_file

PACKAGES = ("torch", "torchmetrics", "numpy", "pillow", "safetensors")
KINDS = ("source", "target", "images")
"""The folders of pictures in RUN/evaluation/SPLIT."""


def versions() -> dict[str, str]:
    """Return the versions of all that figures come out of."""
    packages = {name: version(name) for name in PACKAGES}
    return {"limner": __version__, "python": platform.python_version(), **packages}


def provenance(
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
    checkpoint = generator_file(checkpoint_folder(run, translator.checkpoint))
    known = [METRICS[name] for name in asked["metrics"] if name in METRICS]
    needs = dict.fromkeys(need for metric in known for need in metric.weights)
    found = {need: store.find(need, weights=weights) for need in needs}
    return {
        "asked": asked,
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "generator": {
            "file": f"{checkpoint.parent.name}/{checkpoint.name}",
            "sha256": store.sha256(checkpoint),
        },
        "config": {"sha256": store.sha256(run / "config.yaml")},
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
            need: {"file": path.name, "sha256": store.sha256(path)} for need, path in found.items()
        },
    }


def pairs_digest(pairs: Iterable[Pair]) -> str:
    """Return one SHA-256 of the names and file contents of pairs, in order, wherever they lie."""
    digest = hashlib.sha256()
    for pair in pairs:
        files = [path for path in (pair.source, pair.target, pair.instance) if path is not None]
        contents = [store.sha256(path) for path in dict.fromkeys(files)]
        digest.update(json.dumps([pair.name, pair.source_half, *contents]).encode())
    return digest.hexdigest()


def pictures_digest(folder: Path) -> str:
    """Return one SHA-256 of all pictures of an evaluation: their kinds, names and contents."""
    digest = hashlib.sha256()
    for kind in KINDS:
        for path in sorted((folder / kind).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                digest.update(f"{name} {store.sha256(path)}\n".encode())
    return digest.hexdigest()


def earlier(folder: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Return the results in RUN/evaluation/SPLIT if they are provably those `wanted`, or nothing.

    Their provenance must be equal in every part, and the pictures the very ones measured.
    """
    try:
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(found, dict) and found.get("provenance") == json.loads(json.dumps(wanted))
    if not same or found.get("pictures") != pictures_digest(folder):
        return None
    return found
