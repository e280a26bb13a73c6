"""How far an experiment is: a line a cell, with steps and the time that is left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

SECONDS_BETWEEN_LINES = 60.0


def duration(seconds: float) -> str:
    """Return a time in the words of a person who waits: 40 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass
class Line:
    """One training as the board shows it."""

    total: int
    first: int
    step: int
    begun: float = field(default_factory=time.monotonic)
    task: int = -1

    @property
    def pace(self) -> float:
        """Seconds a step since it was taken up; 0 while that is not known."""
        done = self.step - self.first
        return (time.monotonic() - self.begun) / done if done > 0 else 0.0


class Board:
    """Bars on a terminal; elsewhere a line at a cell's begin and end, and one a minute."""

    def __init__(self, *, cells: int, steps: int) -> None:
        """Show so many trainings of so many steps in all that are still to be taken."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.cells, self.ended, self.steps, self.walked = cells, 0, steps, 0
        self.begun, self.last_line = time.monotonic(), time.monotonic()
        self.lines: dict[str, Line] = {}
        self.bar.start()

    def start(self, name: str, *, step: int, total: int) -> None:
        """Begin a line for a training that stands at `step`."""
        task = self.bar.add_task(name, total=total, completed=step, words="starting")
        self.lines[name] = Line(total, step, step, task=task)  # type: ignore[arg-type]
        where = f"goes on from step {step:,} of" if step else "begins:"
        self._line(f"{name} {where} {total:,} steps")

    def update(self, name: str, step: int) -> None:
        """Move a training's line."""
        line = self.lines[name]
        # A training that was cut off goes on from its last checkpoint, behind what its log said.
        line.first = min(line.first, step)
        line.step = step
        words = self._left(line)
        self.bar.update(line.task, completed=step, words=words)  # type: ignore[arg-type]
        if time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            each = "; ".join(
                f"{known} {one.step:,} of {one.total:,} ({self._left(one)})"
                for known, one in self.lines.items()
            )
            self._line(f"{each}; {self.ended} of {self.cells} done, {self.left()}")

    def end(self, name: str, trouble: str = "") -> None:
        """Take a line away; say how the training ended."""
        line = self.lines.pop(name)
        self.ended += 1
        self.walked += max(0, line.total - line.first)
        self.bar.remove_task(line.task)  # type: ignore[arg-type]
        how = f"failed: {trouble}" if trouble else f"done in {duration(self._since(line.begun))}"
        self.say(f"{name} {how}; {self.ended} of {self.cells} done, {self.left()}")

    def left(self) -> str:
        """Return in words how long all that is left will take at the pace so far."""
        walked = self.walked + sum(line.step - line.first for line in self.lines.values())
        if not walked or walked >= self.steps:
            return "nothing left" if walked else "time left not known yet"
        seconds = self._since(self.begun) * (self.steps - walked) / walked
        return f"about {duration(seconds)} left"

    def _left(self, line: Line) -> str:
        if line.step >= line.total:
            return "measuring"
        if not line.pace:
            return "starting"
        left = duration(line.pace * (line.total - line.step))
        return f"{line.pace:.3f} s a step, {left} left"

    @staticmethod
    def _since(moment: float) -> float:
        return time.monotonic() - moment

    def _line(self, text: str) -> None:
        if not self.console.is_terminal:
            self.say(text)

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the board as it stands."""
        self.bar.stop()
