"""One draw a sample: every field shows the same window, mirrored alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.data import MODES, Draw, apply, central, draw
from limner.data.pixels import checked_mode, resized_to
from limner.errors import ConfigError, DataError


def test_one_draw_shows_the_same_pixels_in_every_field(noise):
    grey = torch.from_numpy(noise(37, 41, 1))[None]
    # Fields of other depths and counts that hold the grey one, so that equal pixels prove it.
    fields = [
        grey,
        torch.cat([grey, 255 - grey, grey]),
        (grey.int() * 257).to(torch.uint16).repeat(5, 1, 1),
        grey.float(),
    ]
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        drawn = draw(rng, height=37, width=41, size=(16, 24), flip=True)
        seen.add((drawn.top, drawn.left, drawn.flip))
        crops = [apply(drawn, field) for field in fields]
        assert crops[0].shape == (1, 16, 24)
        assert torch.equal(crops[1][0], crops[0][0])
        assert torch.equal(crops[1][1], 255 - crops[0][0])
        for channel in crops[2]:
            assert torch.equal(channel.int(), crops[0][0].int() * 257)
        assert torch.equal(crops[3], crops[0].float())
    assert len(seen) > 150


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    cut=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    seed=st.integers(0, 2**63),
)
def test_windows_lie_inside(height, width, cut, seed):
    size = max(1, height - cut[0]), max(1, width - cut[1])
    image = torch.arange(height * width).reshape(1, height, width)
    rng = np.random.default_rng(seed)
    for drawn in (
        draw(rng, height=height, width=width, size=size, flip=False),
        central(height=height, width=width, size=size),
    ):
        window = apply(drawn, image)
        assert window.shape == (1, *size)
        assert window[0, 0, 0] == drawn.top * width + drawn.left
        mirrored = apply(Draw(drawn.top, drawn.left, *size, flip=True), image)
        assert torch.equal(mirrored, window.flip(-1))


def test_every_window_and_both_flips_are_drawn_evenly():
    rng = np.random.default_rng(0)
    draws = [draw(rng, height=6, width=5, size=(4, 4), flip=True) for _ in range(6000)]
    counts: dict[Draw, int] = {}
    for drawn in draws:
        counts[drawn] = counts.get(drawn, 0) + 1
    assert len(counts) == 3 * 2 * 2
    assert all(400 < count < 600 for count in counts.values())  # 500 expected, 21 deviation


def test_flip_switched_off_changes_no_window():
    pairs = [
        draw(np.random.default_rng(seed), height=50, width=50, size=(9, 9), flip=flip)
        for seed in range(50)
        for flip in (True, False)
    ]
    assert [(d.top, d.left) for d in pairs[::2]] == [(d.top, d.left) for d in pairs[1::2]]
    assert {d.flip for d in pairs[::2]} == {True, False}
    assert {d.flip for d in pairs[1::2]} == {False}


def test_the_centre_is_the_centre():
    assert central(height=10, width=21, size=(4, 5)) == Draw(3, 8, 4, 5, flip=False)


def test_sizes_before_the_crop():
    sizes = {"size": (4, 6), "load_size": (8, 9)}
    found = {
        (name, augment): resized_to(mode, **sizes, augment=augment)
        for name, mode in MODES.items()
        for augment in (True, False)
    }
    assert found == {
        ("resize_crop", True): (8, 9),
        ("resize_crop", False): (4, 6),
        ("crop", True): None,
        ("crop", False): None,
        ("resize", True): (4, 6),
        ("resize", False): (4, 6),
        ("none", True): None,
        ("none", False): None,
    }


def test_clashes_are_named():
    with pytest.raises(ConfigError, match=r"unknown data\.mode 'cropp': did you mean 'crop'"):
        checked_mode("cropp", size=(4, 4), load_size=(4, 4))
    with pytest.raises(ConfigError, match=r"load_size 8x3 is smaller than data\.size 4x4"):
        checked_mode("resize_crop", size=(4, 4), load_size=(8, 3))
    for name in ("crop", "resize", "none"):
        assert checked_mode(name, size=(4, 4), load_size=(1, 1)) is MODES[name]
    with pytest.raises(DataError, match="an image of 9x3 has no room for a crop of 4x4"):
        draw(np.random.default_rng(0), height=3, width=9, size=(4, 4), flip=True)
