"""Pictures to swipe: all where they fit, the most wanted where not, none that cannot be read."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.reporting.gallery import LONGEST, Layer, encoded, swipe

NAMES = [f"{k:02d}" for k in range(20)]


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> list[Layer]:
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for kind in ("source", "target"):
        (root / kind).mkdir()
        for name in NAMES:
            pixels = rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / kind / f"{name}.png")
    return [Layer(kind, root / kind, {"03": f"{kind} of three"}) for kind in ("source", "target")]


def test_all_pictures_are_there_where_they_fit(layers: list[Layer]) -> None:
    view = swipe(layers, NAMES, orders={"name": NAMES, "back": NAMES[::-1]}, budget=10**7)
    assert view is not None
    data = json.loads(view["json"])
    assert view["shown"] == view["all"] == 20
    assert data["pictures"][3]["notes"] == ["source of three", "target of three"]
    assert data["orders"][1]["order"] == list(range(20))[::-1]


@pytest.mark.parametrize("budget", [60_000, 150_000])
def test_the_budget_holds_and_the_most_wanted_come_first(layers: list[Layer], budget: int) -> None:
    wanted = NAMES[::-1]
    view = swipe(layers, wanted, orders={"name": NAMES}, budget=budget)
    assert view is not None
    assert len(view["json"]) < 1.1 * budget
    data = json.loads(view["json"])
    shown = [picture["name"] for picture in data["pictures"]]
    assert shown == wanted[: len(shown)]
    assert view["shown"] == len(shown) < view["all"]
    assert len(view["json"]) > 0.5 * budget
    assert sorted(data["orders"][0]["order"]) == list(range(len(shown)))


def test_quality_is_lowered_before_pictures_are_left_out(layers: list[Layer]) -> None:
    view = swipe(layers, NAMES, orders={"name": NAMES}, budget=10**7)
    assert view is not None
    smaller = swipe(layers, NAMES, orders={"name": NAMES}, budget=int(0.85 * len(view["json"])))
    assert smaller is not None
    assert smaller["shown"] == 20
    assert len(smaller["json"]) < 0.9 * len(view["json"])


def test_what_cannot_be_read_is_left_out(layers: list[Layer], tmp_path: Path) -> None:
    for name in NAMES[:3]:
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    (tmp_path / "01.png").write_bytes(b"torn")
    view = swipe([*layers, Layer("x", tmp_path, {})], NAMES, orders={"name": NAMES}, budget=10**7)
    assert view is not None
    assert [p["name"] for p in json.loads(view["json"])["pictures"]] == ["00", "02"]
    nothing = [Layer("x", tmp_path / "none", {})]
    assert swipe(nothing, NAMES, orders={"name": NAMES}, budget=10**7) is None
    assert swipe(layers, [], orders={"name": []}, budget=10**7) is None


def test_flat_pictures_stay_exact_and_large_ones_become_smaller(tmp_path: Path) -> None:
    flat = np.zeros((40, 60, 3), dtype=np.uint8)
    flat[10:20, 30:] = (255, 0, 13)
    Image.fromarray(flat).save(tmp_path / "flat.png")
    uri = encoded(tmp_path / "flat.png", quality=75)
    assert uri is not None
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as image:
        assert (np.array(image) == flat).all()
    Image.new("L", (2000, 1000)).save(tmp_path / "large.png")
    uri = encoded(tmp_path / "large.png", quality=75)
    assert uri is not None
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as image:
        assert image.size == (LONGEST, LONGEST // 2)
