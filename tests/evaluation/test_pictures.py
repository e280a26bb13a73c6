"""Pictures of all kinds: what can be measured, what is done to them first, what is refused."""

from __future__ import annotations

from pathlib import Path

import drawn
import pytest
import torch
from torch import Tensor

from limner.errors import DataError
from limner.evaluation.measure import measure


def small(seed: int) -> Tensor:
    return drawn.image(seed, height=32, width=40)


@pytest.fixture(scope="module")
def real() -> list[Tensor]:
    return [small(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def fake(real: list[Tensor]) -> list[Tensor]:
    return [drawn.noisy(x, levels=10 + 10 * n) for n, x in enumerate(real)]


def test_pictures_that_cannot_be_measured_are_named(
    real: list[Tensor], weights_folder: Path
) -> None:
    def compare(odd: Tensor, *, metrics: list[str], fake: bool = True) -> None:
        ours = [real[0], odd] if fake else real[:2]
        measure(real[:2], ours, metrics=metrics, names=["a", "b"], weights=weights_folder)

    with pytest.raises(DataError, match="real image b is 40x32 and fake image b is 32x40"):
        compare(real[1].transpose(1, 2), metrics=["l1"])
    with pytest.raises(DataError, match=r"fake image b is torch\.float32 of shape"):
        compare(real[1].float(), metrics=["l1"])
    with pytest.raises(DataError, match="fake image b 4: give both as many"):
        compare(torch.zeros(4, 32, 40, dtype=torch.uint8), metrics=["l1"])
    with pytest.raises(DataError, match="real image b has 3 channels and fake image b 5"):
        compare(torch.zeros(5, 32, 40, dtype=torch.uint8), metrics=["l1"])
    for metric in ("lpips", "fd-vgg16"):
        with pytest.raises(DataError, match="fake image b has 5 channels"):
            compare(torch.zeros(5, 32, 40, dtype=torch.uint8), metrics=[metric])


def test_five_channels_have_pixel_metrics() -> None:
    a, b = (torch.cat([small(n), small(n + 5)])[:5] for n in (1, 2))
    expected = (a.double() - b.double()).abs().mean() / 255
    assert measure([a], [b], metrics=["l1"]).values["l1"] == pytest.approx(float(expected))


def test_grey_deep_and_opaque_pictures_are_measured_and_it_is_said(
    real: list[Tensor], fake: list[Tensor], weights_folder: Path
) -> None:
    alpha = torch.full((1, 32, 40), 255, dtype=torch.uint8)
    deep = (real[1].to(torch.int32) * 257 + 100).clamp(max=65535).to(torch.uint16)
    odd = [torch.cat([real[0], alpha]), deep, real[2][:1]]
    plain = [real[0], real[1], real[2][:1].expand(3, -1, -1)]
    metrics = ["l1", "psnr", "ssim", "lpips", "fd-vgg16"]
    one, two = (measure(x, fake, metrics=metrics, weights=weights_folder) for x in (odd, plain))
    assert one.values == pytest.approx(two.values, rel=1e-6)
    assert one.details["run"]["done_to_images"] == {
        "real": {
            "16 bits scaled to 8 (divided by 257, rounded)": 1,
            "grey replicated to three channels": 1,
            "opaque alpha channel left out": 1,
        },
        "fake": {},
    }


def test_a_grey_pair_has_the_lpips_of_its_copies_in_three_channels(weights_folder: Path) -> None:
    pairs = [(small(1)[:1], small(2)[:1])]
    pairs.append((pairs[0][0].expand(3, -1, -1), pairs[0][1].expand(3, -1, -1)))
    grey, wide = (
        measure([a], [b], metrics=["lpips"], weights=weights_folder).values["lpips"]
        for a, b in pairs
    )
    assert grey == pytest.approx(wide, rel=1e-6)
    assert grey > 0


def test_sixteen_bits_are_rounded_to_the_nearest_level() -> None:
    deep = torch.tensor([0, 128, 129, 257 * 200 - 128, 65535], dtype=torch.uint16)
    deep = deep.reshape(1, 1, 5)
    levels = torch.tensor([0, 0, 1, 200, 255], dtype=torch.uint8).reshape(1, 1, 5)
    assert measure([deep], [levels], metrics=["l1"]).values["l1"] == 0
