"""The metrics by name, and the figures that measuring gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from limner.errors import ConfigError, DataError, unknown_name


@dataclass(frozen=True)
class Metric:
    """What a metric is: in words, which way is better, and what it needs.

    `weights` are names of `weights.KNOWN`. `extractor`, of `features.EXTRACTORS`, is that of a
    distance between sets; a metric without one compares pairs.
    """

    about: str
    better: Literal["lower", "higher"]
    weights: tuple[str, ...] = ()
    extractor: str = ""

    @property
    def paired(self) -> bool:
        """Whether each picture is compared with its own target."""
        return not self.extractor


_LPIPS_ALEX = Metric("LPIPS 0.1 on AlexNet", "lower", ("alexnet", "lpips-alex"))


def _on(extractor: str, weights: str, about: str, better: Literal["lower", "higher"]) -> Metric:
    return Metric(about, better, (weights,), extractor)


# Names without a network are on Inception's features, as the papers have them.
METRICS: dict[str, Metric] = {
    "l1": Metric("mean absolute difference, levels scaled to [0, 1]", "lower"),
    "psnr": Metric("peak signal-to-noise ratio in dB, 100 at most", "higher"),
    "ssim": Metric("structural similarity, Gaussian window of 11 pixels", "higher"),
    "ms-ssim": Metric("structural similarity over five scales, from 176 pixels on", "higher"),
    "edge-f": Metric("F-score of Sobel edges within two pixels, Limner's own", "higher"),
    "lpips": _LPIPS_ALEX,
    "lpips-alex": _LPIPS_ALEX,
    "lpips-vgg": Metric("LPIPS 0.1 on VGG16", "lower", ("vgg16", "lpips-vgg")),
    "dists": Metric("DISTS: structure and texture in VGG16's layers", "lower", ("vgg16", "dists")),
    "fid": _on("inception", "inception", "Fréchet inception distance", "lower"),
    "fid-clean": _on(
        "inception-clean", "inception", "Fréchet inception distance, resized as clean-fid", "lower"
    ),
    "fid-inf": _on("inception", "inception", "FID extrapolated to endless sets", "lower"),
    "kid": _on("inception", "inception", "kernel inception distance", "lower"),
    "fd-vgg16": _on("vgg16", "vgg16", "Fréchet distance of VGG16 features", "lower"),
    "fd-vgg16-inf": _on("vgg16", "vgg16", "fd-vgg16 extrapolated to endless sets", "lower"),
    **{
        f"{name}{suffix}": _on(extractor, extractor, f"{about}, {title} features", "higher")
        for suffix, extractor, title in (
            ("", "inception", "Inception"),
            ("-vgg16", "vgg16", "VGG16"),
        )
        for name, about in (
            ("precision", "part of the fakes within the real manifold"),
            ("recall", "part of the reals within the fake manifold"),
            ("density", "how densely reals surround the fakes"),
            ("coverage", "part of the reals with a fake nearby"),
        )
    },
}

SEGMENTATION: dict[str, Metric] = {
    "pixel_accuracy": Metric("share of pixels that the segmenter recognises", "higher"),
    "class_accuracy": Metric("the same of each class, the mean over classes", "higher"),
    "class_iou": Metric("intersection over union, the mean over classes", "higher"),
    "frequency_weighted_iou": Metric("the same, weighted by the classes' pixels", "higher"),
}
"""The figures of the metric `seg`, which needs label maps too: `segmentation.results` adds them."""

FIGURES: dict[str, Metric] = METRICS | SEGMENTATION
"""All that may stand in a table of scores."""


@dataclass(frozen=True)
class Scores:
    """The figures of one comparison; all numbers are finite.

    `values` holds one number a metric, `per_image` one a picture for the paired metrics, in the
    order of `names` (empty where no metric was paired). `details` says for each metric what it
    rests on (images, weights with their SHA-256, dimensions, resizing), and under `run` what holds
    for all: versions, device, sizes, and what was done to pictures so that they could be measured.
    A metric's details hold `interval`, [low, high] of 95 %, and `interval_method` in words, where
    intervals were asked for and there is one for it.
    """

    values: dict[str, float]
    per_image: dict[str, list[float]]
    details: dict[str, dict[str, Any]]
    names: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the scores as plain dicts, lists, texts and finite numbers, ready for `json`."""
        return {**asdict(self), "names": list(self.names)}


def chosen(names: Sequence[str]) -> list[str]:
    """Return the metrics asked for, each once; `ConfigError` for an unknown one and for none."""
    for name in names:
        if name == "seg":
            raise ConfigError("seg needs label maps and a segmenter: say --labels and --segmenter")
        if name not in METRICS:
            raise unknown_name("metric", name, [*METRICS, "seg"])
    if not names:
        raise ConfigError(f"no metric was asked for: known are {', '.join(METRICS)}")
    return list(dict.fromkeys(names))


def check_counts(names: Sequence[str], *, real: int, fake: int) -> None:
    """Raise `DataError` where so many real and fake images do not do for the metrics `names`."""
    paired = [name for name in names if METRICS[name].paired]
    apart = [name for name in names if not METRICS[name].paired]
    if paired and real != fake:
        raise DataError(
            f"{real} real and {fake} fake images: {', '.join(paired)} compare picture with "
            "picture, so give as many of each"
        )
    if paired and not real:
        raise DataError(f"there are no images to compare by {', '.join(paired)}")
    for what, count in (("real", real), ("fake", fake)):
        if apart and count < 2:
            raise DataError(
                f"{count} {what} image{'' if count == 1 else 's'}: {', '.join(apart)} compare "
                "distributions, so give at least 2, better hundreds"
            )
