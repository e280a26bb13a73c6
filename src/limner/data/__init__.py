"""Paired images: found by layout, checked, decoded, resized, cached, drawn from and batched."""

from limner.data.data_settings import DataSettings
from limner.data.dataset import PairedDataset, Residence, Sample, residence
from limner.data.dataset_cache import content_digests
from limner.data.decode import decode, header, probe
from limner.data.description import (
    Description,
    class_colours,
    class_ids,
    label_maps,
    label_table,
    read_description,
)
from limner.data.labelmaps import (
    LabelMaps,
    boundaries,
    check_ids,
    coloured,
    expand,
    network_input,
    read_instances,
    read_label_pair,
    read_labels,
    resized_ids,
)
from limner.data.labels import (
    LabelFacts,
    derive_labels,
    known_table,
)
from limner.data.layouts import (
    find_pairs,
    instance_beside,
    only_label_maps,
    splits,
)
from limner.data.loader import EpochBatches, batches_per_epoch, make_loader
from limner.data.manifest import sources_in
from limner.data.masks import fitted_mask, otsu_mask
from limner.data.opening import (
    decide_interpolation,
    derive_ranges,
    open_dataset,
    scan,
    validate,
)
from limner.data.pair_reading import read_pair, read_sources
from limner.data.pairs import Pair, files_of, images_in, left_out, natural
from limner.data.pixels import (
    MODES,
    Draw,
    apply,
    as_channels,
    central,
    draw,
    looks_like_labels,
    resize,
    to_float,
)
from limner.data.ranges import Span, nodata_fits, stored_type, to_file_values

__all__ = [
    "MODES",
    "DataSettings",
    "Description",
    "Draw",
    "EpochBatches",
    "LabelFacts",
    "LabelMaps",
    "Pair",
    "PairedDataset",
    "Residence",
    "Sample",
    "Span",
    "apply",
    "as_channels",
    "batches_per_epoch",
    "boundaries",
    "central",
    "check_ids",
    "class_colours",
    "class_ids",
    "coloured",
    "content_digests",
    "decide_interpolation",
    "decode",
    "derive_labels",
    "derive_ranges",
    "draw",
    "expand",
    "files_of",
    "find_pairs",
    "fitted_mask",
    "header",
    "images_in",
    "instance_beside",
    "known_table",
    "label_maps",
    "label_table",
    "left_out",
    "looks_like_labels",
    "make_loader",
    "natural",
    "network_input",
    "nodata_fits",
    "only_label_maps",
    "open_dataset",
    "otsu_mask",
    "probe",
    "read_description",
    "read_instances",
    "read_label_pair",
    "read_labels",
    "read_pair",
    "read_sources",
    "residence",
    "resize",
    "resized_ids",
    "scan",
    "sources_in",
    "splits",
    "stored_type",
    "to_file_values",
    "to_float",
    "validate",
]
