"""Channels are changed when asked and never silently; every value has its float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.data import as_channels, to_float
from limner.data.pixels import to_uint16
from limner.errors import DataError

PATH = Path("train/7.png")
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def image(channels: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    top = torch.iinfo(dtype).max + 1
    drawn = torch.randint(top, (channels, 7, 9), generator=torch.Generator().manual_seed(0))
    return drawn.to(dtype)


@pytest.mark.parametrize("found", MODES)
@pytest.mark.parametrize("wanted", MODES)
def test_conversions_are_pillows(found, wanted):
    source = image(found)
    converted = as_channels(source, wanted, convert=True, path=PATH)
    opened = Image.fromarray(source.permute(1, 2, 0).squeeze(-1).numpy())
    assert opened.mode == MODES[found]
    # Pillow gives RGBA from LA and the like in one step, and LA from RGBA by way of L.
    expected = np.asarray(opened.convert(MODES[wanted])).reshape(7, 9, wanted)
    assert np.array_equal(converted.permute(1, 2, 0).numpy(), expected)


def test_luma_of_16_bits_is_rounded_not_cut():
    source = image(3, torch.uint16)
    grey = as_channels(source, 1, convert=True, path=PATH)
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    exact = (source.double() * weights).sum(0)
    assert grey.dtype == torch.uint16
    assert (grey[0].double() - exact).abs().max() <= 1.0
    assert as_channels(grey, 4, convert=True, path=PATH)[3].double().min() == 65535


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_same_count_passes_untouched(channels, dtype):
    source = image(channels, dtype)
    for convert in (False, True):
        assert as_channels(source, channels, convert=convert, path=PATH) is source


def test_another_count_is_an_error_with_the_cures():
    with pytest.raises(DataError) as caught:
        as_channels(image(1), 3, convert=False, path=PATH)
    assert str(caught.value) == (
        "train/7.png has 1 channel where data.channels asks for 3: set data.channels=1, or "
        "data.convert=true to convert it"
    )


@pytest.mark.parametrize(("found", "wanted"), [(5, 3), (3, 5), (6, 7)])
def test_what_has_no_conversion_stays_an_error(found, wanted):
    with pytest.raises(DataError, match=rf"set data\.channels={found} \(data\.convert knows 1"):
        as_channels(image(found), wanted, convert=True, path=PATH)
    with pytest.raises(DataError, match=rf"set data\.channels={found}$"):
        as_channels(image(found), wanted, convert=False, path=PATH)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_floats_span_the_type_evenly(dtype):
    top = torch.iinfo(dtype).max
    every = torch.arange(top + 1).to(dtype)
    floats = to_float(every)
    assert floats.dtype == torch.float32
    assert floats[0] == -1
    assert floats[-1] == 1
    assert torch.equal(((floats.double() + 1) / 2 * top).round(), torch.arange(top + 1).double())


def test_8_bits_as_16_are_the_same_floats_to_the_bit():
    every = torch.arange(256).to(torch.uint8)
    assert torch.equal(to_float(to_uint16(every)), to_float(every))
