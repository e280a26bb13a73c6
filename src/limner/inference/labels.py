"""Label maps as a run takes them: from files, and in colours for the eye."""

from __future__ import annotations

from torch import Tensor

from limner.config import Config
from limner.data import LabelMaps, class_colours, coloured, label_maps, label_table, to_float


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


def shown_source(config: Config, source: Tensor) -> Tensor:
    """Return a sample's source as a picture, C x H x W in [-1, 1]: label maps in their colours."""
    labels = config.data.labels
    if labels is None or labels.classes is None:
        return source
    known = labels.colours or (label_table(labels.table).colours if labels.table else ())
    colours = class_colours(classes=labels.classes, void=labels.void, colours=known)
    return to_float(coloured(source, colours, void=labels.void))
