"""The segmentation score as text for the terminal: real beside generated, class by class."""

from __future__ import annotations

from typing import Any

from limner.evaluation.segmentation.confusion import FIGURES

_LOOKS = {
    "spectrum_slope": "spectrum slope",
    "sharpness": "sharpness",
    "colourfulness": "colourfulness",
}


def text(seg: dict[str, Any]) -> str:
    """Return the lines that show `details["seg"]` as `results.merged` makes it."""
    real, fake = seg["real"], seg["fake"]
    classes = seg["confusion_rows"]
    width = max(22, *(len(name) for name in classes))
    columns = "real       generated"
    lines = [*_basis(seg), "", f"{'':<{width}}  {columns}"]
    for name in FIGURES:
        low, high = fake["intervals"][name]
        lines.append(_row(name, real[name], fake[name], width) + f"  [{low:.4f}, {high:.4f}]")
    lines += [_row(words, real[name], fake[name], width) for name, words in _LOOKS.items()]
    lines += [f"{k:<{width}}  {'':<8}   {v:.4f}" for k, v in seg["distances"].items()]
    lines += ["", f"{'accuracy and IoU of':<{width}}  {'real':<19}  generated"]
    for k, name in enumerate(classes):
        cells = (f"{side['accuracy'][k]:.4f}  {side['iou'][k]:.4f}" for side in (real, fake))
        lines.append(f"{name:<{width}}  {'       '.join(cells)}")
    lines += ["", *(f"note: {note}" for note in seg["notes"])]
    if seg["warning"]:
        lines.append(f"warning: {seg['warning']}")
    return "\n".join(lines).rstrip()


def _row(name: str, real: float, fake: float, width: int) -> str:
    return f"{name:<{width}}  {real:<8.4f}   {fake:<8.4f}"


def _basis(seg: dict[str, Any]) -> list[str]:
    """Return by what, at which sizes and with which classes the pictures were scored."""
    about = seg["segmenter"]
    digest = f", SHA-256 {about['sha256'][:8]}…" if about.get("sha256") else ""
    void = f", void {', '.join(map(str, seg['void']))}" if seg["void"] else ""
    return [
        f"segmentation score, {len(seg['names'])} pictures; only the distance to the real photos' "
        "score means something",
        f"segmenter: {about.get('file', '?')} ({about.get('kind', '?')}{digest})",
        f"protocol: {seg['protocol']} ({seg['protocol_about']})",
        f"segmented at: {_sizes(seg['fake']['segmented_sizes'])} (real: "
        f"{_sizes(seg['real']['segmented_sizes'])}); scored at the labels' "
        f"{_sizes(seg['label_sizes'])}; {seg['resampling']}",
        f"classes: {len(seg['confusion_rows'])}, {seg['class_map']['source']}{void}",
    ]


def _sizes(counts: dict[str, int]) -> str:
    """Return the commonest size, and how many others there are."""
    first = next(iter(counts), "?")
    return first if len(counts) < 2 else f"{first} and {len(counts) - 1} other sizes"
