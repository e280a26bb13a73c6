"""OUT/index.html of `limner shift`: what a run makes of new data, and what to do about it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from PIL import Image

from limner.files import write_text
from limner.reporting.gallery import embed_image
from limner.reporting.run_page import render

HEADLINES = {
    "use": "Use the run as it is",
    "re-estimate": "Estimate the norms' statistics anew",
    "fine-tune": "Train on from the run",
    "train-anew": "Train anew",
}


def write_shift_page(
    out: Path,
    shifted: dict[str, Any],
    *,
    sheet: Image.Image | None,
    run: str,
    data: str,
    split: str,
) -> Path:
    """Write OUT/index.html and return its path.

    Args:
        out: the folder; it is made.
        shifted: what `Shift.to_json` returns.
        sheet: sources, the run's pictures and targets of some pairs.
        run, data, split: what was compared, as the user called it.
    """
    findings = list(shifted["findings"])
    (short,) = [finding for finding in findings if finding["name"] == "recommendation"]
    findings.remove(short)
    sizes = [
        layer["mean_sigmas"] + abs(math.log(max(layer["std_ratio"], 1e-6)))
        for layer in shifted["layers"]
    ]
    contents = {
        "headline": HEADLINES[shifted["recommendation"]],
        "command": short["cure"],
        "findings": [*findings, short | {"cure": ""}],
        "sheet": None if sheet is None else embed_image(sheet.convert("RGB"), ""),
        "layers": [
            layer | {"share": round(100 * size / max(1.0, *sizes))}
            for layer, size in zip(shifted["layers"], sizes, strict=True)
        ],
        "stored": any(layer["stored"] for layer in shifted["layers"]),
        **{key: shifted[key] for key in ("distance", "discriminator", "labels")},
        **{"run": run, "data": data, "split": split},
    }
    page = out / "index.html"
    write_text(page, render("shift.html", contents))
    return page
