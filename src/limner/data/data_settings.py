"""The keys of `data`: how pairs are found and prepared."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from limner.data.augmentation import AugmentSettings
from limner.data.masks import Automatic
from limner.data.pair_reading import Resizing
from limner.data.ranges import Scale, Span
from limner.errors import ConfigError
from limner.settings import Channels, PositiveInt, Section, Size, both

Interpolation = Literal["auto", "nearest", "bilinear", "bicubic", "lanczos"]
Interpolations = Annotated[tuple[Interpolation, Interpolation], BeforeValidator(both)]
Level = Annotated[int, Field(ge=0, le=255)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=100)]
FileType = Literal["uint8", "uint16", "int16", "int32", "float32"]


class LabelSettings(Section):
    """How label maps are read; what is left open is derived from the data set and written down."""

    classes: PositiveInt | None = None
    """Ids 0 to classes - 1 have a channel each; nothing derives it (dataset.yaml, table, maps)."""
    void: Annotated[int, Field(ge=0)] | None = None
    """An id beyond the classes that has one channel more, such as 255; None for none."""
    first: Annotated[int, Field(ge=0)] = 0
    """The files' value of the first class; below it is void (1 for ADE20K, where 0 is void)."""
    edges: bool | None = None
    """A channel with the edges of instances; None means where there are instance maps."""
    table: Literal["cityscapes", "camvid", "ade20k", "coco-stuff"] | None = None
    """Class names and colours known by this name; None takes dataset.yaml's or a palette."""
    coding: Literal["auto", "ids", "exact", "nearest"] = "auto"
    """How pixels tell classes: ids, or colours found exactly or as the nearest of the table."""
    names: tuple[str, ...] | None = None
    """Names of the classes in the order of their ids; None takes the table's."""
    colours: tuple[tuple[Level, Level, Level], ...] | None = None
    """Red, green, blue of each class, void last; None takes the table's."""

    @model_validator(mode="after")
    def _contradictions(self) -> LabelSettings:
        if self.classes is not None and self.void is not None and self.void < self.classes:
            raise ValueError(
                f"data.labels.void={self.void} is one of the {self.classes} classes' ids 0 to "
                f"{self.classes - 1}: give data.labels.classes={self.void} if it is the last of "
                "them, or an id beyond them"
            )
        return self

    @property
    def expansion(self) -> dict[str, Any]:
        """The keywords of `limner.data.expand`.

        Raises:
            ConfigError: the classes are not known before the data set was looked at.
        """
        if self.classes is None:
            raise ConfigError(
                "data.labels.classes is not known before the data set is looked at: set it"
            )
        return {"classes": self.classes, "void": self.void, "edges": bool(self.edges)}

    @property
    def channels(self) -> int:
        """Channels of an expanded label map: the classes, void, edges."""
        expansion = self.expansion
        return expansion["classes"] + (self.void is not None) + expansion["edges"]


class Percentiles(Section):
    """A range that the training set tells; it is resolved into numbers as training starts."""

    percentiles: tuple[Share, Share]
    """The shares in percent of all values that lie below its two ends."""
    per_channel: bool | None = None
    """A range for each channel; None means where a manifest has several source columns."""

    @model_validator(mode="after")
    def _ordered(self) -> Percentiles:
        if self.percentiles[0] >= self.percentiles[1]:
            raise ValueError(f"percentiles={list(self.percentiles)}: give the lower one first")
        return self


Window = tuple[Number, Number]
Range = Literal["type"] | Window | Annotated[tuple[Window, ...], Field(min_length=1)] | Percentiles


class RangeSettings(Section):
    """Which values of the files are -1 and 1 to the networks."""

    source: Range = "type"
    """type (8 or 16 bits, whole), [low, high], one each channel, or {percentiles: [0.1, 99.9]}."""
    target: Range = "type"
    """The same for the target; a translation is written in it."""


class ScaleSettings(Section):
    """How values lie between the ends of a stated range."""

    source: Scale = "linear"
    """log: equal factors are equal steps."""
    target: Scale = "linear"
    """The same for the target."""


class UnitSettings(Section):
    """What values are counted in."""

    source: str | None = None
    """A word such as HU, dB or m; None where it is not known."""
    target: str | None = None
    """The same for the target."""


class TypeSettings(Section):
    """The types of samples in the files of a data set."""

    source: FileType | None = None
    """None for 8 bits; the training set tells others."""
    target: FileType | None = None
    """The same for the target."""


class DataSettings(Section):
    """How pairs are found and prepared."""

    root: str = ""
    """The data set's folder; the command line fills it in."""
    direction: Literal["AtoB", "BtoA"] | None = None
    """Which way to translate; None means what dataset.yaml says, else AtoB."""
    mode: Literal["resize_crop", "crop", "resize", "none"] = "resize_crop"
    """resize_crop: to load_size, then a random crop; crop: a random crop; resize: to size; none."""
    size: Size = (256, 256)
    """What the networks see in training: height and width, or one number for a square."""
    load_size: Size | None = None
    """What resize_crop resizes to before it crops; None means size x 286 / 256."""
    flip: bool = True
    """Mirror half of the training pairs from left to right."""
    augment: AugmentSettings = AugmentSettings()
    """What else is drawn for training pairs, for source, target, maps and masks alike."""
    channels: Channels = (3, 3)
    """Channels of source and target, or one number for both; nothing is converted silently."""
    labels: LabelSettings | None = None
    """Set ({} derives all) where sources are label maps of class ids; channels.0 is then unused."""
    convert: bool = False
    """Convert images of other channel counts (grey to colour, alpha off) instead of refusing."""
    interpolation: Interpolations = ("auto", "auto")
    """For source and target; auto is nearest for label colours and bicubic for photos."""
    resize: Resizing = "multiple"
    """Where sizes of a pair differ: multiple enlarges to a whole multiple; source, target; off."""
    factor: PositiveInt = 1
    """How many times larger targets are than sources; the training set tells."""
    range: RangeSettings = RangeSettings()
    """Which values of the files are -1 and 1 to the networks."""
    scale: ScaleSettings = ScaleSettings()
    """How values lie between the ends of a stated range."""
    unit: UnitSettings = UnitSettings()
    """Words for what values are counted in, such as HU or dB; figures are told in them."""
    nodata: Annotated[float, Field(allow_inf_nan=False)] | Literal["nan"] | None = None
    """A value of stated ranges that stands for none, nan for numbers not finite; None for off."""
    mask: Automatic | None = None
    """otsu: what stands out of the source's background counts alone; otsu-target: the target's."""
    type: TypeSettings = TypeSettings()
    """What the files hold; a translation is written so."""
    cache_gib: Annotated[float, Field(ge=0)] = 4.0
    """Bound of the cache of decoded images on disk, in GiB; 0 switches it off."""

    @model_validator(mode="after")
    def _ranges(self) -> DataSettings:
        for role in ("source", "target"):
            stated = getattr(self.range, role) != "type"
            if not stated and getattr(self.scale, role) == "log":
                raise ValueError(f"data.scale.{role}=log needs data.range.{role}=[low, high]")
        if self.nodata is not None and self.range.source == self.range.target == "type":
            raise ValueError(
                "data.nodata needs a stated data.range.source or data.range.target, whose values "
                "it is one of"
            )
        if self.labels is not None and self.range.source != "type":
            raise ValueError("data.range.source is of pictures, and data.labels reads label maps")
        if self.labels is not None and self.augment.intensity:
            raise ValueError(
                "data.augment.intensity changes a source's values, and label maps have ids: leave "
                "it at 0"
            )
        if self.labels is not None and self.mask == "otsu":
            raise ValueError(
                "data.mask=otsu is of a source's values, and label maps have none: say "
                "data.mask=otsu-target"
            )
        for role, span, channels in zip(
            ("source", "target"), self.spans, self.channels, strict=True
        ):
            if span is not None and len(span.ends) not in (1, channels):
                raise ValueError(
                    f"data.range.{role} states {len(span.ends)} ranges, and data.channels says "
                    f"{channels}: give one, or one for each channel"
                )
        return self

    @property
    def spans(self) -> tuple[Span | None, Span | None]:
        """The stated ranges of source and target; None for that of the type, or not known yet."""
        return (
            self._span(self.range.source, self.scale.source),
            self._span(self.range.target, self.scale.target),
        )

    def _span(self, ends: Range, scale: Scale) -> Span | None:
        if not isinstance(ends, tuple):
            return None
        windows = [end for end in ends if isinstance(end, tuple)]
        if windows:
            low, high = zip(*windows, strict=True)
            return Span(low, high, scale, self.nodata)
        low, high = (end for end in ends if not isinstance(end, tuple))
        return Span(low, high, scale, self.nodata)
