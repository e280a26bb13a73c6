"""Distances between sets as figures: the value, its interval, and what it rests on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from limner.evaluation import distances, manifold
from limner.evaluation.bootstrap import (
    distance_interval,
    frechet_statistic,
    kid_statistic,
    mean_interval,
)

# torch-fidelity's, the seed too, so that KID draws the subsets that it draws
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
SEED = 2020

UNBIASED_FROM = 2048
"""Images from which a Fréchet distance is commonly reported without a word on its bias."""


def set_figure(
    name: str, real: Tensor, fake: Tensor, *, seed: int, bootstrap: int
) -> tuple[float, dict[str, Any]]:
    """Return the metric `name` between N x D and M x D features, and its details.

    `bootstrap` is the number of resamples for the interval, 0 for none. Raises `DataError`.
    """
    n, m, dimensions = len(real), len(fake), real.shape[1]
    details: dict[str, Any] = {
        "images": min(n, m),
        "images_real": n,
        "images_fake": m,
        "dimensions": dimensions,
    }
    what = name.removesuffix("-vgg16")
    if what in manifold.NEAREST:
        return _manifold(what, real, fake, details, seed=seed, bootstrap=bootstrap)
    if name.endswith("-inf"):
        details |= {
            "set_sizes": distances.infinity_sizes(n, m),
            "seed": seed,
            "at_this_number": distances.frechet(real, fake),
            "interval_method": "none: the subsets that the line is fitted to overlap",
        }
        return distances.frechet_infinity(real, fake, seed=seed), details
    if name == "kid":
        value, deviation = distances.kid(
            real, fake, subsets=KID_SUBSETS, subset_size=KID_SUBSET_SIZE, seed=seed
        )
        details |= {
            "std": deviation,
            "subsets": KID_SUBSETS,
            "subset_size": distances.kid_subset_size(n, m, KID_SUBSET_SIZE),
            "seed": seed,
        }
    else:
        value = distances.frechet(real, fake)
        details |= _bias(name, min(n, m), dimensions)
    if bootstrap:
        make = kid_statistic if name == "kid" else frechet_statistic
        interval, how = distance_interval(
            make, real, fake, value=value, resamples=bootstrap, seed=seed
        )
        details |= {"interval": list(interval), "interval_method": how}
    return value, details


def _bias(name: str, images: int, dimensions: int) -> dict[str, str]:
    """Return the note on a Fréchet distance's bias at so few images, if any."""
    if images >= max(UNBIASED_FROM, dimensions + 1):
        return {}
    better = "fd-vgg16-inf" if "vgg16" in name else "kid (unbiased) or fid-inf"
    return {
        "note": f"{images} images for {dimensions} dimensions: exact, but biased upwards, so "
        f"compare it only with figures from as many images; better ask for {better}"
    }


def _manifold(
    what: str,
    real: Tensor,
    fake: Tensor,
    details: dict[str, Any],
    *,
    seed: int,
    bootstrap: int,
) -> tuple[float, dict[str, Any]]:
    """Return precision, recall, density or coverage; the mean of one value for each image."""
    values = manifold.each(what, real, fake).tolist()
    value = sum(values) / len(values)
    details["nearest"] = manifold.NEAREST[what]
    if bootstrap:
        details["interval"] = list(mean_interval(values, resamples=bootstrap, seed=seed))
        side = "real" if what in ("recall", "coverage") else "fake"
        details["interval_method"] = (
            f"bootstrap over the {side} images, {bootstrap} resamples, the balls kept"
        )
    return value, details
