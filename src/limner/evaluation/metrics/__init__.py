"""The metrics: one table of names, each with its function and what that needs.

A metric that compares each picture with its own target is a line of `PAIRED`, one that compares
two sets as wholes a line of `OF_SETS`; both together are `METRICS`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

from limner.errors import ConfigError, DataError, unknown_name
from limner.evaluation.features import EXTRACTORS
from limner.evaluation.metrics import of_sets, per_pixel
from limner.evaluation.metrics.distances import INFINITY_FEWEST
from limner.evaluation.metrics.learned import DISTS, LPIPS, PerceptualDistance
from limner.evaluation.metrics.of_sets import FeatureSets, Figure

Better = Literal["lower", "higher"]

PairFunction = Callable[[Tensor, Tensor], Tensor]
"""From two N x C x H x W uint8 batches, real and fake, to N values."""


class SetFunction(Protocol):
    """From the features of two sets to a figure; `resamples` are those behind its interval."""

    def __call__(self, sets: FeatureSets, /, *, seed: int, resamples: int) -> Figure:
        """Return the figure."""
        ...


@dataclass(frozen=True)
class Metric:
    """What every metric says of itself: what it is, in words, and which way is better.

    `smallest` is the shorter side in pixels from which on it can be computed.
    """

    about: str
    better: Better
    smallest: int = field(default=1, kw_only=True)


@dataclass(frozen=True)
class PairMetric(Metric):
    """A metric of pixels: the mean over the pictures of its value for each and its target.

    `function` compares pixels as they are. A metric that needs a network gives `network` in its
    place, which makes it without weights; `weights` are then those of backbone and heads, names
    of `limner.networks.pretrained.KNOWN`. `details` tells of all values what the figure rests on.
    """

    function: PairFunction | None = None
    network: Callable[[], PerceptualDistance] | None = None
    weights: tuple[str, ...] = ()
    details: Callable[[Sequence[float]], dict[str, float]] | None = None


@dataclass(frozen=True)
class SetMetric(Metric):
    """A metric of features: two sets by one `extractor` of `features.EXTRACTORS`.

    `nearest` is the number of neighbours that it looks at, if it does, `fewest` the images that it
    needs of each set.
    """

    extractor: str
    function: SetFunction
    nearest: int | None = None
    fewest: int = 2

    @property
    def weights(self) -> tuple[str, ...]:
        """The weights of the extractor."""
        return (EXTRACTORS[self.extractor].weights,)


# The sides from which on their maps are not empty.
_OF_ALEXNET, _OF_VGG16 = 31, 16

_LPIPS_ALEX = PairMetric(
    "LPIPS 0.1 on AlexNet",
    "lower",
    smallest=_OF_ALEXNET,
    network=functools.partial(LPIPS, backbone="alex"),
    weights=("alexnet", "lpips-alex"),
)

PAIRED: dict[str, PairMetric] = {
    "l1": PairMetric(
        "mean absolute difference, levels scaled to [0, 1]", "lower", function=per_pixel.l1
    ),
    "mae": PairMetric(
        "mean absolute difference in the data's own unit, 8-bit levels where it has none",
        "lower",
        function=per_pixel.mae,
    ),
    "rmse": PairMetric(
        "root of the mean squared difference, in the same unit", "lower", function=per_pixel.rmse
    ),
    "psnr": PairMetric(
        "peak signal-to-noise ratio in dB, 100 at most",
        "higher",
        function=per_pixel.psnr,
        details=per_pixel.count_capped,
    ),
    "ssim": PairMetric(
        "structural similarity, Gaussian window of 11 pixels",
        "higher",
        function=per_pixel.ssim,
        smallest=per_pixel.SSIM_SMALLEST,
    ),
    "ms-ssim": PairMetric(
        "structural similarity over five scales, from 176 pixels on",
        "higher",
        function=per_pixel.ms_ssim,
        smallest=per_pixel.MS_SSIM_SMALLEST,
    ),
    "edge-f": PairMetric(
        "F-score of Sobel edges within two pixels, Limner's own",
        "higher",
        function=per_pixel.edge_f,
    ),
    "lpips": _LPIPS_ALEX,
    "lpips-alex": _LPIPS_ALEX,
    "lpips-vgg": PairMetric(
        "LPIPS 0.1 on VGG16",
        "lower",
        network=functools.partial(LPIPS, backbone="vgg"),
        smallest=_OF_VGG16,
        weights=("vgg16", "lpips-vgg"),
    ),
    "dists": PairMetric(
        "DISTS: structure and texture in VGG16's layers",
        "lower",
        network=DISTS,
        smallest=_OF_VGG16,
        weights=("vgg16", "dists"),
    ),
}
"""Metrics that compare each picture with its own target."""

_fd_vgg16 = functools.partial(of_sets.fid, instead="fd-vgg16-inf")

# Names without a network are on Inception's features, as the papers have them.
OF_SETS: dict[str, SetMetric] = {
    "fid": SetMetric("Fréchet inception distance", "lower", "inception", of_sets.fid),
    "fid-clean": SetMetric(
        "Fréchet inception distance, resized as clean-fid", "lower", "inception-clean", of_sets.fid
    ),
    "fid-inf": SetMetric(
        "FID extrapolated to endless sets",
        "lower",
        "inception",
        of_sets.fid_infinity,
        fewest=INFINITY_FEWEST,
    ),
    "kid": SetMetric("kernel inception distance", "lower", "inception", of_sets.kid),
    "fd-vgg16": SetMetric(
        "Fréchet distance of VGG16 features", "lower", "vgg16", _fd_vgg16, smallest=_OF_VGG16
    ),
    "fd-vgg16-inf": SetMetric(
        "fd-vgg16 extrapolated to endless sets",
        "lower",
        "vgg16",
        of_sets.fid_infinity,
        fewest=INFINITY_FEWEST,
        smallest=_OF_VGG16,
    ),
    **{
        f"{name}{suffix}": SetMetric(
            f"{about}, {title}",
            "higher",
            extractor,
            function,
            nearest,
            fewest=nearest + 1,
            smallest=smallest,
        )
        for suffix, extractor, title, smallest in (
            ("", "inception", "Inception features", 1),
            ("-vgg16", "vgg16", "VGG16 features", _OF_VGG16),
        )
        for name, about, function, nearest in (
            (
                "precision",
                "part of the fakes within the real manifold",
                of_sets.precision,
                of_sets.PRECISION_NEAREST,
            ),
            (
                "recall",
                "part of the reals within the fake manifold",
                of_sets.recall,
                of_sets.PRECISION_NEAREST,
            ),
            (
                "density",
                "how densely reals surround the fakes",
                of_sets.density,
                of_sets.DENSITY_NEAREST,
            ),
            (
                "coverage",
                "part of the reals with a fake nearby",
                of_sets.coverage,
                of_sets.DENSITY_NEAREST,
            ),
        )
    },
}
"""Metrics that compare two sets as wholes, whatever their order and number."""

METRICS: dict[str, PairMetric | SetMetric] = {**PAIRED, **OF_SETS}
"""All metrics that two sets of pictures are enough for."""

SEG = "seg"
"""The name by which `SEGMENTATION` is asked for."""

SEGMENTATION: dict[str, Metric] = {
    "pixel_accuracy": Metric("share of pixels that the segmenter recognises", "higher"),
    "class_accuracy": Metric("the same of each class, the mean over classes", "higher"),
    "class_iou": Metric("intersection over union, the mean over classes", "higher"),
    "frequency_weighted_iou": Metric("the same, weighted by the classes' pixels", "higher"),
}
"""The figures of the metric `seg`, which needs label maps and a segmenter too."""

FIGURES: dict[str, Metric] = {**METRICS, **SEGMENTATION}
"""All that may stand in a table of scores."""


@dataclass(frozen=True)
class Scores:
    """The figures of one comparison; all numbers are finite.

    `values` holds one number a metric, `per_image` one a picture for the paired metrics, in the
    order of `names` (empty where no metric was paired). `details` says for each metric what it
    rests on (images, weights with their SHA-256, dimensions, resizing), and under `run` what holds
    for all: versions, device, sizes, and what was done to pictures so that they could be measured.
    A metric's details hold `interval`, [low, high] of 95 %, and `interval_method` in words, where
    intervals were asked for and there is one for it. `groups` holds the group of each name (a
    patient, a slide) where groups are known, which intervals and tests then draw; else it is empty.

    Raises:
        DataError: a number is not finite, or a metric has not one value for each name.
    """

    values: dict[str, float]
    per_image: dict[str, list[float]]
    details: dict[str, dict[str, Any]]
    names: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.groups and len(self.groups) != len(self.names):
            raise DataError(f"{len(self.groups)} groups were given for {len(self.names)} pictures")
        for metric, each in self.per_image.items():
            if len(each) != len(self.names):
                raise DataError(f"{metric} has {len(each)} values for {len(self.names)} pictures")
            for name, value in zip(self.names, each, strict=True):
                _check_finite(value, f"{metric} of {name}")
        for metric, value in self.values.items():
            _check_finite(value, metric)

    def only(self, metrics: Collection[str]) -> Scores:
        """Return the scores of these metrics; `seg` stands for all figures of `SEGMENTATION`."""
        wanted = set(metrics) | (SEGMENTATION.keys() if SEG in metrics else set())
        per_image = {name: each for name, each in self.per_image.items() if name in wanted}
        return Scores(
            {name: value for name, value in self.values.items() if name in wanted},
            per_image,
            {name: one for name, one in self.details.items() if name in {*wanted, "run"}},
            self.names if per_image else (),
            self.groups if per_image else (),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the scores as plain dicts, lists, texts and finite numbers, ready for `json`."""
        return {**asdict(self), "names": list(self.names), "groups": list(self.groups)}

    @classmethod
    def from_json(cls, content: Any) -> Scores:
        """Return the scores that `to_json` gave; `DataError` where they are damaged."""
        try:
            return cls(
                values=dict(content["values"]),
                per_image={name: list(each) for name, each in content["per_image"].items()},
                details={name: dict(one) for name, one in content["details"].items()},
                names=tuple(str(name) for name in content["names"]),
                groups=tuple(str(group) for group in content.get("groups", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the scores lack their form ({error}): measure again") from error


def _check_finite(value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(
            f"{what} is {value}, not a number that means anything: the pictures, the run's weights "
            "or the metric's are broken"
        )


def chosen(names: Sequence[str]) -> list[str]:
    """Return the metrics asked for, each once; `ConfigError` for an unknown one and for none."""
    for name in names:
        if name == SEG:
            raise ConfigError("seg needs label maps and a segmenter: say --labels and --segmenter")
        if name not in METRICS:
            raise unknown_name("metric", name, [*METRICS, SEG])
    if not names:
        raise ConfigError(f"no metric was asked for: known are {', '.join(METRICS)}")
    return list(dict.fromkeys(names))


def check_measurable(
    names: Sequence[str], *, channels: int, size: tuple[int, int], images: int
) -> None:
    """Refuse metrics that could not measure a run's pictures, before anything is made for them.

    Args:
        names: of `METRICS`.
        channels, size: of the pictures that will be measured; size is (height, width).
        images: how many there will be.

    Raises:
        ConfigError: one of the metrics reads other channels, larger pictures or more of them.
    """
    height, width = size
    for name in chosen(names) if names else ():
        metric = METRICS[name]
        if metric.weights and channels not in (1, 3):
            others = ", ".join(other for other, one in PAIRED.items() if not one.weights)
            raise ConfigError(
                f"{name} reads grey or RGB pictures, and these have {channels} channels: leave it "
                f"out; {others} measure any number of channels"
            )
        if min(height, width) < metric.smallest:
            raise ConfigError(
                f"{name} needs pictures of at least {metric.smallest} pixels a side, and these are "
                f"{width}x{height}: leave it out, or make data.size larger"
            )
        if name in OF_SETS and images < OF_SETS[name].fewest:
            raise ConfigError(
                f"{name} needs at least {OF_SETS[name].fewest} images, and there will be {images}: "
                "leave it out, or measure more of them"
            )


def check_counts(names: Sequence[str], *, real: int, fake: int) -> None:
    """Raise `DataError` where so many real and fake images do not do for the metrics `names`."""
    paired = [name for name in names if name in PAIRED]
    apart = [name for name in names if name in OF_SETS]
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
