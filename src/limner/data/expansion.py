"""Label maps become what networks take: one-hot channels and the edges of instances."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from limner.errors import DataError


def network_input(
    batch: Mapping[str, Tensor],
    *,
    classes: int | None = None,
    void: int | None = None,
    edges: bool = False,
) -> Tensor:
    """Return the sources of a batch as a generator takes them, N x C x H x W floats.

    Pictures (`classes` is None) pass as they are; label maps are expanded, on the device on which
    they lie: see `expand`. The keywords are those of `Config.expansion`.
    """
    if classes is None:
        return batch["source"]
    return expand(batch["source"], batch.get("instance"), classes=classes, void=void, edges=edges)


def expand(
    source: Tensor,
    instance: Tensor | None = None,
    *,
    classes: int,
    void: int | None = None,
    edges: bool = False,
) -> Tensor:
    """Return label maps as float32 N x C x H x W: one-hot, 0 or 1, then the edges of instances.

    Args:
        source: ids, integers N x H x W.
        instance: instance ids, integers N x H x W; needed for `edges`.
        classes: ids 0 to classes - 1 have a channel each, in their order.
        void: an id outside that range that has the channel after them, or None.
        edges: whether the last channel shows `boundaries` of `instance`.

    C is `classes`, one more with `void`, one more with `edges` (the order of pix2pixHD's and
    SPADE's inputs).

    Raises:
        DataError: the shape is another one, `instance` is lacking, or (looked at on the CPU alone,
            since it would hold up other devices) an id has no channel.
    """
    if source.ndim != 3 or source.is_floating_point():
        raise DataError(
            f"label maps are integers N x H x W, this is {source.dtype} of shape "
            f"{tuple(source.shape)}: give ids, not a picture"
        )
    ids = source.to(torch.int64)
    if ids.device.type == "cpu":
        check_ids(ids, classes=classes, void=void)
    count = classes
    if void is not None:
        ids = torch.where(ids == void, classes, ids)
        count += 1
    number, height, width = ids.shape
    shape = (number, count + edges, height, width)
    expanded = torch.zeros(shape, dtype=torch.float32, device=ids.device)
    expanded[:, :count].scatter_(1, ids[:, None], 1.0)
    if edges:
        if instance is None or instance.shape != source.shape:
            raise DataError("instance edges need an instance map of the label map's size beside it")
        expanded[:, -1] = boundaries(instance)
    return expanded


def check_ids(ids: Tensor, *, classes: int, void: int | None = None) -> None:
    """Raise `DataError` for the first of some ids (integers of any shape) that has no channel."""
    wrong = (ids < 0) | (ids >= classes)
    if void is not None:
        wrong &= ids != void
    if bool(wrong.any()):
        raise DataError(
            f"a label map holds the id {int(ids[wrong][0])}, which has no channel: ids are "
            f"0 to {classes - 1}" + ("" if void is None else f", and {void} for void")
        )


def boundaries(instance: Tensor) -> Tensor:
    """Return where instances meet: True for pixels that differ from one of their 4 neighbours.

    Integers of shape ... x H x W give booleans of the same shape (Wang et al. 2018, section 3.3).
    """
    edge = torch.zeros(instance.shape, dtype=torch.bool, device=instance.device)
    across = instance[..., :, 1:] != instance[..., :, :-1]
    down = instance[..., 1:, :] != instance[..., :-1, :]
    edge[..., :, 1:] |= across
    edge[..., :, :-1] |= across
    edge[..., 1:, :] |= down
    edge[..., :-1, :] |= down
    return edge
