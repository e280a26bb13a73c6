"""What is wrong with label maps: ids and colours of no class, borders that were blurred or went
through a lossy codec, masks, instances; and what their classes and objects suit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from limner.checks.measured import Image, Measured, many, of_files, shown
from limner.findings import Evidence, Finding, Item

# Thresholds; docs/checks.md tells what clean data reach.
RAMPS = 0.15  # share of borders that run through values between, from which on a map was resized
FRAY = 0.04  # share of pixels in runs of one or two, above the usual, that a lossy codec leaves
STRANGE = 2e-4  # share of a map's pixels in colours of no class from which on it is off the palette
SELDOM = 0.25  # share of the maps: an id beyond a gap that fewer hold is no class
VOID = 0.3  # share of a split's pixels without a class
PURE = 0.9  # share of an instance's pixels that must lie in one class
RARE = 0.001  # share of the pixels under which a class is rare
RARE_MAPS = 0.02  # or of the maps that hold it
RULING = 0.7  # share of the pixels that one class has where the others hardly count
CROWD = 12.0  # small objects of one class in a picture, in the mean
GROWN = 0.15  # share of a class's objects that are several grown together
_OBJECTS = 4.0  # objects in the mean from which on a class counts as one of things


def label_range(measured: Measured) -> Iterator[Finding]:
    """Find ids that no class has."""
    if measured.labels.coding in ("exact", "nearest"):
        return  # pixels are colours, be they grey ones
    greys = {red for red, green, blue in measured.labels.colours if red == green == blue}
    known = _classes(measured) | greys
    for split in measured.features:
        items: dict[str, Evidence] = {}
        wrong: set[int] = set()
        for image in _ids(measured, split):
            values = image.features.values
            if not len(values) or _is_mask(image, measured) or is_ramped(image):
                continue
            outside = values[~np.isin(values[:, 0], list(known))]
            if len(outside):
                wrong |= set(outside[:, 0].tolist())
                items[image.name] = {
                    "value": int(outside[0, 0]),
                    "values": len(outside),
                    "pixels": int(outside[:, 1].sum()),
                }
        if items:
            told = ", ".join(str(value) for value in sorted(wrong)[:5])
            yield of_files(
                "label-range",
                "error",
                split,
                list(items.items()),
                message=f"{many(len(items), 'label map')} with ids that no class has: {told}"
                + (" ..." if len(wrong) > 5 else ""),
                cure="correct the maps, or say how many classes there are: "
                "--set data.labels.classes=N, with data.labels.void for pixels without one",
                evidence={"lowest": min(wrong), "highest": max(wrong)},
            )


def _ids(measured: Measured, split: str) -> Iterator[Image]:
    return (
        image for image in measured.label_images(split) if measured.codings[image.role] == "ids"
    )


def _classes(measured: Measured) -> frozenset[int]:
    """Return the ids that classes have, void among them: as said, else as the maps show.

    Where nothing is said the classes are the ids up to the first gap beyond which fewer than a
    quarter of the maps have any; 255 is void.
    """
    said = measured.labels
    if said.classes is not None:
        ids = set(range(said.first + said.classes))
        return frozenset(ids if said.void is None else {*ids, said.void})
    counts: Counter[int] = Counter()
    total = 0
    for split in measured.features:
        for image in _ids(measured, split):
            if len(image.features.values):
                counts.update(image.features.values[:, 0].tolist())
                total += 1
    often = {value for value, count in counts.items() if count >= SELDOM * total}
    highest = max((value for value in often if value != 255), default=0)
    while highest + 1 in counts:  # a rare class just above the others is a class
        highest += 1
    return frozenset(set(range(highest + 1)) | {255})


def is_ramped(image: Image) -> bool:
    """Say whether a map's borders run through the values between those of their two sides."""
    return image.features.ramps >= RAMPS


def interpolated(measured: Measured) -> Iterator[Finding]:
    """Find label maps that were resized by interpolation, or blurred."""
    for split in measured.features:
        items = {
            image.name: {"ramps": round(image.features.ramps, 3)}
            for image in measured.label_images(split)
            if is_ramped(image) and not is_lossy(image, measured)
        }
        if items:
            yield of_files(
                "interpolated-labels",
                "error",
                split,
                list(items.items()),
                message=f"{many(len(items), 'label map')} whose borders run through ids between "
                "those of their two sides, as interpolation makes them",
                cure="make them anew from the originals and resize by nearest neighbour alone",
            )


def lossy(measured: Measured) -> Iterator[Finding]:
    """Find label maps that went through a codec that changes values."""
    for split in measured.features:
        items = {
            image.name: {
                "codec": "lossy" if image.features.lossy else "lossless now",
                "ragged": round(image.features.ragged, 3),
            }
            for image in measured.label_images(split)
            if is_lossy(image, measured)
        }
        if not items:
            continue
        coloured = all(measured.codings[i.role] == "colours" for i in measured.label_images(split))
        near = coloured and (measured.labels.coding == "nearest" or bool(measured.labels.colours))
        yield of_files(
            "lossy-labels",
            "warning" if near else "error",
            split,
            list(items.items()),
            message=f"{many(len(items), 'label map')} stored by a codec that changes values, so "
            "that ids of other classes appear along borders",
            cure="save the originals as PNG"
            + ("" if not coloured else ", or name the classes' colours and take the nearest"),
        )


def is_lossy(image: Image, measured: Measured) -> bool:
    """Say whether a label map went through a lossy codec: its own, or one before."""
    if image.features.lossy:
        return True
    found = image.features
    usual = _usual_raggedness(measured, image.role)
    many_values = not len(found.values) or len(found.values) > 3 * usual[1] + 8
    return found.ragged > usual[0] + FRAY and many_values


def _usual_raggedness(measured: Measured, role: str) -> tuple[float, float]:
    """Return the lower quartiles of raggedness and of the number of values among lossless maps."""
    maps = [
        image.features
        for split in measured.features
        for image in measured.label_images(split)
        if image.role == role and not image.features.lossy
    ]
    ragged = float(np.quantile([found.ragged for found in maps], 0.25)) if maps else 0.0
    values = [len(found.values) for found in maps if len(found.values)]
    return min(ragged, 0.1), float(np.quantile(values, 0.25)) if values else 0.0


def masks(measured: Measured) -> Iterator[Finding]:
    """Find masks of 0 and 255 among label maps."""
    for split in measured.features:
        items = {
            image.name: {"value": 255}
            for image in _ids(measured, split)
            if _is_mask(image, measured)
        }
        if items:
            yield of_files(
                "mask-for-labels",
                "error",
                split,
                list(items.items()),
                message=f"{many(len(items), 'label map')} of 0 and 255 alone: masks, whose 255 is "
                "no class",
                cure="write 1 for 255, or name two classes with the colours [0,0,0] and "
                "[255,255,255] in dataset.yaml",
            )


def _is_mask(image: Image, measured: Measured) -> bool:
    values = set(image.features.values[:, 0].tolist())
    colours = measured.labels.colours
    if values != {0, 255} or (255, 255, 255) in colours:
        return False
    # Void may be all that a map has beside class 0, where other maps hold more.
    return measured.labels.void != 255 and not _others_hold_void(measured)


def _others_hold_void(measured: Measured) -> bool:
    """Say whether many maps hold 255 beside several classes: then it is void."""
    with_void = plain = 0
    for split in measured.features:
        for image in _ids(measured, split):
            values = set(image.features.values[:, 0].tolist())
            if 255 in values and len(values) > 2:
                with_void += 1
            elif values == {0, 255}:
                plain += 1
    return with_void > 2 * plain


def off_palette(measured: Measured) -> Iterator[Finding]:
    """Find colours of no class, and palettes that number the colours in another way than most."""
    for split in measured.features:
        items: dict[str, Evidence] = {}
        for role, coding in measured.codings.items():
            usual = _usual_palette(measured, role)
            palette = measured.palette(role)
            for image in measured.label_images(split):
                if image.role != role or is_lossy(image, measured) or is_ramped(image):
                    continue
                found = image.features
                if coding == "ids":
                    wrong = [
                        int(row[0])
                        for row in found.palette
                        if int(row[0]) in usual and tuple(row[1:]) != usual[int(row[0])]
                    ]
                    if wrong:
                        items[image.name] = {"index": wrong[0], "indices": len(wrong)}
                    continue
                strange = found.values[~np.isin(found.values[:, 0], list(palette))]
                share = strange[:, 1].sum() / max(1, found.height * found.width)
                if not len(found.values) or share > STRANGE:
                    code = int(strange[strange[:, 1].argmax(), 0]) if len(strange) else 0
                    items[image.name] = {
                        "colour": f"#{code:06x}",
                        "colours": len(strange),
                        "share": float(share),
                    }
        if items:
            yield of_files(
                "off-palette",
                "error",
                split,
                list(items.items()),
                message=f"{many(len(items), 'label map')} with colours of no class, or with a "
                "palette that numbers them in another way than the others",
                cure="save them with the palette of the others, or name the classes' colours in "
                "dataset.yaml",
            )


def _usual_palette(measured: Measured, role: str) -> dict[int, tuple[int, ...]]:
    """Return the colour that most maps give each index; none where palettes disagree."""
    votes: dict[int, Counter[tuple[int, ...]]] = {}
    for split in measured.features:
        for image in measured.label_images(split):
            if image.role == role:
                for row in image.features.palette.tolist():
                    votes.setdefault(row[0], Counter())[tuple(row[1:])] += 1
    return {
        index: counts.most_common(1)[0][0]
        for index, counts in votes.items()
        if counts.most_common(1)[0][1] > 0.5 * sum(counts.values()) and sum(counts.values()) > 2
    }


def instances(measured: Measured) -> Iterator[Finding]:
    """Find maps of instances that do not fit their label maps."""
    for split, found in measured.features.items():
        pairs = measured.listing.pairs[split]
        some = [features for features in found if features.instance is not None]
        if not some or "source" not in measured.codings:
            continue
        items: dict[str, Evidence] = {}
        for pair, features in zip(pairs, found, strict=True):
            instance = features.instance
            if instance is None:
                items[measured.listing.name(pair.source)] = {"reason": "no instance map"}
            elif instance.problem or pair.instance is None:
                continue
            elif (instance.height, instance.width) != (
                features.source.height,
                features.source.width,
            ):
                items[measured.listing.name(pair.instance)] = {"reason": "another size"}
            elif features.purity < PURE:
                items[measured.listing.name(pair.instance)] = {
                    "reason": "instances lie in several classes",
                    "purity": round(features.purity, 3),
                }
        if items:
            yield of_files(
                "instance-mismatch",
                "warning",
                split,
                list(items.items()),
                message=f"{many(len(items), 'map')} of instances that do not fit their label maps",
                cure="make them anew from one annotation, or set data.labels.edges=false",
            )


def _totals(measured: Measured, split: str) -> tuple[Counter[int], Counter[int], int]:
    """Return pixels and maps of each id (or colour) of a split, and the number of maps."""
    pixels: Counter[int] = Counter()
    maps: Counter[int] = Counter()
    total = 0
    for image in measured.label_images(split):
        if not len(image.features.values) or is_lossy(image, measured) or is_ramped(image):
            continue
        total += 1
        for value, count in image.features.values.tolist():
            pixels[value] += count
            maps[value] += 1
    return pixels, maps, total


def class_shares(measured: Measured) -> dict[str, dict[str, float]]:
    """Return the share of the pixels that each class has in each split, the largest first."""
    found = {}
    for split in measured.features:
        pixels, _, _ = _totals(measured, split)
        every = sum(pixels.values())
        if every:
            found[split] = {
                _class(measured, value): count / every for value, count in pixels.most_common(40)
            }
    return found


def _void_values(measured: Measured) -> set[int]:
    void = measured.labels.void
    return {255} if void is None else {void, 255}


def _class(measured: Measured, value: int) -> str:
    names, first = measured.labels.names, measured.labels.first
    if "colours" in measured.codings.values():
        return f"#{value:06x}"
    place = value - first
    return f"{names[place]} ({value})" if 0 <= place < len(names) else str(value)


def shares(measured: Measured) -> Iterator[Finding]:
    """Tell of `void-share`, `rare-class` and `imbalance`."""
    for split in measured.features:
        pixels, maps, total = _totals(measured, split)
        every = sum(pixels.values())
        if not total or not every:
            continue
        void = _void_values(measured)
        without = sum(count for value, count in pixels.items() if value in void) / every
        if without > VOID:
            yield Finding(
                name="void-share",
                severity="note",
                split=split,
                message=f"{without:.0%} of the pixels have no class",
                cure="label more of the pictures, or crop to what is labelled",
                evidence={"share": without},
            )
        counted = {value: count for value, count in pixels.items() if value not in void}
        rare = [
            value
            for value, count in counted.items()
            if count < RARE * every or maps[value] < RARE_MAPS * total
        ]
        if rare and total >= 10:
            yield Finding(
                name="rare-class",
                severity="note",
                split=split,
                message=f"{many(len(rare), 'class', 'classes')} with under {RARE:.1%} of the "
                f"pixels or in under {RARE_MAPS:.0%} of the maps: "
                f"{shown([_class(measured, value) for value in sorted(rare)])}",
                cure="more pictures with them, or one class with what they resemble",
                evidence={"classes": len(rare)},
                items=[
                    Item(
                        files=(),
                        evidence={
                            "class": _class(measured, value),
                            "share": counted[value] / every,
                            "maps": maps[value],
                        },
                    )
                    for value in sorted(rare)
                ],
            )
        if len(counted) > 1 and max(counted.values()) > RULING * sum(counted.values()):
            ruling = max(counted, key=lambda value: counted[value])
            share = counted[ruling] / sum(counted.values())
            yield Finding(
                name="imbalance",
                severity="note",
                split=split,
                message=f"class {_class(measured, ruling)} has {share:.0%} of the pixels",
                cure="figures over all pixels are those of that class: look at each class's own",
                evidence={"class": _class(measured, ruling), "share": share},
            )


def suitability(measured: Measured) -> Iterator[Finding]:
    """Tell of classes that are `crowded` and of objects that are `touching`."""
    for split, found in measured.features.items():
        objects: dict[int, list[tuple[int, int, int]]] = {}
        maps = 0
        for image in measured.label_images(split):
            if len(image.features.values) and not is_ramped(image):
                maps += 1
                for value, count, small, grown in image.features.objects.tolist():
                    objects.setdefault(value, []).append((count, small, grown))
        instances = any(features.instance is not None for features in found)
        crowded, touching = [], []
        for value, counts in objects.items():
            number, small, grown = np.array(counts).sum(axis=0)
            if small / max(1, maps) >= CROWD:
                crowded.append((value, float(small / maps)))
            things = number / max(1, maps) >= _OBJECTS
            if not instances and things and grown >= GROWN * number:
                touching.append((value, float(grown / number)))
        if crowded:
            yield Finding(
                name="crowded",
                severity="note",
                split=split,
                message="many small objects in little space, of "
                + shown([f"{_class(measured, v)}, {n:.0f} a picture" for v, n in crowded]),
                cure="train at a larger --size, or on crops (data.mode=crop)",
                evidence={"classes": len(crowded), "most": max(n for _, n in crowded)},
            )
        if touching:
            yield Finding(
                name="touching",
                severity="note",
                split=split,
                message="objects of one class that touch, without instance maps to part them, of "
                + shown([f"{_class(measured, v)}, {s:.0%} of them" for v, s in touching]),
                cure="add maps of instances (train/instance), whose edges part them",
                evidence={"classes": len(touching), "share": max(s for _, s in touching)},
            )
