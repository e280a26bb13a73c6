"""What is settled before a picture is translated: names, halves, channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.config import Config, replace
from limner.errors import DataError
from limner.inference import check_sources, plan_translation, sides_of
from limner.presets import preset


def picture(path: Path, width: int = 32, height: int = 32, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height)).save(path)
    return path


def run(**data: object) -> Config:
    keys = {f"data.{name}": value for name, value in data.items()}
    return replace(preset("pix2pix-small"), {"data.size": [32, 32], "data.load_size": None, **keys})


@pytest.mark.parametrize(("direction", "half"), [("AtoB", "left"), ("BtoA", "right")])
def test_whole_pairs_are_halved_with_a_sentence(direction: str, half: str, tmp_path: Path) -> None:
    pair, single = picture(tmp_path / "1.png", 64), picture(tmp_path / "2.png")
    halves, sentence = sides_of(run(direction=direction), [pair, single])
    assert halves == {pair: half, single: None}
    assert sentence is not None
    assert "1 of 2" in sentence
    assert "--side whole" in sentence
    assert sides_of(run(direction=direction), [pair], side="whole") == ({pair: None}, None)


def test_whole_pairs_are_refused_where_the_direction_is_open(tmp_path: Path) -> None:
    pair = picture(tmp_path / "1.png", 64)
    with pytest.raises(DataError, match=r"1\.png is 64x32.*--side left or right"):
        sides_of(run(direction=None), [pair])
    for side in ("left", "right", "whole"):  # the cures work
        halves, _ = sides_of(run(direction=None), [pair], side=side)
        assert halves[pair] == (None if side == "whole" else side)


@pytest.mark.parametrize("size", ["original", "64x128"])
def test_a_shape_tells_nothing_where_it_is_not_changed(size: str, tmp_path: Path) -> None:
    pair = picture(tmp_path / "1.png", 64)
    assert sides_of(run(direction="AtoB"), [pair], size=size) == ({pair: None}, None)


def test_a_run_on_wide_pictures_takes_them_whole(tmp_path: Path) -> None:
    wide, pair = picture(tmp_path / "1.png", 128, 64), picture(tmp_path / "2.png", 256, 64)
    halves, _ = sides_of(run(size=[32, 64], direction="AtoB"), [wide, pair])
    assert halves == {wide: None, pair: "left"}


def test_half_of_what_is_no_pair_is_refused(tmp_path: Path) -> None:
    single = picture(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"half would be 16x32: leave --side left out"):
        sides_of(run(), [single], side="left")


@pytest.mark.parametrize(("mode", "channels"), [("L", 3), ("RGBA", 3), ("RGB", 1)])
def test_other_channels_are_named_with_a_cure_that_works(
    mode: str, channels: int, tmp_path: Path
) -> None:
    path = picture(tmp_path / "1.png", mode=mode)
    with pytest.raises(DataError, match=r"1\.png has .*--convert"):
        check_sources(run(channels=[channels, 3]), [path])
    check_sources(run(channels=[channels, 3], convert=True), [path])


def test_a_tree_is_kept(tmp_path: Path) -> None:
    for clip in ("a", "b"):
        for number in range(2):
            picture(tmp_path / "in" / clip / f"{number}.png")
    with pytest.raises(DataError, match="--recursive"):
        plan_translation([str(tmp_path / "in")], out=tmp_path / "out")
    expected = ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    for text, recursive in ((str(tmp_path / "in"), True), (f"{tmp_path}/in/**/*.png", False)):
        plan = plan_translation([text], out=tmp_path / "out", recursive=recursive)
        assert [str(result.relative_to(tmp_path / "out")) for _, result in plan] == expected


def test_a_pattern_of_different_names_stays_flat(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a" / "1.png")
    picture(tmp_path / "in" / "b" / "2.png")
    plan = plan_translation([f"{tmp_path}/in/*/*.png"], out=tmp_path / "out")
    assert [result.name for _, result in plan] == ["1.png", "2.png"]
    assert {result.parent for _, result in plan} == {tmp_path / "out"}


@pytest.mark.parametrize("name", ["x" * 240, "line\nbreak", "bell\x07"])
def test_results_have_names_that_every_system_takes(name: str, tmp_path: Path) -> None:
    source = picture(tmp_path / "in" / f"{name}.png")
    ((_, result),) = plan_translation([str(source)], out=tmp_path / "out", samples=None)
    assert len(result.name.encode()) <= 210
    assert result.name.isprintable()
    assert result.parent == tmp_path / "out"


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "0.png")
    (tmp_path / "in" / "._0.png").write_bytes(b"\0\5\x16\7")
    plan = plan_translation([str(tmp_path / "in")], out=tmp_path / "out")
    assert [source.name for source, _ in plan] == ["0.png"]


def test_pixels_of_any_size_are_whole_by_the_run_that_crops(tmp_path: Path) -> None:
    wide = tmp_path / "1.png"
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(wide)
    assert sides_of(run(mode="crop", direction="AtoB"), [wide]) == ({wide: None}, None)
