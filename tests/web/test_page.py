"""The page in a browser: one draws, and sees the picture."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_runs import draw_data, make_run

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright to drive a browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page in"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("page")
    data = draw_data(root / "data", test=2)
    runs = [make_run(root / name, f"data.root={data}", f"seed={k}") for k, name in enumerate("ab")]
    command = [sys.executable, "-m", "limner", "serve", *map(str, runs), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def until(page: Any, script: str, argument: Any = None) -> None:
    """Wait for a script to be true; the page's policy lets no script be made of text in it."""
    while not page.evaluate(script, argument):
        page.wait_for_timeout(20)


def opened(browser: Any, address: str, **how: Any) -> tuple[Any, list[str]]:
    page = browser.new_page(**how)
    page.set_default_timeout(600_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.goto(address)
    until(page, "document.querySelector('#pictures img')?.naturalWidth > 0")
    return page, faults


def source(page: Any, folder: Path) -> np.ndarray:
    with page.expect_download() as waiting:
        page.locator("#save").click()
    waiting.value.save_as(folder / "drawing.png")
    return np.asarray(Image.open(io.BytesIO((folder / "drawing.png").read_bytes())))


def test_a_drawing_becomes_a_picture(browser: Any, address: str, tmp_path: Path) -> None:
    page, faults = opened(browser, address, viewport={"width": 1280, "height": 900})
    image = page.locator("#pictures img").first
    before, first = image.get_attribute("src"), source(page, tmp_path)
    box = page.locator("#drawing").bounding_box()
    page.locator("#swatches button").first.click()
    page.locator("[data-tool=rectangle]").click()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.6 * box["height"])
    page.mouse.up()
    until(page, "before => document.querySelector('#pictures img').src !== before", before)
    drawn = source(page, tmp_path)
    assert drawn.shape == first.shape
    changed = (drawn != first).any(axis=-1)
    assert 0 < changed.mean() < 0.6
    assert len(np.unique(drawn[changed].reshape(-1, 3), axis=0)) == 1
    page.locator("#undo").click()
    assert np.array_equal(source(page, tmp_path), first)
    page.locator("#redo").click()
    assert np.array_equal(source(page, tmp_path), drawn)
    page.locator("#beside input").check()
    shown = "[...document.querySelectorAll('#pictures img')].filter(i => i.naturalWidth).length"
    until(page, f"{shown} === 2")
    assert faults == []


def test_the_keyboard_alone_draws(browser: Any, address: str, tmp_path: Path) -> None:
    page, faults = opened(browser, address, viewport={"width": 1280, "height": 900})
    first = source(page, tmp_path)
    page.locator("#swatches button").nth(1).click()
    page.locator("#drawing").focus()
    for key in ("b", "ArrowRight", "Space", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert (source(page, tmp_path) != first).any()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert np.array_equal(source(page, tmp_path), first)
    assert faults == []


def test_a_phone_has_room_for_it(browser: Any, address: str) -> None:
    page, faults = opened(browser, address, viewport={"width": 390, "height": 844}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#drawing").bounding_box()
    assert box["width"] > 300
    before = page.locator("#pictures img").first.get_attribute("src")
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    until(page, "before => document.querySelector('#pictures img').src !== before", before)
    assert faults == []
