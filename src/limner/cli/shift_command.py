"""`limner shift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from limner.cli.options import Device, Json, Name, page_folder, pick_device, print_json, say

if TYPE_CHECKING:
    from limner.transfer.shift import Shift


def shift(
    run: Path,
    data: Path,
    *,
    split: Name = "train",
    out: Path | None = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Tell how far new data lies from what a run has learnt, and what to do about it.

    The run translates some of the new pairs as it stands; what its layers see, how its pictures
    differ from the targets and what its discriminator thinks are held against its own pairs.
    Nothing is trained.

    **Examples**

    - `limner shift runs/facades new-city`
    - `limner shift runs/camvid dusk.csv --split train --json`

    Parameters
    ----------
    run
        The run's folder.
    data
        New pairs: a folder or a manifest.
    split
        Of the new data.
    out
        Folder for index.html, with pictures.
    """
    from limner.inference import default_cache_folder
    from limner.terminal import status
    from limner.transfer.shift import shift as measured

    page_folder(out)
    with status("loading the run") as show:
        shifted = measured(
            run,
            data,
            split=split,
            device=pick_device(device),
            cache_folder=default_cache_folder(),
            progress=show,
        )
    page = None if out is None else _page(out, shifted, run=run, data=data, split=split)
    if json:
        print_json(shifted.to_json())
        return
    say(f"{shifted.recommendation}  (distance {shifted.distance:.3f})")
    for finding in shifted.findings:
        say(finding.line())
        say(f"    {finding.cure}")
    worst = sorted(shifted.layers, key=lambda layer: -layer.size)[:5]
    for layer in worst:
        against = "stored statistics" if layer.stored else "the run's own pairs"
        say(
            f"layer {layer.name}: mean {layer.mean_sigmas:.2f} standard deviations off, spread "
            f"{layer.std_ratio:.2f} times that of {against}"
        )
    if shifted.discriminator is not None:
        values = shifted.discriminator
        for kind in ("real", "fake"):
            old = values[f"{kind}_old"]
            told = "" if old is None else f", {old:.2f} for the run's own pairs"
            say(f"discriminator of {kind} pictures: mean logit {values[f'{kind}_new']:.2f}{told}")
    if page is not None:
        say(f"see {page}")


def _page(out: Path, shifted: Shift, *, run: Path, data: Path, split: str) -> Path:
    """Draw the page with a sheet of the new pairs."""
    from limner.config import read_config
    from limner.inference import shown_source
    from limner.reporting.shift_page import write_shift_page
    from limner.sheets import sample_sheet

    config = read_config(run / "config.yaml")
    rows = [
        (shown_source(config, source), picture, target) for source, picture, target in shifted.rows
    ]
    sheet = sample_sheet(rows, titles=["source", "output", "target"]) if rows else None
    words = {"run": str(run), "data": str(data), "split": split}
    return write_shift_page(out, shifted.to_json(), sheet=sheet, **words)
