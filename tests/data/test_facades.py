"""The drawn facades: a lawful data set, the same everywhere, and worth learning."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from limner.data.facades import CLASSES, draw_facade, draw_facades, label_colours
from limner.errors import DataError

IDS = list(CLASSES)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.array(image)


def test_set_is_side_by_side_with_label_colours_on_the_right(tmp_path: Path) -> None:
    counts: list[int] = []
    draw_facades(tmp_path / "set", train=3, val=0, test=2, size=48, seed=5, on_drawn=counts.append)
    assert counts == [1, 2, 3, 4, 5]
    found = sorted(p.relative_to(tmp_path / "set").as_posix() for p in tmp_path.rglob("*.*"))
    assert found == [
        "dataset.yaml", "test/0001.png", "test/0002.png",
        "train/0001.png", "train/0002.png", "train/0003.png",
    ]  # fmt: skip
    assert not (tmp_path / "set" / "val").exists()
    allowed = set(CLASSES.values())
    for path in tmp_path.rglob("*.png"):
        pair = read(path)
        assert pair.shape == (48, 96, 3)
        label = {tuple(int(v) for v in p) for p in pair[:, 48:].reshape(-1, 3)}
        assert label <= allowed
        photo = {tuple(int(v) for v in p) for p in pair[:, :48].reshape(-1, 3)}
        assert len(photo - allowed) > 500


def test_dataset_yaml_names_direction_classes_and_colours(tmp_path: Path) -> None:
    draw_facades(tmp_path, train=1, val=0, test=0, size=32)
    described = yaml.safe_load((tmp_path / "dataset.yaml").read_text(encoding="utf-8"))
    assert described["direction"] == "BtoA"
    assert described["classes"] == IDS
    assert [tuple(c) for c in described["colours"]] == list(CLASSES.values())
    assert len(set(CLASSES.values())) == 12


def test_files_hold_what_draw_facade_returns(tmp_path: Path) -> None:
    draw_facades(tmp_path, train=2, val=1, test=1, size=40, seed=3)
    for split, index in (("train", 1), ("val", 0), ("test", 0)):
        photo, label = draw_facade(index, split=split, size=40, seed=3)
        pair = read(tmp_path / split / f"{index + 1:04d}.png")
        assert np.array_equal(pair[:, :40], photo)
        assert np.array_equal(pair[:, 40:], label_colours(label))


def test_a_house_depends_on_seed_split_and_index_alone() -> None:
    first, label = draw_facade(7, split="val", size=32, seed=2)
    for index in (0, 9):
        draw_facade(index, size=32)
    again, same_label = draw_facade(7, split="val", size=32, seed=2)
    assert np.array_equal(first, again)
    assert np.array_equal(label, same_label)
    for other in (
        draw_facade(8, split="val", size=32, seed=2),
        draw_facade(7, split="test", size=32, seed=2),
        draw_facade(7, split="val", size=32, seed=3),
    ):
        assert np.abs(first.astype(int) - other[0].astype(int)).mean() > 5


def test_every_machine_draws_these_pixels() -> None:
    """A checksum: where drawing was changed on purpose, write the new one here."""
    photo, label = draw_facade(0, size=64, seed=1)
    assert (zlib.crc32(photo.tobytes()), zlib.crc32(label.tobytes())) == (1059125677, 2374816596)


def test_a_street_of_all_splits_has_these_pixels() -> None:
    """Enough houses that every part is among them: arches, awnings, balconies, pillars."""
    checksum = 0
    for split in ("train", "val", "test"):
        for index in range(6):
            for picture in draw_facade(index, split=split, size=32, seed=2):
                checksum = zlib.crc32(picture.tobytes(), checksum)
    assert checksum == 3578109078


@pytest.fixture(scope="module")
def street() -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_facade(index, size=64, seed=4) for index in range(60)]


def test_houses_use_all_classes_in_plausible_shares(street: list) -> None:
    counts = np.bincount(np.concatenate([label.ravel() for _, label in street]), minlength=12)
    share = dict(zip(IDS, counts / counts.sum(), strict=True))
    assert min(share.values()) > 0.001
    assert 0.3 < share["wall"] < 0.55
    assert 0.08 < share["window"] < 0.25
    assert share["background"] > 0.05
    for _, label in street:
        assert {"wall", "window"} <= {IDS[k] for k in np.unique(label)}


def test_label_and_photo_lie_on_each_other(street: list) -> None:
    """Doors reach the ground, windows are darker than the wall, background holds the sky."""
    darker = []
    for photo, label in street:
        grey = photo.mean(axis=2)
        darker.append(grey[label == IDS.index("window")].mean() < grey[label == 1].mean())
    assert np.mean(darker) > 0.85
    rows = np.concatenate([np.nonzero(label == IDS.index("door"))[0] for _, label in street])
    assert rows.mean() > 0.75 * 64


def test_the_photo_holds_more_than_the_label(street: list) -> None:
    """Walls differ from house to house, and within one house and class there is texture."""
    walls = np.array([photo[label == 1].mean(axis=0) for photo, label in street])
    assert (walls.std(axis=0) > 15).all()
    texture = [photo[label == 1].std(axis=0).mean() for photo, label in street]
    assert np.mean(texture) > 10
    panes = [photo[label == 2].std(axis=0).mean() for photo, label in street]
    assert np.mean(panes) > 20


def test_sizes_show_the_same_kind_of_house() -> None:
    small, large = draw_facade(3, size=32)[1], draw_facade(3, size=96)[1]
    assert large.shape == (96, 96)
    shares = [np.bincount(x.ravel(), minlength=12) / x.size for x in (small, large)]
    assert shares[0][1] > 0.1
    assert shares[1][1] > 0.1


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not an empty folder"):
        draw_facades(tmp_path, train=1, val=0, test=0, size=32)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match=r"mine\.txt is not an empty folder"):
        draw_facades(tmp_path / "mine.txt", train=1, val=0, test=0, size=32)


def test_wrong_numbers_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="size is 16"):
        draw_facades(tmp_path / "a", train=1, val=0, test=0, size=16)
    with pytest.raises(DataError, match="val is -1"):
        draw_facades(tmp_path / "a", train=1, val=-1, test=0, size=32)
    assert not (tmp_path / "a").exists()
    with pytest.raises(DataError, match="split is 'holdout'"):
        draw_facade(0, split="holdout")
