"""How pictures come to the segmenter, and how labels come to classes: the variants by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from limner.errors import unknown_name
from limner.evaluation.segmentation.resizing import Size, resized

Prepare = Callable[..., Tensor]


@dataclass(frozen=True)
class Protocol:
    """One way to score: in words, with its class map (a name, or none) and its resizing.

    `prepare(picture, label=, generated=, size=)` takes a uint8 picture 3 x H x W, the (height,
    width) of its label map and of the generated picture, and the size that was asked for, if any.
    """

    about: str
    class_map: str | None
    prepare: Prepare


def as_generated(picture: Tensor, *, label: Size, generated: Size, size: Size | None) -> Tensor:
    """Return the picture as it is, or resized to `size` (Pillow, bilinear, uint8)."""
    return picture if size is None else resized(picture, size)


def cityscapes(picture: Tensor, *, label: Size, generated: Size, size: Size | None) -> Tensor:
    """Return the picture as pix2pix's script gave it to its FCN.

    `imresize` to the size of the label map (2048 x 1024 there), or to `size`. A photo of another
    size than the generated picture is first brought to that size (256 x 256 in the paper), as the
    script's notes ask for the row of the real photos: they lose what the generator never saw.
    """
    return resized(resized(picture, generated), size or label)


PROTOCOLS: dict[str, Protocol] = {
    "plain": Protocol(
        "pictures as they are, or resized to the stated size", class_map=None, prepare=as_generated
    ),
    "cityscapes": Protocol(
        "pix2pix's: labelIds to train ids; photos brought to the size of the generated pictures, "
        "then all enlarged to that of the label maps as SciPy's imresize did it",
        class_map="cityscapes",
        prepare=cityscapes,
    ),
}


def protocol(name: str) -> Protocol:
    """Return the protocol of that name; `ConfigError` for an unknown one."""
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
