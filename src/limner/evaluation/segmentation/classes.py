"""Which label of the data set and which output of the segmenter mean the same class.

The labels of Cityscapes are those of Cordts et al. 2016 (arXiv:1604.01685), by the numbers of the
data set's own scripts. Train id 255 is left out of every score, and so is -1 (licence plates, which
are not drawn into the label maps).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limner.errors import ConfigError, DataError, unknown_name
from limner.files import read_json, read_text, read_yaml

VOID = -1
"""The class of a pixel that is left out."""

_MOST_IDS = 1 << 16


@dataclass(frozen=True)
class ClassMap:
    """How a data set's labels and a segmenter's outputs become classes 0, 1, ...

    `labels` gives the class of each label id, None for void. `outputs` gives the class of each
    channel of the segmenter; a channel that it lacks means none of the classes, so what is
    recognised as that is wrong. `source` says where the map comes from.
    """

    classes: tuple[str, ...]
    labels: Mapping[int, int | None]
    outputs: Mapping[int, int]
    source: str

    def of_labels(self, ids: Tensor, *, name: str) -> Tensor:
        """Return the class of each label id, `VOID` for void; `DataError` for an unknown id."""
        present = torch.unique(ids).tolist()
        unknown = [value for value in present if value not in self.labels]
        if unknown:
            known = ", ".join(map(str, sorted(self.labels)))
            raise DataError(
                f"{name} holds the label {unknown[0]}, and the class map ({self.source}) knows "
                f"{known}: leave it out with --void {unknown[0]}, or give a class map that has it"
            )
        table = torch.full((max(present) + 1,), VOID, dtype=torch.int64)
        for value in present:
            mapped = self.labels[value]
            table[value] = VOID if mapped is None else mapped
        return table[ids]

    def of_outputs(self, channels: Tensor, *, count: int) -> Tensor:
        """Return the class of each recognised channel, of `count`; none of them is len(classes)."""
        if self.outputs and max(self.outputs) >= count:
            raise ConfigError(
                f"the class map ({self.source}) names output {max(self.outputs)} and the segmenter "
                f"has {count} (0 to {count - 1}): give the segmenter's own class map"
            )
        table = torch.full((count,), len(self.classes), dtype=torch.int64)
        for channel, mapped in self.outputs.items():
            table[channel] = mapped
        return table[channels]

    def without(self, void: Sequence[int]) -> ClassMap:
        """Return the map with the label ids `void` left out too."""
        return replace(self, labels={**self.labels, **dict.fromkeys(void)})

    def to_json(self) -> dict[str, Any]:
        """Return the map in the form of a file, with where it comes from."""
        return {
            "source": self.source,
            "classes": list(self.classes),
            "labels": {str(k): v for k, v in self.labels.items()},
            "outputs": {str(k): v for k, v in self.outputs.items()},
        }


def identity(count: int, *, void: Sequence[int] = ()) -> ClassMap:
    """Return the map for labels that are numbered as the segmenter's `count` outputs.

    Ids in `void` are no classes: their labels are left out, and to recognise them is wrong.
    """
    kept = [k for k in range(count) if k not in void]
    numbers = {old: new for new, old in enumerate(kept)}
    return ClassMap(
        classes=tuple(str(k) for k in kept),
        labels={**numbers, **dict.fromkeys(void)},
        outputs=numbers,
        source="labels numbered as the segmenter's outputs",
    )


class Label(NamedTuple):
    """One row of Cityscapes' table."""

    name: str
    id: int
    train_id: int
    colour: tuple[int, int, int]


CITYSCAPES: tuple[Label, ...] = (
    Label("unlabeled", 0, 255, (0, 0, 0)),
    Label("ego vehicle", 1, 255, (0, 0, 0)),
    Label("rectification border", 2, 255, (0, 0, 0)),
    Label("out of roi", 3, 255, (0, 0, 0)),
    Label("static", 4, 255, (0, 0, 0)),
    Label("dynamic", 5, 255, (111, 74, 0)),
    Label("ground", 6, 255, (81, 0, 81)),
    Label("road", 7, 0, (128, 64, 128)),
    Label("sidewalk", 8, 1, (244, 35, 232)),
    Label("parking", 9, 255, (250, 170, 160)),
    Label("rail track", 10, 255, (230, 150, 140)),
    Label("building", 11, 2, (70, 70, 70)),
    Label("wall", 12, 3, (102, 102, 156)),
    Label("fence", 13, 4, (190, 153, 153)),
    Label("guard rail", 14, 255, (180, 165, 180)),
    Label("bridge", 15, 255, (150, 100, 100)),
    Label("tunnel", 16, 255, (150, 120, 90)),
    Label("pole", 17, 5, (153, 153, 153)),
    Label("polegroup", 18, 255, (153, 153, 153)),
    Label("traffic light", 19, 6, (250, 170, 30)),
    Label("traffic sign", 20, 7, (220, 220, 0)),
    Label("vegetation", 21, 8, (107, 142, 35)),
    Label("terrain", 22, 9, (152, 251, 152)),
    Label("sky", 23, 10, (70, 130, 180)),
    Label("person", 24, 11, (220, 20, 60)),
    Label("rider", 25, 12, (255, 0, 0)),
    Label("car", 26, 13, (0, 0, 142)),
    Label("truck", 27, 14, (0, 0, 70)),
    Label("bus", 28, 15, (0, 60, 100)),
    Label("caravan", 29, 255, (0, 0, 90)),
    Label("trailer", 30, 255, (0, 0, 110)),
    Label("train", 31, 16, (0, 80, 100)),
    Label("motorcycle", 32, 17, (0, 0, 230)),
    Label("bicycle", 33, 18, (119, 11, 32)),
    Label("license plate", -1, -1, (0, 0, 142)),
)

TRAIN_VOID = 255
"""The train id of what is left out."""

TRAIN_NAMES: tuple[str, ...] = tuple(
    label.name
    for label in sorted(CITYSCAPES, key=lambda label: label.train_id)
    if 0 <= label.train_id < TRAIN_VOID
)
"""The names of the 19 train ids, in their order."""


def _cityscapes(train_ids: bool) -> ClassMap:
    names = TRAIN_NAMES
    direct: dict[int, int | None] = {k: k for k in range(len(names))}
    table = {
        label.id: label.train_id if label.train_id != TRAIN_VOID else None
        for label in CITYSCAPES
        if label.id >= 0
    }
    return ClassMap(
        classes=names,
        labels={**direct, TRAIN_VOID: None} if train_ids else table,
        outputs={k: k for k in range(len(names))},
        source="cityscapes-train-ids" if train_ids else "cityscapes",
    )


_CAMVID = "sky building pole road pavement tree sign fence car pedestrian bicyclist"

SHIPPED: dict[str, ClassMap] = {
    "cityscapes": _cityscapes(train_ids=False),
    "cityscapes-train-ids": _cityscapes(train_ids=True),
    "camvid": replace(identity(12, void=[11]), classes=tuple(_CAMVID.split()), source="camvid"),
}
"""Maps by name: Cityscapes' label ids (0..33) or train ids (0..18, 255), CamVid (0..10, 11)."""


def load_class_map(where: str) -> ClassMap:
    """Return the class map of a name in `SHIPPED` or of a YAML or JSON file.

    A file has `classes` (a list of names), `labels` (label id: class), and `outputs` (output of the
    segmenter: class), the last two left out where labels or outputs are numbered as the classes. A
    class is a name or a number; null means void in `labels`, none of the classes in `outputs`.

    Raises:
        ConfigError: the file is no class map; the message names the entry.
    """
    if where in SHIPPED:
        return SHIPPED[where]
    path = Path(where)
    if not path.is_file():
        if path.suffix or "/" in where:
            raise ConfigError(f"the class map {where} does not exist: give a YAML or JSON file")
        raise unknown_name("class map", where, SHIPPED)
    if path.suffix.lower() == ".json":
        return _from_file(read_json(path, error=ConfigError), path)
    content = read_yaml(read_text(path, error=ConfigError), path)
    return _from_file(content, path)


def _from_file(content: Any, path: Path) -> ClassMap:
    names = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names or len({str(n) for n in names}) != len(names):
        raise ConfigError(f"{path} needs `classes`, a list of class names, each once")
    if extra := set(content) - {"classes", "labels", "outputs"}:
        raise ConfigError(
            f"{path} has {sorted(map(str, extra))[0]!r}: known are classes, labels, outputs"
        )
    classes = tuple(map(str, names))
    direct = {k: k for k in range(len(classes))}
    labels = _entries(content.get("labels", direct), "labels", classes, path)
    outputs = _entries(content.get("outputs", direct), "outputs", classes, path)
    return ClassMap(
        classes=classes,
        labels=labels,
        outputs={k: v for k, v in outputs.items() if v is not None},
        source=path.name,
    )


def _entries(
    entries: Any, what: str, classes: tuple[str, ...], path: Path
) -> dict[int, int | None]:
    """Return one of the two tables with numbers for names."""
    if isinstance(entries, list):
        entries = dict(enumerate(entries))
    if not isinstance(entries, dict) or not entries:
        raise ConfigError(f"{path}: `{what}` is a table of ids and classes")
    table: dict[int, int | None] = {}
    for key, value in entries.items():
        # JSON has texts for keys.
        number = int(key) if str(key).isdecimal() else -1
        if not 0 <= number < _MOST_IDS:
            raise ConfigError(f"{path}: `{what}` has the id {key!r}: ids are whole numbers from 0")
        if value is None:
            table[number] = None
        elif not isinstance(value, bool) and value in range(len(classes)):
            table[number] = int(value)
        elif str(value) in classes:
            table[number] = classes.index(str(value))
        else:
            raise unknown_name(f"class for {what} {key} in {path}", str(value), classes)
    return table
