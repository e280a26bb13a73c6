"""What is wrong with single files and with the make-up of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from limner.checks.measured import ROLES, Measured, many, of_files, shown
from limner.findings import Evidence, Finding

# Thresholds; docs/checks.md tells what clean data reach.
CONSTANT_SPAN = 0.01  # of the type's range, in which each channel of a constant image lies

_PROBLEMS = {
    "unreadable": ("cannot be read", "save it anew as PNG or JPEG, or remove it with its pair"),
    "truncated": ("ends early", "restore it from its source, or remove it with its pair"),
    "empty": ("holds no byte", "restore it from its source, or remove it with its pair"),
}


def problems(measured: Measured) -> Iterator[Finding]:
    """Find `unreadable`, `truncated` and `empty` files."""
    for split, found in measured.features.items():
        by_kind: dict[str, dict[str, Evidence]] = {}
        for pair, features in zip(measured.listing.pairs[split], found, strict=True):
            for path, image in (
                (pair.source, features.source),
                (pair.target, features.target),
                (pair.instance, features.instance),
            ):
                if path is not None and image is not None and image.problem:
                    name = measured.listing.name(path)
                    by_kind.setdefault(image.problem, {})[name] = {"reason": image.reason}
        if split in measured.listing.refused:
            reason = measured.listing.refused[split]
            yield Finding(
                name="unreadable",
                severity="error",
                split=split,
                message=f"the split cannot be listed: {reason}",
                cure="do what the sentence says",
                evidence={"reason": reason},
            )
        for kind, (what, cure) in _PROBLEMS.items():
            if kind in by_kind:
                items = list(by_kind[kind].items())
                yield of_files(
                    kind,
                    "error",
                    split,
                    items,
                    message=f"{many(len(items), 'file')} {what}"
                    + ("" if kind == "empty" else f": {items[0][1]['reason']}"),
                    cure=cure,
                )


def constant(measured: Measured) -> Iterator[Finding]:
    """Find pictures that are one colour all over."""
    for split in measured.features:
        items: list[tuple[str, Evidence]] = [
            (image.name, {"low": image.features.low, "high": image.features.high})
            for image in measured.pictures(split)
            if image.features.span <= CONSTANT_SPAN
        ]
        if items:
            yield of_files(
                "constant",
                "warning",
                split,
                items,
                message=f"{many(len(items), 'picture')} of one colour all over",
                cure="remove them with their pairs: they teach nothing but that colour",
            )


def multi_frame(measured: Measured) -> Iterator[Finding]:
    """Find files that hold several pictures, of which the first alone is read."""
    for split, found in measured.features.items():
        items = []
        for pair, features in zip(measured.listing.pairs[split], found, strict=True):
            for path, image in ((pair.source, features.source), (pair.target, features.target)):
                if image.frames > 1:
                    items.append((measured.listing.name(path), {"frames": image.frames}))
        items = list(dict(items).items())
        if items:
            yield of_files(
                "multi-frame",
                "warning",
                split,
                items,
                message=f"{many(len(items), 'file')} with several frames, of which the first is "
                "used at most",
                cure="save each frame as a file of its own",
            )


def colour_profile(measured: Measured) -> Iterator[Finding]:
    """Find pictures whose colour profile, which is not applied, is another one than sRGB."""
    for split in measured.features:
        items = {
            image.name: {"profile": image.features.profile}
            for image in measured.images(split)
            if image.features.profile and "srgb" not in image.features.profile.lower()
        }
        if items:
            profiles = sorted({str(evidence["profile"]) for evidence in items.values()})
            yield of_files(
                "colour-profile",
                "note",
                split,
                list(items.items()),
                message=f"{many(len(items), 'picture')} with a colour profile that is not applied: "
                f"{shown(profiles)}",
                cure="convert them to sRGB (`magick IN -profile sRGB.icc OUT`) if colours matter",
            )


def mixed_size(measured: Measured) -> Iterator[Finding]:
    """Find splits whose images have several sizes."""
    for split in measured.features:
        images = list(measured.images(split))
        sizes = Counter((image.features.width, image.features.height) for image in images)
        if len(sizes) < 2:
            continue
        usual = sizes.most_common(1)[0][0]
        items = {
            image.name: {"width": image.features.width, "height": image.features.height}
            for image in images
            if (image.features.width, image.features.height) != usual
        }
        yield of_files(
            "mixed-size",
            "note",
            split,
            list(items.items()),
            message=f"images have {many(len(sizes), 'size')}, most of them {usual[0]}x{usual[1]}",
            cure="none is needed where data.mode resizes or crops; else resize them to one size",
            evidence={"sizes": len(sizes), "usual": f"{usual[0]}x{usual[1]}"},
        )


def mixed_mode(measured: Measured) -> Iterator[Finding]:
    """Find splits whose sources, or targets, differ in channels or in type."""
    for split in measured.features:
        items: dict[str, Evidence] = {}
        usual: list[str] = []
        for role in ROLES:
            images = list(measured.images(split, role=role))
            modes = Counter((image.features.channels, image.features.dtype) for image in images)
            if len(modes) < 2:
                continue
            channels, dtype = modes.most_common(1)[0][0]
            usual.append(f"{role}s have {many(channels, 'channel')} of {dtype}")
            items |= {
                image.name: {"channels": image.features.channels, "type": image.features.dtype}
                for image in images
                if (image.features.channels, image.features.dtype) != (channels, dtype)
            }
        if items:
            yield of_files(
                "mixed-mode",
                "warning",
                split,
                list(items.items()),
                message=f"{many(len(items), 'file')} of other channels or another type than the "
                f"rest, where {' and '.join(usual)}",
                cure="save them like the others, or convert them with --set data.convert=true",
            )


def unmatched(measured: Measured) -> Iterator[Finding]:
    """Find files without a partner, and pairs whose two sides differ in size."""
    for split, found in measured.features.items():
        items: dict[str, Evidence] = {
            measured.listing.name(path): {"reason": "no partner"}
            for path in measured.listing.unmatched.get(split, [])
        }
        single = len(items)
        for pair, features in zip(measured.listing.pairs[split], found, strict=True):
            source, target = features.source, features.target
            sizes = (source.width, source.height), (target.width, target.height)
            if not (source.problem or target.problem) and not _fit(*sizes):
                items[measured.listing.name(pair.target)] = {
                    "reason": f"{sizes[1][0]}x{sizes[1][1]} where its source is "
                    f"{sizes[0][0]}x{sizes[0][1]}"
                }
        if items:
            parts = [f"{many(single, 'file')} without a partner"] if single else []
            if len(items) > single:
                parts.append(f"{many(len(items) - single, 'pair')} of two sizes")
            yield of_files(
                "unmatched",
                "error",
                split,
                list(items.items()),
                message=" and ".join(parts),
                cure="pairs are matched by stem and have one size: rename, resize or remove these",
            )


def _fit(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Say whether two sizes are one, or one a whole multiple of the other."""
    for low, high in ((one, other), (other, one)):
        factor = high[0] // max(1, low[0])
        if factor >= 1 and (low[0] * factor, low[1] * factor) == high:
            return True
    return False


def small(measured: Measured) -> Iterator[Finding]:
    """Find images smaller than the training size, or than half of what most images have."""
    every = [image.features for image in measured.images()]
    if not every:
        return
    asked = measured.size
    if asked is None:
        (height, width), count = Counter((f.height, f.width) for f in every).most_common(1)[0]
        share = 1.0 if count > len(every) / 2 else 0.5
    else:
        (height, width), share = asked, 1.0
    for split in measured.features:
        items = {
            image.name: {"width": image.features.width, "height": image.features.height}
            for image in measured.images(split)
            if image.features.height < share * height or image.features.width < share * width
        }
        if items:
            yield of_files(
                "small",
                "warning",
                split,
                list(items.items()),
                message=f"{many(len(items), 'image')} smaller than the {width}x{height} of "
                + ("the training" if asked else "most images"),
                cure="train at a smaller --size, or replace them by larger originals",
                evidence={"height": height, "width": width},
            )
