"""Label maps as a run takes them: from files, and in colours for the eye."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from limner.config import Config
from limner.data import (
    LabelMaps,
    Pair,
    class_colours,
    coloured,
    instance_beside,
    label_maps,
    label_table,
    read_label_pair,
    to_float,
)
from limner.errors import DataError


def maps_of(config: Config) -> LabelMaps | None:
    """Return how a run's label maps are read; None where its sources are pictures.

    Raises:
        ConfigError: the classes are not known yet. DataError: colours are lacking.
    """
    labels = config.data.labels
    if labels is None:
        return None
    expansion = labels.expansion
    return label_maps(
        classes=expansion["classes"],
        void=expansion["void"],
        first=labels.first,
        coding=labels.coding,
        table=labels.table,
        colours=labels.colours,
        instances=config.uses_instances,
    )


def read_maps(
    maps: LabelMaps,
    path: Path,
    *,
    half: Literal["left", "right"] | None = None,
    instances: Path | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Read a label map for translation and, where the run takes one, its instance map; H x W each.

    Args:
        maps: the run's, from `maps_of`.
        path: the file; `half` of it where it is a side-by-side pair.
        instances: the folder of instance maps, matched by name; nothing looks where the layouts
            have them.

    Raises:
        DataError: the file is no label map of the run's classes, or has no instance map.
    """
    instance = None
    if maps.instances:
        instance = instance_beside(path, instances)
        if instance is None:
            where = "beside it" if instances is None else f"of its name in {instances}"
            raise DataError(
                f"{path} has no instance map {where}, and this run draws their edges: give the "
                "folder that holds it as --instances"
            )
    pair = Pair(name=path.stem, source=path, target=path, source_half=half, instance=instance)
    return read_label_pair(pair, maps)


def shown_source(config: Config, source: Tensor) -> Tensor:
    """Return a sample's source as a picture, C x H x W in [-1, 1]: label maps in their colours."""
    labels = config.data.labels
    if labels is None or labels.classes is None:
        return source
    known = labels.colours or (label_table(labels.table).colours if labels.table else ())
    colours = class_colours(classes=labels.classes, void=labels.void, colours=known)
    return to_float(coloured(source, colours, void=labels.void))
