"""One picture through a segmenter: padded, scored, resampled to the size of its label map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import ConfigError, WeightsError
from limner.evaluation.segmentation.resizing import Size
from limner.evaluation.segmentation.segmenters import Segmenter

PADDING = "edge pixels repeated at the right and the bottom, their scores cut off again"
RESAMPLING = "scores resampled bilinearly (half-pixel centres) to the label map, then the largest"


def padded_size(size: Size, multiple: int) -> Size:
    """Return the next height and width that are multiples of `multiple`."""
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


@torch.inference_mode()
def predict(segmenter: Segmenter, picture: Tensor, *, size: Size, name: str) -> tuple[Tensor, int]:
    """Return the channel with the largest score of each pixel, int64 of `size`, and how many.

    `picture` is uint8 3 x H x W. Where H and W are no multiples of `segmenter.multiple`, the last
    row and column are repeated up to the next multiple and their scores cut off again; scores that
    come smaller than what was given are first enlarged to it. Scores of another size than `size`
    are resampled bilinearly before the largest is taken, so that labels are never resized.

    Raises `ConfigError` where the segmenter takes another size only, `WeightsError` where it fails
    or gives no scores.
    """
    height, width = picture.shape[1:]
    if segmenter.size not in (None, (height, width)):
        fixed = segmenter.size
        raise ConfigError(
            f"{segmenter.name} takes pictures of {fixed[0]}x{fixed[1]} (height x width) only and "
            f"{name} is {height}x{width}: say --segmentation-size {fixed[0]}x{fixed[1]}"
        )
    full = (height, width) if segmenter.size else padded_size((height, width), segmenter.multiple)
    images = picture.to(segmenter.device).float()[None] / 255
    if full != (height, width):
        images = F.pad(images, (0, full[1] - width, 0, full[0] - height), mode="replicate")
    try:
        scores = segmenter.scores(images)
    except Exception as error:
        # What a foreign network or program raises is its own affair; it cannot score the picture.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"{segmenter.name} failed on {name} ({height}x{width}): {first}"
        ) from error
    if not isinstance(scores, Tensor) or scores.ndim != 4 or len(scores) != 1:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise WeightsError(f"{segmenter.name} gave {shape}: a segmenter gives scores N x C x H x W")
    scores = scores.float()
    if tuple(scores.shape[2:]) != full:
        scores = _resampled(scores, full)
    scores = scores[:, :, :height, :width]
    if (height, width) != size:
        scores = _resampled(scores, size)
    return scores.argmax(dim=1)[0].cpu(), scores.shape[1]


def _resampled(scores: Tensor, size: Size) -> Tensor:
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
