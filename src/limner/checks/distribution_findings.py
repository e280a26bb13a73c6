"""How pictures are distributed: in clusters of unequal weight, and otherwise in a held-out split
than in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import kolmogorov

from limner.checks.likeness_findings import independent
from limner.checks.measured import Measured, Where, many
from limner.findings import Finding, Item

# Thresholds; docs/checks.md tells what clean data reach.
PARTED = (
    0.45  # mean of how much nearer the own centre is than the next, from which on clusters part
)
UNEQUAL = 4.0  # times that the largest cluster has of the smallest
ENOUGH = 24  # pictures from which on clusters are sought
SHIFT = 0.45  # distance of two distributions (Kolmogorov and Smirnov) that is a shift
CHANCE = 1e-3  # and the probability under which it is none of chance
_RESTARTS = 3
_ROUNDS = 25
_COUNTS = (2, 3, 4, 5, 6, 8)


def points_of(measured: Measured, places: Sequence[Where]) -> np.ndarray:
    """Return what pictures look like, a row each: coarse structure and colours."""
    role = "source" if "target" in measured.codings else "target"
    images = [getattr(measured.features[split][place], role) for split, place in places]
    return np.stack(
        [
            np.concatenate([image.small[:40].astype(np.float64), 2 * image.tiny.ravel() / 255])
            for image in images
        ]
    )


def k_means(points: np.ndarray, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the cluster of each point and the centres, the best of three starts."""
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for restart in range(_RESTARTS):
        rng = np.random.default_rng([seed, restart])
        centres = points[rng.choice(len(points), count, replace=False)]
        nearest = np.full(len(points), -1)
        for _ in range(_ROUNDS):
            now = distances(points, centres).argmin(axis=1)
            if bool((now == nearest).all()):
                break
            nearest = now
            for number in np.unique(nearest):
                centres[number] = points[nearest == number].mean(axis=0)
        spread = float(distances(points, centres).min(axis=1).sum())
        if best is None or spread < best[0]:
            best = (spread, nearest, centres)
    assert best is not None
    return best[1], best[2]


def distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the squared distance of each point from each centre."""
    squares = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)[None]
    return np.maximum(squares, 0)


def cluster(measured: Measured) -> Iterator[Finding]:
    """Tell of pictures that fall into clusters, of which one is far more frequent than another."""
    for split, found in measured.features.items():
        places = [
            (split, place)
            for place, features in enumerate(found)
            if not (features.source.problem or features.target.problem)
        ]
        if len(places) < ENOUGH:
            continue
        points = points_of(measured, places[:: max(1, len(places) // 4000)])
        best: tuple[float, np.ndarray] | None = None
        for count in _COUNTS:
            named, centres = k_means(points, count)
            away = np.sort(np.sqrt(distances(points, centres)), axis=1)
            parted = float(np.mean((away[:, 1] - away[:, 0]) / np.maximum(away[:, 1], 1e-9)))
            if best is None or parted > best[0]:
                best = (parted, named)
        assert best is not None
        parted, named = best
        sizes = np.bincount(named)
        sizes = sizes[sizes > 0]
        if parted >= PARTED and sizes.max() >= UNEQUAL * sizes.min():
            yield Finding(
                name="cluster",
                severity="note",
                split=split,
                message=f"pictures fall into {many(len(sizes), 'cluster')} that look alike, from "
                f"{sizes.min() / sizes.sum():.0%} to {sizes.max() / sizes.sum():.0%} of them",
                cure="what is seldom is learnt worse: more pictures like those of the small ones",
                evidence={
                    "clusters": len(sizes),
                    "largest_share": sizes.max() / sizes.sum(),
                    "smallest_share": sizes.min() / sizes.sum(),
                    "parted": parted,
                },
            )


def split_shift(measured: Measured) -> Iterator[Finding]:
    """Find held-out splits whose pictures differ from training's in light, colour or classes."""
    if "train" not in measured.features:
        return
    worth = independent(measured)
    training = _measures(measured, "train")
    for split in measured.features:
        if split == "train":
            continue
        held = _measures(measured, split)
        count = worth[split] * worth["train"] / max(worth[split] + worth["train"], 1e-9)
        moved = []
        for name, values in held.items():
            if name not in training or len(values) < 8 or len(training[name]) < 8:
                continue
            far = _apart(training[name], values)
            # Of n independent images, not of all frames; as many tests as there are measures.
            chance = float(kolmogorov(far * count**0.5)) * len(held)
            if far >= SHIFT and chance < CHANCE:
                moved.append((far, name, np.median(training[name]), np.median(values)))
        if moved:
            moved.sort(reverse=True)
            told = ", ".join(f"{name} {a:.3g} to {b:.3g}" for _, name, a, b in moved[:3])
            yield Finding(
                name="split-shift",
                severity="warning",
                split=split,
                message=f"pictures differ from those of train in {told} (medians)",
                cure=f"make splits anew (limner split {measured.listing.root} --by random --out "
                "splits.csv), unless that difference is what is to be measured",
                evidence={"measures": len(moved), "largest": moved[0][0]},
                items=[
                    Item(
                        files=(),
                        evidence={"measure": name, "distance": far, "train": a, "held_out": b},
                    )
                    for far, name, a, b in moved
                ],
            )


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two distribution functions."""
    both = np.sort(np.concatenate([one, other]))
    first = np.searchsorted(np.sort(one), both, side="right") / len(one)
    second = np.searchsorted(np.sort(other), both, side="right") / len(other)
    return float(np.abs(first - second).max())


def _measures(measured: Measured, split: str) -> dict[str, np.ndarray]:
    """Return what is compared between splits: a value a picture, or a map."""
    found: dict[str, list[float]] = {}
    for image in measured.pictures(split):
        features = image.features
        found.setdefault(f"brightness of {image.role}s", []).append(float(features.colour.mean()))
        spread = float(features.colour.max() - features.colour.min())
        found.setdefault(f"tint of {image.role}s", []).append(spread)
        found.setdefault(f"contrast of {image.role}s", []).append(features.contrast)
        if np.isfinite(features.sharpness):
            found.setdefault(f"sharpness of {image.role}s", []).append(features.sharpness)
    return {name: np.array(values) for name, values in found.items()}


def tones(measured: Measured) -> dict[str, list[float]]:
    """Return the mean histogram of brightness of the pictures of each side of each split."""
    sums: dict[str, list[np.ndarray]] = {}
    for image in measured.pictures():
        sums.setdefault(f"{image.split}, {image.role}s", []).append(image.features.tones)
    return {name: np.mean(values, axis=0).tolist() for name, values in sums.items()}
