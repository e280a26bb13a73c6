"""The label maps that a data set itself has, and the class map that its name tells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.config import Config
from limner.data import Pair, find_pairs, known_table
from limner.errors import ConfigError
from limner.evaluation.segmentation.classmaps import SHIPPED
from limner.inference import default_cache_folder

_FOLDERS = frozenset({"label", "gtFine", "gtCoarse", "annotations"})
"""Folders of label maps in the layouts of `limner.data`; so are those that end in `_label`."""


def own_labels(config: Config, data: Path, split: str) -> tuple[Path, ...]:
    """Return the files of the label maps of a split, from which a run of `config` makes photos.

    They are the pairs' sources where the run takes label maps, or where the folder's name says
    that they are: `test/label`, `test_label`, `gtFine/test`, `annotations/validation`.

    Raises `ConfigError` where there are none, `DataError` for a split that cannot be read.
    """
    pairs = find_pairs(data, split, direction=config.data.direction)
    apart = all(pair.source_half is None for pair in pairs)
    sources = tuple(pair.source for pair in pairs)
    if apart and (config.data.labels is not None or _named_labels(sources, data)):
        return sources
    if apart and _named_labels([pair.target for pair in pairs], data):
        raise ConfigError(
            f"seg scores photos made of label maps, and this run makes the label maps of {data}: "
            "leave seg out"
        )
    raise ConfigError(
        f"{data} has no folder of label maps that is known (test/label, test_label, gtFine/test, "
        "annotations/validation): say --labels FOLDER"
    )


def own_class_map(config: Config, data: Path, split: str) -> str:
    """Return the name of the shipped class map of a data set with `own_labels`.

    It is that of the known table of label maps that the run was trained with, or that dataset.yaml
    or the files' names and values tell. Raises `ConfigError` where none does.
    """
    labels = config.data.labels
    table = labels.table if labels is not None else None
    if table is None:
        pairs: Sequence[Pair] = find_pairs(data, split, direction=config.data.direction)
        table = known_table(data, pairs, memory=default_cache_folder())
    if table in SHIPPED:
        return table
    what = f"has the label maps of {table}" if table else "is no data set that is known"
    raise ConfigError(
        f"{data} {what}, and class maps are shipped for {', '.join(SHIPPED)}: say --class-map, or "
        "--labels FOLDER if its labels are numbered as the segmenter's outputs"
    )


def _named_labels(files: Sequence[Path], root: Path) -> bool:
    """Whether all files lie in folders of label maps below `root`."""
    return all(
        any(
            part in _FOLDERS or part.endswith("_label") for part in path.parts[len(root.parts) : -1]
        )
        for path in files
    )
