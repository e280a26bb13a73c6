"""A run as the server offers it: what it takes, and one picture made of one source."""

from __future__ import annotations

import dataclasses
import io
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from limner.config import Config, replace
from limner.data import (
    Pair,
    class_colours,
    find_pairs,
    header,
    label_table,
    read_label_pair,
    resized_ids,
    splits,
)
from limner.data.decode import stored_channels
from limner.errors import ConfigError, DataError, LimnerError, OutOfMemoryError
from limner.inference import (
    Translator,
    draw_codes,
    latent_of,
    picture_suffix,
    read_source,
    read_style,
    to_bytes,
)
from limner.inference.translate_files import maps_of, write_values

EXAMPLES = 8
"""So many sources of a run's own data are offered to begin with."""


class ServedRun:
    """A run's translator, and what a page has to know to ask for pictures.

    Raises:
        ConfigError: the run's pictures cannot be shown as PNG, or its sources cannot come as one
            file. CheckpointError: it is no run, or a damaged one.
    """

    def __init__(self, folder: Path, *, name: str, device: str, backend: str) -> None:
        translator = Translator.load(folder, device=device, backend=backend)
        # Whoever draws or pastes does not choose channels: grey and alpha are made to fit.
        if translator.config.data.labels is None:
            translator.config = replace(translator.config, {"data.convert": True})
        if picture_suffix(translator.config.data.channels[1]) != ".png":
            raise ConfigError(
                f"{folder} makes pictures of {translator.config.data.channels[1]} channels, which "
                "no page can show: use `limner translate`"
            )
        self.name = name
        self.config = translator.config
        self._translator = translator
        self._maps = maps_of(self.config)
        self._alone = threading.Lock()
        self._examples: list[Pair] | None = None

    @property
    def needs_style(self) -> bool:
        """Whether there is no picture without the style of another one (features of instances)."""
        return self.config.encoder is not None and bool(self.config.encoder.maps)

    @property
    def drawable(self) -> bool:
        """Whether sources can be drawn: maps of classes, or pictures of 8 bits, grey or colour.

        Values in a stated range (HU, decibels) cannot; they are sent as the files that they are.
        """
        data = self.config.data
        return data.labels is not None or (data.spans[0] is None and data.channels[0] in (1, 3))

    def facts(self) -> dict[str, Any]:
        """Return what `GET /api/runs` says of the run."""
        data = self.config.data
        return {
            "name": self.name,
            "channels": list(data.channels),
            "size": list(data.size),
            "labels": self._labels(),
            "styles": self.config.encoder is not None or bool(latent_of(self.config)),
            "needs_style": self.needs_style,
            "drawable": self.drawable,
            "resized": self.config.data.mode in ("resize_crop", "resize"),
            "examples": len(self.examples()),
        }

    def _labels(self) -> list[dict[str, Any]] | None:
        """Return name, colour and id (as a map's pixels hold it) of every class, void last."""
        labels = self.config.data.labels
        if labels is None:
            return None
        classes = labels.expansion["classes"]
        table = label_table(labels.table) if labels.table else None
        names = list(labels.names or (table.names if table else ()))
        colours = class_colours(
            classes=classes,
            void=labels.void,
            colours=labels.colours or (table.colours if table else ()),
        )
        offset = labels.first if labels.coding in ("auto", "ids") else 0
        ids = [k + offset for k in range(classes)]
        called = [names[k] if k < len(names) else f"class {k}" for k in range(classes)]
        if labels.void is not None:
            ids.append(0 if offset else labels.void)  # below the first class lies void
            called.append(names[classes] if classes < len(names) else "void")
        return [
            {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour), "id": number}
            for name, colour, number in zip(called, colours, ids, strict=True)
        ]

    def translate(
        self,
        source: bytes,
        *,
        instance: bytes | None = None,
        style: bytes | None = None,
        seed: int = 0,
        pixels: int,
    ) -> bytes:
        """Return the picture of a source as the bytes of an 8-bit PNG of the source's size.

        Args:
            source: an image file; for a run on label maps an image of ids (one channel), or of
                the classes' colours (three) where the run learnt from these.
            instance: an instance map. Without one the regions of the label map stand for it,
                which have the same edges.
            style: an image file whose style is wanted.
            seed: draws a style where none is given, and dropout.
            pixels: what is larger is refused.

        Raises:
            DataError, ConfigError: the sentence speaks of "the source", "the instance map" or
                "the style", never of a file.
        """
        if self.needs_style and style is None:
            raise DataError("this run takes the style of a picture: send one as `style`")
        if style is not None and self.config.encoder is None:
            raise DataError("this run takes no style: leave `style` out")
        with tempfile.TemporaryDirectory(prefix="limner-serve-") as name:
            folder = Path(name)
            files = {"source": source, "instance": instance, "style": style}
            paths = {}
            for kind, content in files.items():
                if content is not None:
                    paths[kind] = folder / kind
                    paths[kind].write_bytes(content)
            try:
                for path in paths.values():
                    _check_pixels(path, pixels)
                return self._made(paths, folder / "result.png", seed=seed)
            except LimnerError as error:
                raise _without_paths(error, paths) from None

    def _made(self, paths: dict[str, Path], result: Path, *, seed: int) -> bytes:
        config, source = self.config, paths["source"]
        style = read_style(config, paths["style"]) if "style" in paths else None
        latent = latent_of(config)
        code = draw_codes(1, latent, seed=seed) if latent and style is None else None
        if self._maps is None:
            image, counts = read_source(config, source, size="original")
            inputs: tuple[Tensor, Tensor | None] = (image[None], None)
        else:
            ids, instance = self._read_maps(source, paths.get("instance"))
            inputs, counts = (ids[None], None if instance is None else instance[None]), None
        with self._alone:
            self._translator.seed = seed
            picture = self._translator(*inputs, style=style, code=code, names=["source"])
        write_values(config, picture[0], result, wanted="uint8", counts=counts)
        return result.read_bytes()

    def _read_maps(self, source: Path, instance: Path | None) -> tuple[Tensor, Tensor | None]:
        """Read ids and instances; three channels are colours where the run knows colours."""
        maps = self._maps
        assert maps is not None
        if maps.coding != "ids" and stored_channels(source) <= 2:
            maps = dataclasses.replace(maps, coding="ids", first=0)
        given = dataclasses.replace(maps, instances=maps.instances and instance is not None)
        pair = Pair(name="source", source=source, target=source, instance=instance)
        ids, instances = read_label_pair(pair, given)
        ids = ids.to(torch.int64)
        return ids, ids if maps.instances and instances is None else instances

    def examples(self) -> list[Pair]:
        """Return pairs whose sources one may begin from: held-out ones where the data has them.

        Data that is no longer where it was, and sources that cannot be drawn upon, give none.
        """
        if self._examples is None:
            self._examples = _examples(self.config) if self.drawable else []
        return self._examples

    def example(self, number: int) -> bytes:
        """Return the source of an example as PNG: a picture, or a map of ids."""
        pair = self.examples()[number]
        if self._maps is None:
            image, _ = read_source(self.config, pair.source, side=pair.source_half)
            pixels = to_bytes(image)
            return _png(pixels[0] if len(pixels) == 1 else pixels.movedim(0, -1))
        ids, _ = read_label_pair(pair, dataclasses.replace(self._maps, instances=False))
        data = self.config.data
        if data.mode in ("resize_crop", "resize"):
            ids = resized_ids(ids, data.size)
        ids = ids + (self._maps.first if self._maps.coding == "ids" else 0)
        return _png(ids.to(torch.uint8 if int(ids.max()) < 256 else torch.uint16))


def _examples(config: Config) -> list[Pair]:
    """Return some pairs of the data that a run was trained on, evenly from all of a split."""
    try:
        root = Path(config.data.root)
        known = splits(root)
        split = next((name for name in ("val", "test", "train") if name in known), known[0])
        pairs = find_pairs(root, split, direction=config.data.direction)
    except (DataError, OSError):
        return []
    pairs = [pair for pair in pairs if not pair.more]
    step = max(1, len(pairs) // EXAMPLES)
    return pairs[::step][:EXAMPLES]


def _png(pixels: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.cpu().contiguous().numpy()).save(buffer, format="PNG")
    return buffer.getvalue()


def _check_pixels(path: Path, most: int) -> None:
    _, height, width = header(path)
    if height * width > most:
        raise DataError(
            f"{path} has {width}x{height} pixels where {most:,} are taken here: send a smaller "
            "image, or use `limner translate`"
        )


def _without_paths(error: LimnerError, paths: dict[str, Path]) -> LimnerError:
    """Return an error of a kind whose sentence says "the source" where it named a file."""
    sentence = str(error)
    called = {"source": "the source", "instance": "the instance map", "style": "the style"}
    for kind, path in paths.items():
        sentence = sentence.replace(str(path), called[kind])
    kind = OutOfMemoryError if isinstance(error, OutOfMemoryError) else DataError
    return kind(sentence)


def named_runs(folders: Sequence[Path], *, device: str, backend: str) -> dict[str, ServedRun]:
    """Load runs under names of their own: the folder's, numbered where two have one."""
    runs: dict[str, ServedRun] = {}
    for folder in folders:
        base = folder.resolve().name
        name, number = base, 2
        while name in runs:
            name, number = f"{base}-{number}", number + 1
        runs[name] = ServedRun(folder, name=name, device=device, backend=backend)
    return runs
