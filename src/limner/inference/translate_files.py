"""Data as a run sees it: its pairs, its label maps, and single pictures from file to file."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.config import Config
from limner.data import (
    LabelMaps,
    Pair,
    PairedDataset,
    as_channels,
    class_colours,
    coloured,
    fitted_mask,
    header,
    instance_beside,
    label_maps,
    label_table,
    nodata_fits,
    open_dataset,
    otsu_mask,
    read_label_pair,
    read_sources,
    resize,
    resized_ids,
    to_file_values,
    to_float,
)
from limner.data.ranges import resized
from limner.errors import ConfigError, DataError
from limner.files import write_bytes, write_from
from limner.inference.carried_tags import NOTHING, Carried, carried_from
from limner.inference.translator import Translator, to_bytes

# Grey and colour, each without and with alpha.
PNG_CHANNELS = (1, 2, 3, 4)


def default_cache_folder() -> Path:
    """Return the user's folder for decoded images."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "limner" / "decoded"


def open_pairs(
    config: Config,
    root: Path,
    split: str,
    *,
    augment: bool = False,
    batch_size: int = 1,
    cache_folder: Path | None = None,
    beside: Sequence[PairedDataset] = (),
) -> PairedDataset:
    """Open a split of a data set the way a configuration prepares it.

    Args:
        config: its `data` section decides sizes, channels, direction and resizing.
        root, split: where the pairs are.
        augment: draw crops and flips; without, pairs come whole or centred.
        batch_size: pictures that must have one size.
        cache_folder: for decoded images; None for no cache.
        beside: data sets already open on the same cache folder.

    Raises:
        DataError, ConfigError: with the cure, before anything is decoded.
    """
    data = config.data
    height, width = data.size
    load = data.load_size or (round(height * 286 / 256), round(width * 286 / 256))
    return open_dataset(
        root,
        split,
        direction=data.direction,
        mode=data.mode,
        size=data.size,
        load_size=load,
        flip=data.flip,
        channels=data.channels,
        convert=data.convert,
        interpolation=data.interpolation,
        cache_folder=cache_folder if data.cache_gib else None,
        cache_bytes=int(data.cache_gib * 2**30),
        seed=config.seed,
        augment=augment,
        batch_size=batch_size,
        beside=beside,
        labels=maps_of(config),
        spans=data.spans,
        resizing=data.resize,
        mask=data.mask,
        augmentation=data.augment,
    )


def picture_suffix(channels: int) -> str:
    """Return the suffix of the files for pictures of so many channels: PNG, or TIFF past four."""
    return ".png" if channels in PNG_CHANNELS else ".tif"


def translate_file(
    translator: Translator,
    source: Path,
    result: Path,
    *,
    size: str = "trained",
    side: Literal["left", "right"] | None = None,
    instances: Path | None = None,
    style: Tensor | None = None,
    code: Tensor | None = None,
    wanted_type: str | None = None,
    truncate: bool = False,
    more: Sequence[Path] = (),
    mask: Path | None = None,
) -> None:
    """Translate one picture file, or label map, into another.

    Args:
        translator: the run's.
        source, result: files; `result` is written whole or not at all.
        size: "trained" resizes as the run's evaluation does, "original" keeps the size,
            "HEIGHTxWIDTH" sets one.
        side: take this half of a side-by-side pair.
        instances: the folder of instance maps, where they do not lie as the layouts have them.
        style, code: as the translator takes them.
        wanted_type: of the samples written; None for the target's, as `write_values` has it.
        truncate: cut values off to 8 bits, where they are rounded otherwise.
        more: further files of the source, whose channels follow.
        mask: an image that is 0 where the result is `data.nodata`, or the low end of its range
            where its type cannot hold that.

    Raises:
        DataError: the picture cannot be used; ConfigError: `size` is none of the above.
    """
    config = translator.config
    maps = maps_of(config)
    counts = None
    if maps is None:
        image, counts = read_source(config, source, size=size, side=side, more=more, mask=mask)
        image = image[None]
        picture = translator(image, style=style, code=code, names=[source.stem])
    else:
        read = read_maps(maps, source, half=side, instances=instances)
        wanted = _size(size, read[0], config)
        ids, instance = (None if ids is None else resized_ids(ids, wanted)[None] for ids in read)
        assert ids is not None
        if mask is not None:
            counts = fitted_mask(mask, wanted, own={(read[0].shape[-2], read[0].shape[-1])})
        picture = translator(ids, instance, style=style, code=code, names=[source.stem])
    _, *own = header(source)
    own[1] //= 1 if side is None else 2
    told = carried_from(source).resized((own[0], own[1]), (picture.shape[-2], picture.shape[-1]))
    carried = told if side is None else Carried({}, told.resolution)
    if truncate:
        values = file_values(config, picture[0], counts=counts, truncate=True)
        _write_samples(values, result, carried=carried)
    else:
        write_values(config, picture[0], result, wanted=wanted_type, counts=counts, carried=carried)


def read_source(
    config: Config,
    path: Path,
    *,
    size: str = "trained",
    side: Literal["left", "right"] | None = None,
    more: Sequence[Path] = (),
    mask: Path | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return a picture as a run takes its sources, float32 C x H x W in [-1, 1], its size settled.

    The second tells which pixels count, 1 x H x W, where there is a mask, the run draws one
    (`data.mask`) or it knows values that stand for none.
    """
    data = config.data
    span = data.spans[0]
    image = read_sources([path, *more], stated=span is not None)
    if side is not None:
        width = image.shape[-1]
        if width % 2:
            raise DataError(
                f"{path} is {width}x{image.shape[-2]}: side-by-side pairs need an even width"
            )
        half = width // 2
        image = image[..., :half] if side == "left" else image[..., half:]
    wanted = _size(size, image, config)
    scaled, counts = network_values(config, image, wanted, path=path, alone=not more)
    if mask is not None:
        given = fitted_mask(mask, wanted, own={(image.shape[-2], image.shape[-1])})
        counts = given if counts is None else counts & given
    if data.mask == "otsu":
        counts = otsu_mask(scaled, counts)
    return scaled, counts


def network_values(
    config: Config, image: Tensor, size: tuple[int, int], *, path: Path, alone: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Return a decoded source, C x H x W, as the network takes it, resized to (height, width).

    The second tells which pixels count, as `read_source` has it. `alone` is whether one file made
    the image: the channels of several are no colours, which nothing could convert.
    """
    data = config.data
    span = data.spans[0]
    cure = f"save it with {data.channels[0]}, or take a run trained with data.convert=true"
    image = as_channels(
        image, data.channels[0], convert=data.convert and alone, path=path, cure=cure
    )
    how = "bicubic" if data.interpolation[0] == "auto" else data.interpolation[0]
    if span is None:
        return to_float(resize(image, size, interpolation=how)), None
    scaled, counts = span.to_network(image, path=path)
    return resized(scaled, counts, size, interpolation=how)


def _size(text: str, image: Tensor, config: Config) -> tuple[int, int]:
    if text == "trained" and config.data.mode in ("resize_crop", "resize"):
        return config.data.size
    if text in ("trained", "original"):
        factor = config.data.factor
        return int(image.shape[-2]) * factor, int(image.shape[-1]) * factor
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or "0" in match.groups():
        raise ConfigError(f"--size {text}: give trained, original or HEIGHTxWIDTH such as 256x512")
    return int(match[1]), int(match[2])


def outside_masks(config: Config, wanted: str | None = None) -> str:
    """Return the sentence on what translations hold where pixels do not count."""
    nodata = written_nodata(config, wanted)
    if nodata is None:
        return "outside the masks stands the low end of the targets' range"
    return f"outside the masks stands nodata ({nodata})"


def written_nodata(config: Config, wanted: str | None = None) -> float | Literal["nan"] | None:
    """Return what stands for no value in translations; None where their type cannot hold it."""
    span, dtype = config.data.spans[1], wanted or config.data.type.target or "uint8"
    nodata = None if span is None or wanted == "uint8" else span.nodata
    if nodata is None or dtype == "float32":
        return nodata
    return nodata if nodata != "nan" and nodata_fits(nodata, dtype) else None


def result_suffix(config: Config, wanted: str | None = None) -> str:
    """Return the suffix of the files that hold a run's translations, in a type or its own."""
    dtype = wanted or config.data.type.target or "uint8"
    return picture_suffix(config.data.channels[1]) if dtype in ("uint8", "uint16") else ".tif"


def write_values(
    config: Config,
    picture: Tensor,
    path: Path,
    *,
    wanted: str | None = None,
    counts: Tensor | None = None,
    carried: Carried = NOTHING,
) -> None:
    """Write a translation, C x H x W in [-1, 1], in the type and range of the run's targets.

    Args:
        config: the run's; a run that does not know its targets' type writes 8 bits.
        picture, path: what is written, and where; see `result_suffix`.
        wanted: another type, uint8, uint16, int16 or float32; uint8 is a preview.
        counts: which pixels count, 1 x H x W; the others become `data.nodata`.
        carried: the source's place and resolution, for a picture of this size.
    """
    values = file_values(config, picture, wanted=wanted, counts=counts)
    told = replace(carried, nodata=written_nodata(config, wanted))
    _write_samples(values, path, carried=told)


def file_values(
    config: Config,
    picture: Tensor,
    *,
    wanted: str | None = None,
    counts: Tensor | None = None,
    truncate: bool = False,
) -> np.ndarray:
    """Return a translation, C x H x W in [-1, 1], as its file holds it; see `write_values`."""
    if truncate:
        shown = picture.cpu()
        shown = shown if counts is None else torch.where(counts, shown, -1.0)
        return to_bytes(shown, truncate=True).numpy()
    data = config.data
    stored = data.type.target or "uint8"
    return to_file_values(picture, data.spans[1], stored=stored, wanted=wanted, counts=counts)


def write_picture(picture: Tensor, path: Path) -> None:
    """Write one picture, C x H x W in [-1, 1], as 8 bits in the form that `path`'s suffix names."""
    _write_samples(to_bytes(picture).cpu().numpy(), path)


def _write_samples(pixels: np.ndarray, path: Path, *, carried: Carried = NOTHING) -> None:
    """Write C x H x W samples in the form that the suffix names: PNG of 8 or 16 bits, or TIFF."""
    image = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    if path.suffix == ".tif":
        import tifffile

        colour = len(pixels) == 3 and pixels.dtype in (np.uint8, np.uint16)
        apart = len(pixels) > 1 and not colour
        write_from(
            path,
            lambda file: tifffile.imwrite(
                file,
                pixels if apart else np.ascontiguousarray(image),
                photometric="rgb" if colour else "minisblack",
                planarconfig="separate" if apart else None,
                **carried.for_tiff,
            ),
        )
        return
    if pixels.dtype == np.uint16:
        import imagecodecs  # Pillow writes 16 bits for grey alone

        content = bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))
    else:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        content = buffer.getvalue()
    write_bytes(path, carried.in_png(content))


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
        instances: the folder of instance maps, matched by name; None looks where the layouts
            have them.

    Raises:
        DataError: the file is no label map of the run's classes, or has no instance map.
    """
    instance = None
    if instances is not None and not instances.is_dir():
        raise DataError(
            f"--instances {instances} is no folder: give the one that holds the instance maps"
        )
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
