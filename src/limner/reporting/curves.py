"""Curves of a training: which there are, how they are smoothed, and their drawings."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from limner.evaluation.metrics import METRICS

SMOOTHED_FROM = 8  # points; a shorter line is shown as it is


@dataclass(frozen=True)
class Line:
    """One curve: its name, its steps in rising order and a value for each."""

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One small diagram: some lines over the steps, and what is marked on it."""

    title: str
    lines: tuple[Line, ...]
    smooth: bool = True
    log: bool = True  # a log scale where the range asks for it
    level: float | None = None  # a faint horizontal line, such as chance
    best: float | None = None  # the step of the best checkpoint
    breaks: tuple[float, ...] = field(default=())  # the steps at which the run was resumed
    spans: tuple[tuple[float, float], ...] = ()  # steps between which something was found
    note: str = ""

    @property
    def is_smoothed(self) -> bool:
        """Whether any line is long enough to be smoothed at all."""
        return self.smooth and any(len(line.steps) >= SMOOTHED_FROM for line in self.lines)


def lines_of(events: Iterable[dict[str, Any]], event: str) -> dict[str, Line]:
    """Return every numeric field of all events of one kind as a line over `step`.

    Where a step occurs twice (work repeated after a crash) the later value counts. Numbers that
    JSON cannot hold are logged as words ("nan", "inf") and become gaps.
    """
    found: dict[str, dict[float, float]] = {}
    for entry in events:
        step = _number(entry.get("step"))
        if entry.get("event") != event or step is None:
            continue
        for name, value in entry.items():
            number = _number(value)
            if number is not None and name not in ("step", "time", "epoch", "event"):
                found.setdefault(name, {})[step] = number
    return {
        name: Line(name, tuple(sorted(points)), tuple(points[step] for step in sorted(points)))
        for name, points in found.items()
    }


def _number(value: object) -> float | None:
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else math.nan


def smooth(values: Sequence[float], *, span: float) -> list[float]:
    """Return the exponential moving average over about `span` values, free of start-up bias.

    Bias is removed as Adam does it (Kingma and Ba 2015, section 3): divide by 1 - decay^n.
    Gaps (NaN) stay gaps and do not count.
    """
    decay = 1 - 1 / max(span, 1)
    total = weight = 0.0
    averaged = []
    for value in values:
        if math.isnan(value):
            averaged.append(value)
            continue
        total = decay * total + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        averaged.append(total / weight)
    return averaged


def loss_panels(events: Sequence[dict[str, Any]]) -> list[Panel]:
    """Return the diagrams of a training: generator, discriminators, accuracy, rate, pace.

    Scalars with a slash in their name are grouped by what stands before it.
    """
    lines = lines_of(events, "train")
    breaks = tuple(
        step for e in events if e["event"] == "resume" and (step := _number(e.get("step")))
    )
    accuracy = [line for name, line in lines.items() if "/accuracy" in name]
    groups: dict[str, list[Line]] = {}
    for name, line in lines.items():
        if "/" in name and "/accuracy" not in name:
            groups.setdefault(_group(name), []).append(line)
    order = sorted(groups, key=_place)
    panels = [Panel(_title(name), tuple(groups[name]), breaks=breaks) for name in order]
    if accuracy:
        note = "0.5 is chance: the discriminator cannot tell real from fake"
        panels.append(
            Panel("Discriminator accuracy", tuple(accuracy), level=0.5, breaks=breaks, note=note)
        )
    rates = [line for name, line in lines.items() if name == "lr" or name.startswith("lr_")]
    if rates:
        panels.append(Panel("Learning rate", tuple(rates), smooth=False, log=False, breaks=breaks))
    if "seconds_per_step" in lines:
        panels.append(Panel("Seconds a step", (lines["seconds_per_step"],), breaks=breaks))
    return panels


HEALTH = {
    "gradient": "Lengths of gradients",
    "update": "Updates over weights",
    "share": "Shares of the terms in the gradient at the picture",
    "logit": "Logits: real, made, held out",
    "following": "How far pictures follow their sources",
    "dropout_spread": "Spread over dropout",
    "l1": "Distances: pictures, mean colour, statistics",
    "saturated": "Saturated values: pictures, targets",
    "high_frequencies": "High frequencies, pictures over targets",
    "checkerboard": "Checkerboard: amplitude over contrast",
    "checkerboard_decibels": "Checkerboard: decibels",
    "blob": "Worst spot over the usual one",
}
"""Titles of what `health/...` measures; docs/health.md says what each means."""


def _group(name: str) -> str:
    """What stands before the slash; of `health/...` the kind of measurement."""
    head, _, rest = name.partition("/")
    if head != "health":
        return head
    kind = rest.partition("/")[0]
    if kind not in HEALTH:
        kind = kind.partition("_")[0]  # l1_flat, saturated_target
    return f"health/{kind}"


def _place(group: str) -> tuple[bool, bool, bool, str]:
    """Order of groups: the generator's, the discriminators', others, health."""
    return (
        group != "g",
        not re.fullmatch(r"d\d*", group),
        group.startswith("health/"),
        group,
    )


def _title(group: str) -> str:
    if group.startswith("health/"):
        return HEALTH.get(group.removeprefix("health/"), group)
    if re.fullmatch(r"d\d+", group):
        return f"Discriminator {group[1:]}: losses"
    return {"g": "Generator: losses", "d": "Discriminator: losses"}.get(group, group)


def validation_panels(events: Sequence[dict[str, Any]]) -> list[Panel]:
    """Return one diagram a validation metric, the best checkpoint marked."""
    best = best_step(events)
    panels = []
    for name, line in lines_of(events, "validation").items():
        if name == "images":
            continue
        better = f"{METRICS[name].better} is better" if name in METRICS else ""
        panels.append(Panel(name, (line,), smooth=False, best=best, note=better))
    return panels


def best_step(events: Iterable[dict[str, Any]]) -> float | None:
    """Return the step of the checkpoint that was kept as the best, if one was."""
    steps = [_number(e.get("step")) for e in events if e["event"] == "checkpoint" and e.get("best")]
    return steps[-1] if steps else None


# Mid-tones that stand out from white and from black alike.
PALETTE = (
    *("#3b82d6", "#e0792b", "#2f9e69", "#b0569f", "#c9495a", "#8a8f3c", "#6a7a8c"),
    *("#22a3a3", "#9a6b3f", "#6f5fc4", "#d88fb0", "#4f7f2f"),
)
SPAN = "#e0792b"  # marks the steps of a finding
INK = "#010203"  # stands for the ink of the page until the drawing is done
MOST_POINTS = 1500  # more cannot be told apart at the width of a page
LOG_FROM = 12.0  # a range of more than this ratio is drawn on a log scale


def thin(line: Line, most: int) -> Line:
    """Return the line with at most `most` points, each the mean of its neighbours."""
    count = len(line.steps)
    if count <= most:
        return line
    edges = [round(k * count / most) for k in range(most + 1)]
    steps, values = [], []
    for start, end in pairwise(edges):
        known = [value for value in line.values[start:end] if not math.isnan(value)]
        steps.append(sum(line.steps[start:end]) / (end - start))
        values.append(sum(known) / len(known) if known else math.nan)
    return Line(line.name, tuple(steps), tuple(values))


def shown(panel: Panel, line: Line) -> list[float]:
    """Return the values that are drawn bold: smoothed where the panel and the length allow it."""
    if panel.smooth and len(line.values) >= SMOOTHED_FROM:
        return smooth(line.values, span=max(4, len(line.values) / 25))
    return list(line.values)


def final(panel: Panel, line: Line) -> float:
    """Return the last value of the bold line; NaN where that was not finite."""
    return shown(panel, thin(line, MOST_POINTS))[-1]


def draw(panel: Panel, *, prefix: str) -> str:
    """Return the panel as one SVG element without fonts, scripts or addresses.

    `prefix` makes its ids unique on the page. The k-th line has the k-th colour of `PALETTE`.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "font.size": 9}):
        figure = Figure(figsize=(5.4, 2.5), layout="constrained")
        axes = figure.add_subplot()
        _plot(axes, panel)
        file = io.StringIO()
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(file, metadata=empty)
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img">', svg, count=1)
    return svg.replace(INK, "currentColor")


def _plot(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

    seen: list[float] = []
    for k, line in enumerate(panel.lines):
        colour = PALETTE[k % len(PALETTE)]
        thinned = thin(line, MOST_POINTS)
        bold = shown(panel, thinned)
        if panel.smooth and len(bold) >= SMOOTHED_FROM:
            axes.plot(thinned.steps, thinned.values, color=colour, linewidth=0.7, alpha=0.3)
        marker = "o" if len(bold) < 3 or (not panel.smooth and len(bold) <= 12) else ""
        axes.plot(thinned.steps, bold, color=colour, linewidth=1.6, marker=marker, markersize=3.5)
        seen += [value for value in bold if not math.isnan(value)]
        if panel.best in line.steps:
            value = line.values[line.steps.index(panel.best)]
            axes.plot([panel.best], [value], "o", markersize=8, fillstyle="none", color=INK)
    for first, last in panel.spans:
        axes.axvspan(first, last, color=SPAN, alpha=0.14, linewidth=0)
    for step in panel.breaks:
        axes.axvline(step, color=INK, linewidth=0.7, linestyle=(0, (2, 3)), alpha=0.5)
    if panel.best is not None:
        axes.axvline(panel.best, color=INK, linewidth=0.7, alpha=0.35)
    if panel.level is not None:
        axes.axhline(panel.level, color=INK, linewidth=0.7, alpha=0.35)
        axes.set_ylim(-0.03, 1.03)
    elif panel.log and seen and min(seen) > 0 and max(seen) / min(seen) > LOG_FROM:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y", color=INK, alpha=0.1, linewidth=0.7)
    axes.tick_params(which="both", colors=INK, length=0, pad=5)
    axes.margins(x=0.02)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(INK)
        spine.set_alpha(0.4)
    axes.patch.set_alpha(0)
    axes.figure.patch.set_alpha(0)
