"""Sample sheets: every picture where the layout says, in its own colours, unscaled."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from limner.errors import DataError
from limner.sheets import lay_out, sample_sheet, spread, to_image, wide_sheet


def tile(colour: tuple[int, ...], height: int, width: int) -> Tensor:
    return torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(-1, height, width)


def patch(sheet: Image.Image, left: int, top: int, width: int, height: int) -> np.ndarray:
    return np.array(sheet)[top : top + height, left : left + width]


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_tiles_land_where_the_layout_says_and_nowhere_else(size: int) -> None:
    colours = [[(250, 10, 20), (10, 250, 20), (20, 10, 250)], [(1, 2, 3), (90, 0, 0), (0, 90, 0)]]
    titles = ["source", "output", "target"]
    rows = [[tile(colour, size, size) for colour in row] for row in colours]
    sheet = sample_sheet(rows, titles=titles)
    layout = lay_out([[(size, size)] * 3] * 2, titles=titles)
    assert sheet.size == layout.size
    pixels = np.array(sheet)
    for row, origins in zip(colours, layout.origins, strict=True):
        for colour, (left, top) in zip(row, origins, strict=True):
            assert (patch(sheet, left, top, size, size) == colour).all()
            assert (pixels == colour).all(axis=2).sum() == size * size
    lefts = [left for left, _ in layout.origins[0]]
    assert min(np.diff(lefts)) > size
    assert layout.origins[1][0][1] > layout.origins[0][0][1] + size


def test_margins_are_white_and_titles_and_names_are_written() -> None:
    rows = [[tile((250, 10, 20), 80, 80)] * 2] * 2
    layout = lay_out([[(80, 80)] * 2] * 2, titles=["a", "b"], names=["x", "y"])
    blank = np.array(sample_sheet(rows, titles=["", ""], names=["", ""]))
    written = np.array(sample_sheet(rows, titles=["source", "output"], names=["0001", "Straße"]))
    inside = (blank == (250, 10, 20)).all(axis=2)
    assert inside.sum() == 4 * 80 * 80
    assert (blank[~inside] == 255).all()
    dark = (written < 160).all(axis=2) & ~inside
    for left, width in layout.columns:
        assert dark[: layout.bands[0][0], left : left + width].sum() > 20
    for k, (top, height) in enumerate(layout.bands):
        end = layout.bands[k + 1][0] if k == 0 else len(dark)
        assert dark[top + height : end].sum() > 20
    assert not dark[:, : layout.points].any()


def test_smaller_pictures_stand_unscaled_in_the_middle() -> None:
    rows = [[tile((250, 10, 20), 40, 100), tile((10, 250, 20), 60, 30)], [tile((0, 0, 9), 20, 50)]]
    titles = ["wide", "tall"]
    layout = lay_out([[(100, 40), (30, 60)], [(50, 20)]], titles=titles)
    (wide_left, wide_top), (_, tall_top) = layout.origins[0]
    assert wide_top == tall_top + 10
    assert layout.origins[1][0][0] == wide_left + 25
    sheet = sample_sheet(rows, titles=titles)
    for row, origins in zip(rows, layout.origins, strict=True):
        for picture, (left, top) in zip(row, origins, strict=True):
            _, height, width = picture.shape
            found = patch(sheet, left, top, width, height)
            assert np.array_equal(found, picture.permute(1, 2, 0).numpy())


def test_every_number_type_and_channel_count_shows_its_values() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    for same in (values, values.float() / 127.5 - 1, (values.int() * 257).to(torch.uint16)):
        assert np.array_equal(np.array(to_image(same)), values[0].numpy())
    many = torch.cat([values, 255 - values, values // 2, values // 3, values // 4])
    assert np.array_equal(np.array(to_image(many)), many[:3].permute(1, 2, 0).numpy())
    assert np.array_equal(np.array(to_image(many[:2])), values[0].numpy())


def test_the_fourth_channel_is_opacity() -> None:
    colour = torch.tensor([200, 100, 0]).to(torch.uint8)[:, None, None].expand(3, 16, 16)
    opaque = np.array(to_image(torch.cat([colour, tile((255,), 16, 16)])))
    assert (opaque == (200, 100, 0)).all()
    clear = np.array(to_image(torch.cat([colour, tile((0,), 16, 16)])))
    assert {tuple(int(v) for v in p) for p in clear.reshape(-1, 3)} == {(204,) * 3, (255,) * 3}


def test_values_out_of_range_are_clipped_and_nan_is_black() -> None:
    picture = torch.tensor([[[-3.0, 7.0, float("nan"), 0.0]]])
    assert np.array(to_image(picture)).tolist() == [[0, 255, 0, 128]]


def test_long_names_stay_inside_the_sheet() -> None:
    rows = [[tile((250, 10, 20), 64, 64)] * 3]
    sheet = np.array(sample_sheet(rows, titles=["t" * 90] * 3, names=["name " * 99]))
    layout = lay_out([[(64, 64)] * 3], titles=["t"] * 3, names=["n"])
    for (left, width), (following, _) in zip(layout.columns[:-1], layout.columns[1:], strict=True):
        assert (sheet[: layout.bands[0][0], left + width + 1 : following - 1] == 255).all()
    assert (sheet[:, -layout.points + 1 :] == 255).all()


@pytest.mark.parametrize(("size", "columns"), [(64, 4), (128, 2), (256, 1), (700, 1)])
def test_small_pictures_stand_in_as_many_columns_as_have_room(size: int, columns: int) -> None:
    colours = [(10 * k, 200, 255 - 10 * k) for k in range(7)]
    rows = [[tile(colour, size, size)] * 3 for colour in colours]
    titles, names = ["source", "output", "target"], list("abcdefg")
    sheet = wide_sheet(rows, titles=titles, names=names)
    high = -(-7 // columns)
    alone = lay_out([[(size, size)] * 3] * high, titles=titles, names=names[:high])
    assert sheet.size == (columns * alone.size[0], alone.size[1])
    for k, colour in enumerate(colours):
        left, top = alone.origins[k % high][1]
        found = patch(sheet, left + k // high * alone.size[0], top, size, size)
        assert (found == colour).all()


@pytest.mark.parametrize(
    ("rows", "titles", "names", "sentence"),
    [
        ([], [], None, "at least one picture"),
        ([[]], [], None, "at least one picture"),
        ([[tile((1,), 4, 4)]], ["a", "b"], None, "1 pictures but there are 2 titles"),
        ([[tile((1,), 4, 4)]], ["a"], ["x", "y"], "1 rows but 2 names"),
        ([[torch.zeros(4, 4)]], ["a"], None, r"C x H x W, this tensor is \(4, 4\)"),
        ([[torch.zeros(1, 4, 4, dtype=torch.int64)]], ["a"], None, r"this tensor is torch\.int64"),
    ],
)
def test_what_is_no_sheet_is_refused(
    rows: list[list[Tensor]], titles: list[str], names: list[str] | None, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        sample_sheet(rows, titles=titles, names=names)


def test_places_are_spread_from_the_first_to_the_last() -> None:
    assert spread(3, 8) == [0, 1, 2]
    assert spread(0, 8) == []
    places = spread(100, 7)
    assert (places[0], places[-1], len(set(places))) == (0, 99, 7)
    gaps = [after - before for before, after in pairwise(places)]
    assert max(gaps) - min(gaps) <= 1
