"""The keys of `data`: how pairs are found and prepared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from limner.config.base import Channels, Section, Size, both

Interpolation = Literal["auto", "nearest", "bilinear", "bicubic", "lanczos"]
Interpolations = Annotated[tuple[Interpolation, Interpolation], BeforeValidator(both)]


class DataSettings(Section):
    """How pairs are found and prepared."""

    root: str = ""
    """The data set's folder; the command line fills it in."""
    direction: Literal["AtoB", "BtoA"] | None = None
    """Which way to translate; nothing means what dataset.yaml says, else AtoB."""
    mode: Literal["resize_crop", "crop", "resize", "none"] = "resize_crop"
    """resize_crop: to load_size, then a random crop; crop: a random crop; resize: to size; none."""
    size: Size = (256, 256)
    """What the networks see in training: height and width, or one number for a square."""
    load_size: Size | None = None
    """What resize_crop resizes to before it crops; nothing means size x 286 / 256."""
    flip: bool = True
    """Mirror half of the training pairs from left to right."""
    channels: Channels = (3, 3)
    """Channels of source and target, or one number for both; nothing is converted silently."""
    convert: bool = False
    """Convert images of other channel counts (grey to colour, alpha off) instead of refusing."""
    interpolation: Interpolations = ("auto", "auto")
    """For source and target; auto is nearest for label colours and bicubic for photos."""
    cache_gib: Annotated[float, Field(ge=0)] = 4.0
    """Bound of the cache of decoded images on disk, in GiB; 0 switches it off."""
