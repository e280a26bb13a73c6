"""Resizing follows Pillow; label colours are told from photos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from limner.data import decode, find_pairs, looks_like_labels, read_pair, resize
from limner.errors import ConfigError

PILLOWS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def tensor(array: np.ndarray) -> torch.Tensor:
    array = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(array.transpose(2, 0, 1).copy())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(286, 286), (100, 77), (200, 180)])
@pytest.mark.parametrize("channels", [1, 3])
def test_within_one_level_of_pillow(noise, interpolation, size, channels):
    for array in (noise(128, 150, channels), np.asarray(texture())[..., :channels].squeeze()):
        expected = Image.fromarray(array).resize(size[::-1], PILLOWS[interpolation])
        found = resize(tensor(array), size, interpolation=interpolation)
        assert found.dtype == torch.uint8
        difference = (found.int() - tensor(np.asarray(expected)).int()).abs()
        # Both round twice; a few pixels in a million differ by one more.
        assert difference.max() <= 2
        assert (difference > 1).float().mean() < 1e-4


@pytest.mark.parametrize(("before", "after"), [(128, 286), (150, 100), (33, 400), (40, 7)])
def test_nearest_takes_the_pixel_under_the_centre(before, after):
    columns = torch.arange(before).to(torch.uint8).expand(1, before, before)
    for image in (columns, columns.to(torch.uint16)):
        wide = resize(image, (before, after), interpolation="nearest")[0, 0].double()
        tall = resize(image.mT, (after, before), interpolation="nearest")[0, :, 0].double()
        exact = (torch.arange(after).double() + 0.5) * before / after
        assert ((wide + 0.5 - exact).abs() <= 0.5 + 1e-4).all()
        assert torch.equal(wide, tall)


@pytest.mark.parametrize("interpolation", PILLOWS)
def test_16_bits_resize_as_8_do_but_finer(noise, interpolation):
    # Half the range: 8 bits are clamped between the two passes, 16 bits after them.
    narrow = tensor(noise(64, 50, 5) // 2 + 64)
    wide = (narrow.int() * 257).to(torch.uint16)
    found = resize(wide, (40, 71), interpolation=interpolation)
    assert found.dtype == torch.uint16
    expected = resize(narrow, (40, 71), interpolation=interpolation)
    assert (found.float() / 257 - expected.float()).abs().max() < 2
    if interpolation != "nearest":
        assert (found.int() % 257 != 0).float().mean() > 0.9


def test_16_bits_do_not_wrap_where_bicubic_overshoots():
    edge = torch.zeros(1, 8, 8, dtype=torch.int32)
    edge[..., 4:] = 65535
    wide = resize(edge.to(torch.uint16), (8, 32), interpolation="bicubic").int()
    assert (wide[0, 0].diff() >= 0).sum() >= 28  # monotone but for ringing that was clamped
    assert (wide[..., :10] < 3000).all()
    assert (wide[..., -10:] > 62000).all()


def test_the_same_size_changes_nothing(noise):
    image = tensor(noise(20, 30))
    assert resize(image, (20, 30), interpolation="bicubic") is image


def test_nearest_makes_no_new_colours():
    ids = tensor(np.random.default_rng(0).choice([3, 90, 250], (20, 30)).astype(np.uint8))
    for size in ((7, 11), (61, 53)):
        assert set(resize(ids, size, interpolation="nearest").unique().tolist()) == {3, 90, 250}


def test_an_unknown_interpolation_is_named(noise):
    with pytest.raises(ConfigError, match="unknown interpolation 'cubic': did you mean 'bicubic'"):
        resize(tensor(noise(4, 4)), (8, 8), interpolation="cubic")


def boxes(height: int = 192, width: int = 256, *, colours: int = 9, seed: int = 0) -> Image.Image:
    """A drawn label map: boxes on boxes."""
    rng = np.random.default_rng(seed)
    palette = [tuple(int(v) for v in rng.integers(0, 256, 3)) for _ in range(colours)]
    image = Image.new("RGB", (width, height), palette[0])
    pen = ImageDraw.Draw(image)
    for _ in range(40):
        left, top = int(rng.integers(width)), int(rng.integers(height))
        right, bottom = left + int(rng.integers(8, 60)), top + int(rng.integers(8, 60))
        pen.rectangle((left, top, right, bottom), fill=palette[rng.integers(colours)])
    return image


def through_jpeg(image: Image.Image, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return tensor(np.asarray(Image.open(file)))


def texture(*, seed: int = 0) -> Image.Image:
    """Something like a photo: noise at several scales, lit from one side."""
    rng = np.random.default_rng(seed)
    total = np.zeros((192, 256, 3))
    for cells, strength in ((4, 90), (16, 50), (64, 25), (256, 12)):
        coarse = rng.normal(size=(cells * 3 // 4, cells, 3)) * strength
        total += np.kron(coarse, np.ones((256 // cells, 256 // cells, 1)))
    total += np.linspace(60, 190, 256)[None, :, None]
    smooth = Image.fromarray(total.clip(0, 255).astype(np.uint8))
    return smooth.filter(ImageFilter.GaussianBlur(1))


@pytest.mark.parametrize("seed", range(4))
def test_drawn_labels_are_labels_also_after_jpeg(seed):
    image = boxes(seed=seed)
    assert looks_like_labels(tensor(np.asarray(image)))
    assert looks_like_labels(through_jpeg(image, 75))
    assert looks_like_labels(through_jpeg(image, 50))
    ids = np.asarray(image.convert("P", palette=Image.Palette.ADAPTIVE, colors=16))
    assert looks_like_labels(tensor(ids))
    assert looks_like_labels(tensor(ids.astype(np.uint16) * 1000))


@pytest.mark.parametrize("seed", range(4))
def test_photos_are_none_also_grey_dark_blurred_or_on_white(seed):
    photo = texture(seed=seed)
    white = Image.new("RGB", (256, 256), "white")
    white.paste(photo.resize((170, 130)), (40, 60))
    for image in (photo, white, photo.filter(ImageFilter.GaussianBlur(4))):
        dark = Image.fromarray(np.asarray(image) // 8 + 20)
        for shown in (image, image.convert("L"), dark):
            assert not looks_like_labels(tensor(np.asarray(shown)))
            assert not looks_like_labels(through_jpeg(shown, 75))


def drawing(*, seed: int, width: int) -> Image.Image:
    """Lines of one width on white, as edge detectors and sketches give them."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (256, 192), 255)
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        ends = [(int(rng.integers(256)), int(rng.integers(192))) for _ in range(3)]
        pen.line(ends, fill=0, width=width)
    return image


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_grey_drawings_are_no_labels_and_masks_are(seed, width):
    lines = drawing(seed=seed, width=width)
    inverted = Image.fromarray(255 - np.asarray(lines))
    soft = lines.filter(ImageFilter.GaussianBlur(0.5))
    for image in (lines, inverted, soft):
        for shown in (image, image.convert("RGB")):
            assert not looks_like_labels(tensor(np.asarray(shown)))
            assert not looks_like_labels(through_jpeg(shown, 75))
    mask = Image.new("L", (256, 192), 0)
    pen = ImageDraw.Draw(mask)
    pen.ellipse((30, 20, 180 + 10 * seed, 150), fill=255)
    assert looks_like_labels(tensor(np.asarray(mask)))
    assert looks_like_labels(tensor(np.asarray(mask.convert("RGB"))))


def test_noise_with_clipped_blacks_is_no_label_map(noise):
    array = noise(128, 128) // 8
    for top in range(0, 128, 8):
        for left in range(0, 128, 8):
            array[top : top + 4, left : left + 4] = 0
    assert not looks_like_labels(tensor(array))


def test_gradients_and_tiny_images_are_no_labels():
    ramp = np.linspace(0, 255, 256).astype(np.uint8)[None].repeat(256, 0)
    assert not looks_like_labels(tensor(ramp))
    steps = np.arange(200, dtype=np.uint8).repeat(6)[None].repeat(64, 0)
    assert not looks_like_labels(tensor(steps))
    assert not looks_like_labels(tensor(np.zeros((2, 9), np.uint8)))


def test_real_labels_and_photos(shared):
    pairs = find_pairs(shared / "data/facades", "train", direction="BtoA")[::16]
    votes = np.array([[looks_like_labels(image) for image in read_pair(pair)] for pair in pairs])
    assert votes.mean(axis=0)[0] > 0.8
    assert votes.mean(axis=0)[1] < 0.2
    for pair in find_pairs(shared / "data/camvid", "test", direction=None)[::40]:
        assert [looks_like_labels(image) for image in read_pair(pair)] == [True, False]
    for path in sorted((shared / "data/cityscapes_sample/test_label").iterdir())[:2]:
        assert looks_like_labels(decode(Path(path)))
