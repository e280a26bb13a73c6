"""The same features to the last bit, however the work is divided; a bounded number in memory."""

from __future__ import annotations

import weakref

import drawn
import pytest
import torch
from torch import Tensor, nn

from limner.errors import ConfigError, DataError
from limner.evaluation.features import InceptionExtractor, VGG16Extractor
from limner.evaluation.features.extraction import CHUNK, extract
from limner.evaluation.features.inception import FIDInception, folded
from limner.evaluation.image_sets import Coloured, Pictures


def pictures(count: int) -> list[Tensor]:
    """Colour and grey, of two sizes."""
    made = []
    for n in range(count):
        image = drawn.image(n, height=32 + 8 * (n % 5 == 4), width=40)
        made.append(image[:1] if n % 7 == 3 else image)
    return made


def coloured(images: list[Tensor]) -> Coloured:
    return Coloured(Pictures(images, [f"picture {n}" for n in range(len(images))]))


@pytest.fixture(scope="module")
def vgg(vgg16_state: dict[str, Tensor]) -> VGG16Extractor:
    return VGG16Extractor(vgg16_state).eval()


@pytest.fixture(scope="module")
def alone(vgg: VGG16Extractor) -> Tensor:
    return extract({"v": vgg}, coloured(pictures(20)), batch_size=1)["v"]


@pytest.mark.parametrize("batch_size", [3, 64])
def test_batch_sizes_give_the_same_bits(
    vgg: VGG16Extractor, alone: Tensor, batch_size: int
) -> None:
    again = extract({"v": vgg}, coloured(pictures(20)), batch_size=batch_size)["v"]
    assert torch.equal(again, alone)


def test_threads_give_the_same_bits_and_are_put_back(vgg: VGG16Extractor, alone: Tensor) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = extract({"v": vgg}, coloured(pictures(20)))["v"]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert torch.equal(again, alone)


def test_processes_give_the_same_bits_and_tell_what_they_saw(
    vgg: VGG16Extractor, alone: Tensor
) -> None:
    images = coloured(pictures(20))
    told: list[int] = []
    again = extract({"v": vgg}, images, processes=2, advance=told.append)["v"]
    assert torch.equal(again, alone)
    assert told == [8, 8, 4]
    here = coloured(pictures(20))
    extract({"v": vgg}, here)
    assert images.pictures.sizes == here.pictures.sizes == {"40x32": 16, "40x40": 4}
    assert images.pictures.done == here.pictures.done
    assert images.pictures.done == {"grey replicated to three channels": 3}


@pytest.mark.slow
def test_an_error_in_a_process_names_the_picture(vgg: VGG16Extractor) -> None:
    images = [*pictures(9), torch.zeros(5, 32, 40, dtype=torch.uint8)]
    with pytest.raises(DataError, match="picture 9 has 5 channels"):
        extract({"v": vgg}, coloured(images), processes=2)


class _Means(nn.Module):
    dimensions = 3
    preparation = "none"

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean(dim=(2, 3))


def test_few_images_are_in_memory_at_a_time() -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    class Counted:
        def __len__(self) -> int:
            return 20 * CHUNK

        def __getitem__(self, index: int) -> Tensor:
            nonlocal most
            image = torch.full((3, 4, 4), index % 251, dtype=torch.uint8)
            alive.add(image)
            most = max(most, len(alive))
            return image

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        found = extract({"m": _Means()}, Counted())["m"]
    finally:
        torch.set_num_threads(before)
    assert found[:, 0].tolist() == [index % 251 for index in range(20 * CHUNK)]
    assert most <= 5 * CHUNK


def test_folding_changes_nothing_but_rounding(inception_state: dict[str, Tensor]) -> None:
    plain, quick = FIDInception().eval(), FIDInception()
    plain.load(inception_state)
    quick.load(inception_state)
    folded(quick)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in quick.modules()) == 0
    x = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = plain(x)
        found = quick(x.contiguous(memory_format=torch.channels_last))
    assert (found - expected).abs().max() < 2e-6 * expected.abs().max()


def test_folding_works_without_the_fused_call(
    inception_state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = InceptionExtractor(inception_state).eval()
    image = drawn.image(1)[None]
    with torch.inference_mode():
        fused = extractor(image)
        monkeypatch.setattr("limner.evaluation.features.inception.fused_calls", lambda: False)
        apart = extractor(image)
    assert (fused - apart).abs().max() < 2e-6 * fused.abs().max()


def test_wrong_numbers_are_refused(vgg: VGG16Extractor) -> None:
    with pytest.raises(ConfigError, match="processes is 0: it must be at least 1"):
        extract({"v": vgg}, pictures(2), processes=0)
    with pytest.raises(ConfigError, match="one process serves cuda"):
        extract({"v": vgg}, pictures(2), processes=2, device="cuda")
