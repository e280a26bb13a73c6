"""Paired images: found by layout, checked, decoded, resized, cached, drawn from and batched."""

from limner.data.cache import Cache
from limner.data.channels import as_channels, to_float
from limner.data.checks import scan, validate
from limner.data.dataset import PairedDataset, Sample, read_pair
from limner.data.decode import EXTENSIONS, decode, header, probe
from limner.data.description import Description, read_description
from limner.data.expansion import boundaries, check_ids, expand, network_input
from limner.data.interpolation import INTERPOLATIONS, looks_like_labels, resize
from limner.data.labellayouts import instance_beside, only_label_maps
from limner.data.labelmaps import (
    LabelMaps,
    coloured,
    read_instances,
    read_label_pair,
    read_labels,
    resized_ids,
)
from limner.data.labelscan import check_labels, scan_labels
from limner.data.labelsettings import LabelFacts, derive_labels, known_table
from limner.data.labeltables import class_colours, label_maps, label_table
from limner.data.layouts import LAYOUTS, find_pairs, splits
from limner.data.loader import collate, make_loader
from limner.data.opening import decide_interpolation, open_dataset
from limner.data.order import EpochBatches, batches_per_epoch
from limner.data.pairs import Pair, images_in, natural
from limner.data.resident import Residence, residence
from limner.data.transforms import MODES, Draw, apply, central, draw

__all__ = [
    "EXTENSIONS",
    "INTERPOLATIONS",
    "LAYOUTS",
    "MODES",
    "Cache",
    "Description",
    "Draw",
    "EpochBatches",
    "LabelFacts",
    "LabelMaps",
    "Pair",
    "PairedDataset",
    "Residence",
    "Sample",
    "apply",
    "as_channels",
    "batches_per_epoch",
    "boundaries",
    "central",
    "check_ids",
    "check_labels",
    "class_colours",
    "collate",
    "coloured",
    "decide_interpolation",
    "decode",
    "derive_labels",
    "draw",
    "expand",
    "find_pairs",
    "header",
    "images_in",
    "instance_beside",
    "known_table",
    "label_maps",
    "label_table",
    "looks_like_labels",
    "make_loader",
    "natural",
    "network_input",
    "only_label_maps",
    "open_dataset",
    "probe",
    "read_description",
    "read_instances",
    "read_label_pair",
    "read_labels",
    "read_pair",
    "residence",
    "resize",
    "resized_ids",
    "scan",
    "scan_labels",
    "splits",
    "to_float",
    "validate",
]
