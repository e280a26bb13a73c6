"""Distances between sets as figures: the value, its interval, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
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


def set_figures(
    names: Sequence[str], real: Tensor, fake: Tensor, *, seed: int, bootstrap: int
) -> dict[str, tuple[float, dict[str, Any]]]:
    """Return the metrics `names` between N x D and M x D features of one extractor: value, details.

    `bootstrap` is the number of resamples for the interval, 0 for none. What several metrics need
    is computed once. Raises `DataError`.
    """
    shared = [name for name in names if _kind(name) in manifold.NEAREST]
    values = manifold.each([_kind(name) for name in shared], real, fake) if shared else {}
    found = {}
    for name in names:
        n, m, dimensions = len(real), len(fake), real.shape[1]
        details: dict[str, Any] = {
            "images": min(n, m),
            "images_real": n,
            "images_fake": m,
            "dimensions": dimensions,
        }
        if name in shared:
            of_each = values[_kind(name)].tolist()
            value = _manifold(_kind(name), of_each, details, seed=seed, bootstrap=bootstrap)
        else:
            value = _distance(name, real, fake, details, seed=seed, bootstrap=bootstrap)
        found[name] = value, details
    return found


def _kind(name: str) -> str:
    return name.removesuffix("-vgg16")


def _distance(
    name: str,
    real: Tensor,
    fake: Tensor,
    details: dict[str, Any],
    *,
    seed: int,
    bootstrap: int,
) -> float:
    """Return a Fréchet or kernel distance and tell `details` of it."""
    n, m, dimensions = len(real), len(fake), real.shape[1]
    if name.endswith("-inf"):
        details |= {
            "set_sizes": distances.infinity_sizes(n, m),
            "seed": seed,
            "at_this_number": distances.frechet(real, fake),
            "interval_method": "none: the subsets that the line is fitted to overlap",
        }
        return distances.frechet_infinity(real, fake, seed=seed)
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
    return value


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
    what: str, values: Sequence[float], details: dict[str, Any], *, seed: int, bootstrap: int
) -> float:
    """Return precision, recall, density or coverage: the mean of one value for each image."""
    details["nearest"] = manifold.NEAREST[what]
    if bootstrap:
        details["interval"] = list(mean_interval(values, resamples=bootstrap, seed=seed))
        side = "real" if what in ("recall", "coverage") else "fake"
        details["interval_method"] = (
            f"bootstrap over the {side} images, {bootstrap} resamples, the balls kept"
        )
    return sum(values) / len(values)
