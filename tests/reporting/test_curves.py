"""Reading, smoothing and grouping of what a run has logged."""

from __future__ import annotations

import math
import re

import pytest

from limner.reporting.curves import (
    Line,
    Panel,
    best_step,
    draw,
    final,
    lines_of,
    loss_panels,
    smooth,
    thin,
    validation_panels,
)
from limner.reporting.score_table import figure
from limner.terminal import duration


def test_lines_rise_in_step_and_repeated_work_counts_once() -> None:
    events = [
        {"event": "train", "step": 10, "time": 1.0, "epoch": 0.1, "g/l1": 3.0},
        {"event": "train", "step": 20, "g/l1": 4.0, "d/real": "nan", "text": "words"},
        {"event": "validation", "step": 20, "g/l1": 9.0},
        {"event": "train", "step": 10, "g/l1": 5},
        {"event": "train", "g/l1": 7.0},
    ]
    lines = lines_of(events, "train")
    assert set(lines) == {"g/l1", "d/real"}
    assert lines["g/l1"] == Line("g/l1", (10.0, 20.0), (5.0, 4.0))
    assert math.isnan(lines["d/real"].values[0])


def test_smoothing_keeps_constants_means_and_gaps() -> None:
    assert smooth([2.5] * 9, span=4) == pytest.approx([2.5] * 9)
    assert smooth([1.0, 3.0, 8.0], span=1) == [1.0, 3.0, 8.0]
    # span 2 halves: (1/4 a + 1/2 b) / (3/4)
    assert smooth([1.0, 4.0], span=2) == pytest.approx([1.0, 3.0])
    gap = smooth([1.0, math.nan, 4.0], span=2)
    assert math.isnan(gap[1])
    assert [gap[0], gap[2]] == pytest.approx([1.0, 3.0])


def test_thinning_keeps_means() -> None:
    line = Line("x", tuple(map(float, range(1000))), tuple(float(k % 10) for k in range(1000)))
    short = thin(line, 100)
    assert short.values == pytest.approx([4.5] * 100)
    assert short.steps[0] == pytest.approx(4.5)
    assert thin(line, 1000) is line


def test_scalars_are_grouped_by_what_stands_before_the_slash() -> None:
    event = {"event": "train", "step": 1, "lr": 1e-4, "seconds_per_step": 0.1, "d1/real": 1.0,
             "d0/real": 1.0, "d0/accuracy": 0.5, "d1/accuracy": 0.6, "g/l1": 1.0, "g/gan": 2.0,
             "norm/g": 3.0}  # fmt: skip
    panels = loss_panels([{"event": "resume", "step": 7}, event])
    assert [(panel.title, [line.name for line in panel.lines]) for panel in panels] == [
        ("Generator: losses", ["g/l1", "g/gan"]),
        ("Discriminator 0: losses", ["d0/real"]),
        ("Discriminator 1: losses", ["d1/real"]),
        ("norm", ["norm/g"]),
        ("Discriminator accuracy", ["d0/accuracy", "d1/accuracy"]),
        ("Learning rate", ["lr"]),
        ("Seconds a step", ["seconds_per_step"]),
    ]
    assert all(panel.breaks == (7.0,) for panel in panels)
    assert loss_panels([]) == []


def test_the_newest_best_checkpoint_is_marked() -> None:
    events = [
        {"event": "validation", "step": 5, "epoch": 1.0, "ssim": 0.2, "images": 9},
        {"event": "checkpoint", "step": 5, "best": True},
        {"event": "checkpoint", "step": 8, "best": True},
        {"event": "checkpoint", "step": 9, "best": False},
    ]
    assert best_step(events) == 8
    assert best_step(events[3:]) is None
    (panel,) = validation_panels(events)
    assert (panel.title, panel.best, panel.note) == ("ssim", 8, "higher is better")


def ticks(svg: str) -> set[str]:
    return set(re.findall(r">([\d.,e-]+)</text>", svg))


def test_wide_ranges_are_drawn_on_a_log_scale_and_others_not() -> None:
    steps = tuple(map(float, range(1, 6)))
    wide = Line("a", steps, (0.01, 0.1, 1.0, 10.0, 100.0))
    assert {"0.01", "1", "100"} <= ticks(draw(Panel("x", (wide,)), prefix="a"))
    assert "0.01" not in ticks(draw(Panel("x", (wide,), log=False), prefix="b"))
    below = Line("b", steps, (-1.0, 0.1, 1.0, 10.0, 100.0))
    assert "0" in ticks(draw(Panel("x", (below,)), prefix="c"))


@pytest.mark.parametrize("values", [(), (1.0,), (math.nan,), (0.0, 0.0), (math.nan,) * 20])
def test_any_line_can_be_drawn(values: tuple[float, ...]) -> None:
    line = Line("x", tuple(float(k) for k in range(len(values))), values)
    svg = draw(Panel("x", (line,) if values else (), best=0.0, breaks=(0.0,)), prefix="q")
    assert svg.startswith("<svg viewBox=")
    assert svg.rstrip().endswith("</svg>")


def test_drawing_is_the_same_each_time_and_its_last_value_is_told() -> None:
    line = Line("x", tuple(map(float, range(40))), tuple(1.0 + k % 2 for k in range(40)))
    panel = Panel("x", (line,))
    assert draw(panel, prefix="p") == draw(panel, prefix="p")
    assert 1.3 < final(panel, line) < 1.8
    assert final(Panel("x", (line,), smooth=False), line) == 2.0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (18_420, "5 h 07 min"),
    ],
)
def test_durations_are_told_as_people_do(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("value", "shown"),
    [(412.731, "412.7"), (12.8312, "12.83"), (1.23456, "1.235"), (0.41235, "0.4123"),
     (0.0012346, "0.001235"), (-23.456, "-23.46"), (None, ""), ("nan", "nan"), (0, "0.0000")],
)  # fmt: skip
def test_scores_show_about_four_digits(value: object, shown: str) -> None:
    assert figure(value) == shown
