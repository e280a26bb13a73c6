"""Feature extraction: streaming, sizes, preparations (pytorch-fid's: test_reference_metrics.py)."""

from __future__ import annotations

import drawn
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from limner.errors import ConfigError, DataError, WeightsError
from limner.evaluation.features import (
    PREPARATIONS,
    InceptionExtractor,
    VGG16Extractor,
    stacks,
)
from limner.evaluation.features.extraction import extract
from limner.evaluation.features.inception import FIDInception
from limner.networks.vgg import VGGFeatures, imagenet_normalised

SIZES = [(32, 40), (32, 40), (48, 32), (32, 40), (32, 40)]


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    return [drawn.image(n, height=h, width=w) for n, (h, w) in enumerate(SIZES)]


@pytest.fixture(scope="module")
def vgg(vgg16_state: dict[str, Tensor]) -> VGG16Extractor:
    return VGG16Extractor(vgg16_state).eval()


class Lazy:
    """Images made when asked for, at most so many alive at a time."""

    def __init__(self, images: list[Tensor]) -> None:
        self.images = images
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        self.asked.append(index)
        return self.images[index]


@pytest.mark.parametrize("batch_size", [3, 100])
def test_features_do_not_depend_on_the_batch_size(
    images: list[Tensor], vgg: VGG16Extractor, batch_size: int
) -> None:
    alone = extract({"v": vgg}, images, batch_size=1)["v"]
    together = extract({"v": vgg}, images, batch_size=batch_size)["v"]
    assert together.shape == (5, 512)
    assert together.dtype == torch.float64
    assert (together - alone).abs().max() < 1e-5 * alone.abs().max()
    # Order is kept, since different images have different features
    assert (alone[0] - alone[1]).abs().max() > 0.01


def test_inception_features_do_not_depend_on_the_batch_size(
    inception_state: dict[str, Tensor], images: list[Tensor]
) -> None:
    extractor = InceptionExtractor(inception_state).eval()
    alone = extract({"i": extractor}, images[:2], batch_size=1)["i"]
    together = extract({"i": extractor}, images[:2], batch_size=2)["i"]
    assert together.shape == (2, 2048)
    assert (together - alone).abs().max() < 1e-5 * alone.abs().max()


def test_images_are_read_once_in_order_and_progress_is_told(
    images: list[Tensor], vgg: VGG16Extractor
) -> None:
    lazy = Lazy(4 * images)
    counts: list[int] = []
    both = extract({"one": vgg, "two": vgg}, lazy, batch_size=2, advance=counts.append)
    assert torch.equal(both["one"], both["two"])
    assert lazy.asked == list(range(20))
    assert counts == [8, 8, 4]


def test_a_batch_is_read_only_when_its_turn_comes(images: list[Tensor]) -> None:
    lazy = Lazy(images)
    stream = stacks(lazy, 2)
    assert next(stream).shape == (2, 3, 32, 40)
    assert lazy.asked == [0, 1]
    assert [len(stack) for stack in stream] == [1, 1, 1]


def test_vgg16_features_are_as_documented(
    images: list[Tensor], vgg: VGG16Extractor, vgg16_state: dict[str, Tensor]
) -> None:
    network = VGGFeatures(depth=16)
    network.load(vgg16_state)
    with torch.no_grad():
        last = network(imagenet_normalised(images[2][None].float() / 255))[-1]
        assert torch.allclose(vgg(images[2][None]), last.mean(dim=(2, 3)), atol=1e-6)


def test_preparations_leave_an_image_of_the_networks_size_in_place() -> None:
    x = drawn.image(1, height=299, width=299)[None]
    assert torch.allclose(PREPARATIONS["pytorch-fid"](x), x.float() / 127.5 - 1, atol=1e-6)
    assert torch.equal(PREPARATIONS["torch-fidelity"](x), x.float() / 128 - 1)


def test_the_clean_resizing_is_pillows_on_float_channels_and_keeps_fractions() -> None:
    x = drawn.image(4, height=50, width=700)[None]
    levels = PREPARATIONS["clean-fid"](x)[0] * 128 + 128
    for channel in range(3):
        picture = Image.fromarray(x[0, channel].float().numpy())
        expected = np.asarray(picture.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255)
        assert np.allclose(levels[channel].numpy(), expected, atol=2e-5)
    assert (levels - levels.round()).abs().max() > 0.4  # levels are not rounded
    assert 0 <= levels.min() < levels.max() <= 255  # bicubic's overshoot is cut off
    # Shrinking takes all pixels into account, pytorch-fid's resizing only the nearest.
    stripes = torch.zeros(1, 3, 40, 1196, dtype=torch.uint8)
    stripes[..., ::2] = 200
    clean, plain = (PREPARATIONS[name](stripes) for name in ("clean-fid", "pytorch-fid"))
    assert clean[0, 0, 0, 5:-5].std() < 0.01
    assert clean[0, 0, 0, 100].item() == pytest.approx((100 - 128) / 128, abs=0.01)
    assert plain.shape == clean.shape


def test_the_corner_resizing_is_bilinear_between_upper_left_corners() -> None:
    # A ramp stays the same ramp, sampled at i * 100 / 299, flat behind its last pixel.
    ramp = torch.arange(100, dtype=torch.uint8).expand(1, 3, 50, 100)
    row = PREPARATIONS["torch-fidelity"](ramp)[0, 0, 7] * 128 + 128
    expected = (torch.arange(299) * 100 / 299).clamp(max=99)
    assert torch.allclose(row, expected, atol=1e-3)
    assert not torch.allclose(
        F.interpolate(ramp.float(), (299, 299), mode="bilinear")[0, 0, 7], expected, atol=0.1
    )


def test_inception_loads_strictly(inception_state: dict[str, Tensor]) -> None:
    old = {k: v for k, v in inception_state.items() if not k.endswith("num_batches_tracked")}
    network = FIDInception()
    network.load(old)
    assert torch.equal(network.fc.weight, inception_state["fc.weight"])
    assert sum(p.numel() for p in network.parameters()) == 23_850_960
    for broken in (
        {**old, "AuxLogits.fc.bias": torch.ones(1)},
        {k: v for k, v in old.items() if k != "Mixed_7c.branch3x3_2b.conv.weight"},
        {**old, "fc.weight": torch.ones(1000, 2048)},
    ):
        with pytest.raises(WeightsError, match=r"x\.pth is not FID's Inception v3: \w"):
            network.load(broken, origin="x.pth")


def test_wrong_use_is_refused(inception_state: dict[str, Tensor], vgg: VGG16Extractor) -> None:
    with pytest.raises(ConfigError, match="known are clean-fid, pytorch-fid, torch-fidelity"):
        InceptionExtractor(inception_state, preparation="clean")
    with pytest.raises(ConfigError, match="batch_size is 0"):
        extract({"v": vgg}, [drawn.image(1)], batch_size=0)
    with pytest.raises(DataError, match="at least 16x16 pixels, not 40x15"):
        vgg(torch.zeros(1, 3, 15, 40, dtype=torch.uint8))
