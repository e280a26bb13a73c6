"""Pairs whose sides do not fit are told from those that do, whatever is paired with what."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from limner.checks.pair_findings import pair_findings
from limner.checks.pair_fits import PairFit, measure_fits
from limner.data.facades import draw_facade, label_colours
from limner.findings import Finding

SIZE, COUNT = 128, 10
Pairs = list[tuple[np.ndarray, np.ndarray]]
"""Sources and targets, H x W x 3, or H x W x 1 ids."""


def facades(*, ids: bool) -> Pairs:
    pairs: Pairs = []
    for number in range(COUNT):
        photo, label = draw_facade(number, size=SIZE, seed=1)
        pairs.append((label[..., None] if ids else label_colours(label), photo))
    return pairs


def scans() -> Pairs:
    """Ellipses in two kinds of scan, where bright in one says nothing of bright in the other."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    pairs: Pairs = []
    for number in range(COUNT):
        rng = np.random.default_rng(number)
        body = (x / rng.uniform(0.3, 0.4)) ** 2 + (y / rng.uniform(0.35, 0.45)) ** 2
        one, other = np.where(body < 1, 90.0, 0), np.where(body < 1, 200.0, 0)
        one[body < 0.8], other[body < 0.8] = 130, 110
        for _ in range(12):
            across, down = rng.uniform(-0.3, 0.3, 2)
            shape = ((x - across) / rng.uniform(0.03, 0.1)) ** 2
            inside = shape + ((y - down) / rng.uniform(0.03, 0.1)) ** 2 < 1
            kind = rng.integers(3)
            one[inside], other[inside] = (240, 30, 60)[kind], (140, 150, 20)[kind]
        noisy = [
            (ndimage.gaussian_filter(scan, 0.8) + rng.normal(0, 8, scan.shape)).clip(0, 255)
            for scan in (one, other)
        ]
        pairs.append((noisy[0].astype(np.uint8)[..., None], noisy[1].astype(np.uint8)[..., None]))
    return pairs


SETS: dict[str, Callable[[], Pairs]] = {
    "colours to photo": functools.partial(facades, ids=False),
    "ids to photo": functools.partial(facades, ids=True),
    "scan to scan": scans,
    "photo to itself": lambda: [(photo, 255 - photo) for _, photo in facades(ids=True)],
}


@functools.cache
def drawn(name: str) -> Pairs:
    return SETS[name]()


def fits_of(pairs: Pairs, *, ids: bool = False) -> list[PairFit | None]:
    def read(number: int) -> tuple[np.ndarray, np.ndarray]:
        source, target = pairs[number]
        return source.transpose(2, 0, 1), target.transpose(2, 0, 1)

    return measure_fits(read, len(pairs), ids=(ids, False))


def found_in(pairs: Pairs, *, ids: bool = False) -> dict[str, Finding]:
    names = [f"{number}.png" for number in range(len(pairs))]
    found = pair_findings(fits_of(pairs, ids=ids), names, split="train")
    return {finding.name: finding for finding in found}


def at_fault(name: str, fault: Callable[[np.ndarray], np.ndarray], *which: int) -> Pairs:
    pairs = list(drawn(name))
    for number in which:
        source, target = pairs[number]
        pairs[number] = (source, np.ascontiguousarray(fault(target)))
    return pairs


def shifted(image: np.ndarray, *, down: int, right: int) -> np.ndarray:
    return np.roll(image, (down, right), (0, 1))


@pytest.mark.parametrize("name", SETS)
def test_pairs_that_fit_are_not_accused(name: str) -> None:
    assert not found_in(drawn(name), ids=name.startswith("ids"))


@pytest.mark.parametrize("name", SETS)
def test_a_shifted_target_is_found_with_its_shift(name: str) -> None:
    moved = at_fault(name, functools.partial(shifted, down=5, right=-3), 3)
    finding = found_in(moved, ids=name.startswith("ids"))["misaligned"]
    assert finding.files == ["3.png"]
    (item,) = finding.items
    assert item.evidence["shift_y"] == pytest.approx(5, abs=1.2)
    assert item.evidence["shift_x"] == pytest.approx(-3, abs=1.2)
    assert finding.evidence["constant"] is False


@pytest.mark.parametrize("name", ["colours to photo", "scan to scan"])
def test_mirrored_turned_and_swapped_targets_are_each_called_so(name: str) -> None:
    pairs = at_fault(name, lambda image: image[:, ::-1], 2)
    pairs[5] = at_fault(
        name, lambda image: ndimage.rotate(image, 5, reshape=False, order=1, mode="nearest"), 5
    )[5]
    pairs[7], pairs[9] = (pairs[7][0], pairs[9][1]), (pairs[9][0], pairs[7][1])
    found = found_in(pairs)
    assert {name: list(finding.files) for name, finding in found.items()} == {
        "mirrored": ["2.png"],
        "rotated": ["5.png"],
        "swapped": ["7.png", "9.png"],
    }
    assert found["mirrored"].items[0].evidence["axis"] == "horizontal"
    assert found["rotated"].items[0].evidence["angle"] == pytest.approx(5, abs=1)
    assert set(found["swapped"].pairs) == {("7.png", "9.png"), ("9.png", "7.png")}
    assert found["mirrored"].severity == "error"
    assert found["swapped"].severity == "error"


def test_an_offset_that_all_pairs_share_is_told_as_one() -> None:
    moved = at_fault(
        "colours to photo", functools.partial(shifted, down=-4, right=6), *range(COUNT)
    )
    finding = found_in(moved)["misaligned"]
    assert finding.evidence["constant"] is True
    assert len(finding.files) >= 0.9 * COUNT
    assert finding.evidence["shift_y"] == pytest.approx(-4, abs=0.7)
    assert finding.evidence["shift_x"] == pytest.approx(6, abs=0.7)
    assert finding.severity == "error"


def test_one_shift_in_many_pairs_is_a_warning() -> None:
    pairs = at_fault("scan to scan", functools.partial(shifted, down=6, right=0), 0)
    fits = fits_of(pairs)
    many = fits + fits[1:] * 2  # 1 of 28 pairs
    (finding,) = pair_findings(many, [f"{n}.png" for n in range(len(many))], split="train")
    assert (finding.name, finding.severity) == ("misaligned", "warning")


def test_flat_pictures_and_pairs_that_cannot_be_read_are_not_accused() -> None:
    pairs = at_fault("scan to scan", lambda image: np.full_like(image, 90), 4)
    assert not found_in(pairs)
    grey = np.full((SIZE, SIZE, 3), 128, np.uint8)
    assert not found_in([(grey, grey)] * 6)
    assert measure_fits(lambda number: None, 5) == [None] * 5
