"""From file to file: names kept, nothing overwritten, sizes as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from overriding import with_overrides
from PIL import Image

from limner.config import resolved
from limner.data import decode, to_float
from limner.errors import ConfigError, DataError
from limner.inference import (
    Translator,
    picture_suffix,
    plan_translation,
    read_source,
    translate_file,
    write_picture,
)
from limner.presets import preset
from limner.training.state import build_generator


def picture(path: Path, width: int = 40, height: int = 30, channels: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width) if channels == 1 else (height, width, channels)
    values = np.random.default_rng(len(path.name)).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture(scope="module")
def translator() -> Translator:
    config = resolved(
        with_overrides(
            preset("pix2pix-small"),
            ["data.size=[32, 64]", "generator.width=4", "generator.depth=3"],
        )
    )
    return Translator(build_generator(config), config)


def test_files_folders_and_globs_are_planned_in_order(tmp_path: Path) -> None:
    for name in ("a/2.png", "a/10.jpg", "b/x.bmp", "b/y.png", "c.webp"):
        picture(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    plan = plan_translation(
        [str(tmp_path / "a"), str(tmp_path / "b" / "*"), str(tmp_path / "c.webp")],
        out=tmp_path / "out",
    )
    assert [source.name for source, _ in plan] == ["2.png", "10.jpg", "x.bmp", "y.png", "c.webp"]
    assert [result.name for _, result in plan] == ["2.png", "10.png", "x.png", "y.png", "c.png"]
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    source = picture(tmp_path / "in" / "1.png")
    existing = picture(tmp_path / "out" / "1.png")
    with pytest.raises(DataError, match=r"1\.png exists.*--overwrite"):
        plan_translation([str(source)], out=tmp_path / "out")
    assert plan_translation([str(source)], out=tmp_path / "out", overwrite=True) == [
        (source, existing)
    ]


def test_two_inputs_of_one_name_are_refused(tmp_path: Path) -> None:
    sources = [picture(tmp_path / name / "1.png") for name in ("a", "b")]
    with pytest.raises(DataError, match="would both become"):
        plan_translation([str(path) for path in sources], out=tmp_path / "out")


def test_what_matches_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for text in ("no.png", "*.png", "empty"):
        with pytest.raises(DataError, match="matches no image"):
            plan_translation([str(tmp_path / text)], out=tmp_path / "out")


@pytest.mark.parametrize(
    ("size", "expected"), [("trained", (32, 64)), ("original", (30, 40)), ("17x23", (17, 23))]
)
def test_the_output_has_the_size_asked_for(
    size: str, expected: tuple[int, int], translator: Translator, tmp_path: Path
) -> None:
    translate_file(translator, picture(tmp_path / "1.png"), tmp_path / "o" / "1.png", size=size)
    assert decode(tmp_path / "o" / "1.png").shape == (3, *expected)


def test_a_half_is_the_half_it_says(translator: Translator, tmp_path: Path) -> None:
    path = picture(tmp_path / "pair.png", width=40)
    whole = decode(path)
    left, _ = read_source(translator.config, path, size="original", side="left")
    right, _ = read_source(translator.config, path, size="original", side="right")
    assert torch.equal(left, to_float(whole[..., :20]))
    assert torch.equal(right, to_float(whole[..., 20:]))
    with pytest.raises(DataError, match="41x30"):
        read_source(translator.config, picture(tmp_path / "odd.png", width=41), side="left")


@pytest.mark.parametrize("size", ["big", "0x10", "10", "10x", "-3x4"])
def test_a_size_that_is_none_is_refused(size: str, translator: Translator, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HEIGHTxWIDTH"):
        read_source(translator.config, picture(tmp_path / "1.png"), size=size)


def test_channels_are_not_converted_silently(translator: Translator, tmp_path: Path) -> None:
    grey = picture(tmp_path / "grey.png", channels=1)
    with pytest.raises(DataError, match=r"grey\.png has 1 channel"):
        read_source(translator.config, grey)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_what_is_written_is_what_was_made(channels: int, tmp_path: Path) -> None:
    levels = torch.randint(0, 256, (channels, 9, 7), generator=torch.Generator().manual_seed(0))
    path = tmp_path / f"o{picture_suffix(channels)}"
    write_picture(levels.float() / 127.5 - 1, path)
    assert path.suffix == (".tif" if channels == 6 else ".png")
    assert torch.equal(decode(path).long(), levels)
