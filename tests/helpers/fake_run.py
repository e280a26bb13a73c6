"""A run's folder as training and evaluation leave it, and its report taken apart."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

VOID = {"meta", "br", "img", "link", "hr", "input"}
CONFIG = """\
preset: pix2pix-small
seed: 7
data: {root: /data/facades, size: [128, 128], mode: resize_crop, direction: BtoA}
generator: {name: unet}
discriminators: [{name: patch}]
objective: {gan: lsgan, gan_weight: 1.0, l1: 100.0}
training: {epochs: 30, batch_size: 2}
"""
START = 1_700_000_000.0
VALUES = {"l1": 0.17124, "psnr": 12.8312, "lpips": 0.412349, "fid": 148.2213, "kid": 0.004831}
SHOWN = {"l1": "0.1712", "psnr": "12.83", "lpips": "0.4123", "fid": "148.2", "kid": "0.004831"}


class Page(HTMLParser):
    """Checks that every tag is closed in order; gathers text, addresses and ids."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.rows: list[list[str]] = []
        self.images: list[bytes] = []
        self.tags: set[str] = set()
        self.text = ""
        self.source = page.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
                self.addresses.append(value or "")
            if tag == "img" and name == "src":
                head, data = (value or "").split(",", 1)
                assert re.fullmatch(r"data:image/(jpeg|png);base64", head)
                self.images.append(base64.b64decode(data, validate=True))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "text"):
            self.text += data
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        return next([cell.strip() for cell in row] for row in self.rows if row[0].strip() == first)


def picture(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), colour).save(path)


def log(run: Path, events: list[dict[str, Any]], *, torn: str = "") -> None:
    lines = [json.dumps({"time": START + k, **event}) for k, event in enumerate(events)]
    (run / "log.jsonl").write_text("\n".join(lines) + "\n" + torn, encoding="utf-8")


def training(steps: int) -> list[dict[str, Any]]:
    return [
        {"event": "train", "step": k, "epoch": k / 200, "lr": 2e-4, "seconds_per_step": 0.05,
         "g/gan": 1.0 + k / 1000, "g/l1": 0.3, "g/total": 31.0, "d/real": 0.5, "d/fake": 0.4,
         "d/total": 0.9, "d/accuracy": 0.75}
        for k in range(50, steps + 1, 50)
    ]  # fmt: skip


def evaluate(run: Path, split: str = "test", *, names: int = 8) -> Path:
    folder = run / "evaluation" / split
    stems = [f"{k:04d}" for k in range(names)]
    for k, stem in enumerate(stems):
        for kind in ("images", "source", "target"):
            picture(folder / kind / f"{stem}.png", (30 * k, 90, 10))
    picture(folder / "sheet.jpg", (9, 120, 9))
    details: dict[str, Any] = {name: {"images": 106} for name in VALUES}
    details["lpips"]["weights"] = [{"name": "a", "file": "alex.pth", "sha256": "7be5be791159"}]
    details["fid"] = {"images_real": 106, "images_fake": 100, "dimensions": 2048,
                      "note": "biased upwards at n < 2048"}  # fmt: skip
    details["kid"]["std"] = 0.00041
    details["lpips"] |= {"interval": [0.401, 0.4238], "interval_method": "bootstrap over images"}
    results = {
        "split": split, "checkpoint": "00001200", "images": 106, "version": "0.1.0",
        "command": f"limner evaluate RUN DATA --split {split}", "names": stems,
        "scores": {"values": VALUES, "details": {**details, "run": {"device": "cpu"}},
                   "per_image": {"lpips": [0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4][:names]}},
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder
