"""A trained generator at work: checkpoint + image -> image."""

from limner.inference.backends import BACKENDS
from limner.inference.carried_tags import georeferenced
from limner.inference.style import check_style, draw_codes, latent_of, read_style
from limner.inference.tiled_files import memory_for, tiled_sources, translate_in_tiles
from limner.inference.translate_files import (
    default_cache_folder,
    open_pairs,
    outside_masks,
    picture_suffix,
    read_source,
    result_suffix,
    shown_source,
    translate_file,
    write_picture,
)
from limner.inference.translation_plan import (
    check_sources,
    further_sources,
    masks_of,
    plan_translation,
    sides_of,
)
from limner.inference.translator import Translator, as_for_pictures, pad_to_multiple, to_bytes

__all__ = [
    "BACKENDS",
    "Translator",
    "as_for_pictures",
    "check_sources",
    "check_style",
    "default_cache_folder",
    "draw_codes",
    "further_sources",
    "georeferenced",
    "latent_of",
    "masks_of",
    "memory_for",
    "open_pairs",
    "outside_masks",
    "pad_to_multiple",
    "picture_suffix",
    "plan_translation",
    "read_source",
    "read_style",
    "result_suffix",
    "shown_source",
    "sides_of",
    "tiled_sources",
    "to_bytes",
    "translate_file",
    "translate_in_tiles",
    "write_picture",
]
