"""Kept features: the same digits on a hit, a miss on any change, bounded, never in the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import drawn
import pytest
import torch
from PIL import Image

from limner.evaluation.features import feature_cache
from limner.evaluation.measure import Scores, compare_folders, measure


@pytest.fixture(autouse=True)
def _switched_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LIMNER_FEATURE_CACHE")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, first in (("real", 0), ("fake", 50)):
        (tmp_path / name).mkdir()
        for n in range(4):
            image = drawn.image(first + n, height=24, width=32)
            pixels = image[0] if n == 2 else image.permute(1, 2, 0)
            Image.fromarray(pixels.numpy()).save(tmp_path / name / f"{n}.png")
    return tmp_path / "real", tmp_path / "fake"


@pytest.fixture
def weights(weights_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(weights_folder, tmp_path / "weights"))


def kept_files() -> list[Path]:
    return sorted(feature_cache.cache_folder().glob("*"))


def figures(folders: tuple[Path, Path], weights: Path, *, cache: bool = True) -> Scores:
    return compare_folders(
        *folders, metrics=["fd-vgg16"], weights=weights, bootstrap=0, cache=cache
    )


def from_cache(scores: Scores) -> bool:
    return scores.details["fd-vgg16"]["reference_from_cache"]


def test_a_hit_gives_the_same_digits_and_the_same_account(
    folders: tuple[Path, Path], weights: Path
) -> None:
    first, second = figures(folders, weights), figures(folders, weights)
    assert (from_cache(first), from_cache(second)) == (False, True)
    assert len(kept_files()) == 1  # the real set's, not the fake one's
    assert second.values == first.values
    assert second.details["run"] == first.details["run"]
    assert first.details["run"]["done_to_images"]["real"] == {
        "grey replicated to three channels": 1
    }


def test_changed_content_is_a_miss_and_a_new_name_is_not(
    folders: tuple[Path, Path], weights: Path
) -> None:
    first = figures(folders, weights)
    (folders[0] / "3.png").rename(folders[0] / "4.png")
    assert from_cache(figures(folders, weights))
    changed = drawn.noisy(drawn.image(1, height=24, width=32), levels=9)
    path = folders[0] / "1.png"
    status = path.stat()
    Image.fromarray(changed.permute(1, 2, 0).numpy()).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # times do not count, bytes do
    other = figures(folders, weights)
    assert not from_cache(other)
    assert other.values != first.values


def test_other_weights_are_a_miss(folders: tuple[Path, Path], weights: Path) -> None:
    from safetensors.torch import load_file, save_file

    figures(folders, weights)
    file = weights / "vgg16_features.safetensors"
    state = load_file(file)
    state["features.0.bias"] += 1
    save_file(state, file)
    assert not from_cache(figures(folders, weights))


def test_it_can_be_switched_off(
    folders: tuple[Path, Path], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures(folders, weights, cache=False)
    monkeypatch.setenv("LIMNER_FEATURE_CACHE", "off")
    figures(folders, weights)
    assert kept_files() == []


def test_damaged_files_are_computed_anew_and_a_closed_folder_is_passed_over(
    folders: tuple[Path, Path], weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = figures(folders, weights)
    whole = kept_files()[0].read_bytes()
    one_bit = whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:]
    for damage in (b"", b"\xff" * 40, whole[:-9], one_bit):
        kept_files()[0].write_bytes(damage)
        again = figures(folders, weights)
        assert not from_cache(again)
        assert again.values == first.values
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert figures(folders, weights).values == first.values


def test_images_in_memory_count_by_their_pixels(weights: Path) -> None:
    images = [drawn.image(n, height=24, width=32) for n in range(3)]

    def hit() -> bool:
        return from_cache(
            measure(images, images, metrics=["fd-vgg16"], weights=weights, bootstrap=0)
        )

    assert [hit(), hit()] == [False, True]
    images[1][0, 0, 0] ^= 1
    assert not hit()


def test_the_folder_is_bounded_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    features = torch.ones(10, 100)  # 4 kB
    for n in range(3):
        feature_cache.keep(f"{n}", features, ({}, {}), folder=tmp_path, limit=10_000)
        os.utime(tmp_path / f"{n}.safetensors", ns=(n, n))
        if n == 1:
            assert feature_cache.kept("0", folder=tmp_path) is not None  # used: now the newest
    assert {path.stem for path in tmp_path.iterdir()} == {"0", "2"}
