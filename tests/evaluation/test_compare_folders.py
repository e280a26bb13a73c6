"""Two folders of pictures, paired by name or compared as wholes."""

from __future__ import annotations

from pathlib import Path

import drawn
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from limner.errors import DataError
from limner.evaluation.measure import compare_folders, measure


def write(path: Path, image: Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(path)
    return path


def small(seed: int) -> Tensor:
    return drawn.image(seed, height=32, width=40)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three pictures a folder, whose stems are equal though suffixes and order are not."""
    for number, (name, other) in enumerate(
        [("b.png", "b.bmp"), ("a.png", "a.tif"), ("c.PNG", "c.png")]
    ):
        write(tmp_path / "real" / name, small(number))
        write(tmp_path / "fake" / other, drawn.blurred(small(number), times=number + 1))
    (tmp_path / "real" / "notes.txt").write_text("no picture")
    return tmp_path / "real", tmp_path / "fake"


def test_pictures_are_paired_by_name(folders: tuple[Path, Path]) -> None:
    scores = compare_folders(*folders, metrics=["l1", "ssim"])
    pairs = [(small(n), drawn.blurred(small(n), times=n + 1)) for n in (1, 0, 2)]
    expected = measure(*zip(*pairs, strict=True), metrics=["l1", "ssim"])
    assert scores.names == ("a", "b", "c")
    assert scores.per_image == expected.per_image


def test_what_has_no_partner_is_listed(folders: tuple[Path, Path]) -> None:
    real, fake = folders
    write(real / "lonely.png", small(9))
    for number in range(12):
        write(fake / f"extra{number:02}.png", small(9))
    with pytest.raises(DataError) as caught:
        compare_folders(real, fake, metrics=["l1"])
    sentence = str(caught.value)
    assert f"only in {real}: lonely;" in sentence
    assert f"only in {fake}: extra00, extra01," in sentence
    assert "extra09 and 2 more" in sentence


def test_distributions_need_no_partners(folders: tuple[Path, Path], weights_folder: Path) -> None:
    real, fake = folders
    write(real / "lonely.png", small(9))
    scores = compare_folders(real, fake, metrics=["fd-vgg16"], weights=weights_folder)
    details = scores.details["fd-vgg16"]
    assert (details["images_real"], details["images_fake"]) == (4, 3)


def test_two_sizes_are_refused_before_anything_is_decoded(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fake = folders
    write(real / "d.png", small(1))
    write(fake / "d.png", drawn.image(1, height=40, width=64))

    def refuse(path: Path) -> Tensor:
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr("limner.evaluation.image_sets.decode", refuse)
    with pytest.raises(DataError, match=r"d\.png is 40x32 and .*d\.png is 64x40"):
        compare_folders(real, fake, metrics=["l1"])


def test_grey_and_deep_files_are_measured(tmp_path: Path) -> None:
    grey = small(1)[:1]
    write(tmp_path / "real" / "grey.png", grey)
    write(tmp_path / "fake" / "grey.png", grey.expand(3, -1, -1))
    deep = grey[0].numpy().astype(np.uint16) * 257
    (tmp_path / "real" / "x").mkdir()
    Image.fromarray(deep).save(tmp_path / "real" / "deep.png")
    write(tmp_path / "fake" / "deep.png", grey)
    scores = compare_folders(tmp_path / "real", tmp_path / "fake", metrics=["l1"])
    assert scores.per_image["l1"] == [0, 0]
    assert scores.details["run"]["done_to_images"]["real"] == {
        "16 bits scaled to 8 (divided by 257, rounded)": 1,
        "grey replicated to three channels": 1,
    }


def test_folders_that_cannot_be_compared_are_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    real, fake = folders
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="nowhere is not a folder"):
        compare_folders(tmp_path / "nowhere", fake, metrics=["l1"])
    with pytest.raises(DataError, match=r"empty holds no images \(\.bmp"):
        compare_folders(real, tmp_path / "empty", metrics=["l1"])
    write(real / "a.bmp", small(1))
    with pytest.raises(DataError, match=r"a\.bmp and a\.png have one name"):
        compare_folders(real, fake, metrics=["l1"])
    (real / "a.bmp").unlink()
    (fake / "c.png").write_bytes((fake / "c.png").read_bytes()[:200])
    with pytest.raises(DataError, match=r"c\.png"):
        compare_folders(real, fake, metrics=["l1"])


def test_clips_are_compared_frame_by_frame(tmp_path: Path) -> None:
    real, fake = tmp_path / "real", tmp_path / "fake"
    for number, clip in enumerate(("clip1", "clip2")):
        for frame in range(2):
            write(real / clip / f"{frame:04}.png", small(10 * number + frame))
            write(fake / clip / f"{frame:04}.png", small(10 * number + frame))
    (fake / "clip2" / "._0000.png").write_bytes(b"a system's own")
    scores = compare_folders(real, fake, metrics=["l1"])
    assert scores.names == ("clip1/0000", "clip1/0001", "clip2/0000", "clip2/0001")
    assert scores.per_image["l1"] == [0, 0, 0, 0]
    (fake / "clip2" / "0001.png").rename(fake / "clip1" / "0002.png")
    with pytest.raises(DataError, match=r"clip1/0002"):
        compare_folders(real, fake, metrics=["l1"])
    write(real / "alone.png", small(1))
    with pytest.raises(DataError, match="clip1"):
        compare_folders(real, fake, metrics=["l1"])


def test_bands_are_measured_and_opaque_alpha_is_not(tmp_path: Path) -> None:
    image = small(3)
    seen = torch.cat([image, torch.full_like(image[:1], 255)])
    half = torch.cat([image, image[:1]])
    done = {}
    for name, (real, fake) in {"a": (seen, image), "b": (half, half), "c": (seen, half)}.items():
        scores = measure([real], [fake], metrics=["l1", "ssim"], bootstrap=0)
        done[name] = scores.per_image["l1"][0]
    assert done["a"] == done["b"] == 0
    assert done["c"] == pytest.approx(float((255 - image[:1].double()).mean()) / 255 / 4)
