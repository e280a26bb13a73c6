"""What is shown while work is under way: bars and lines on standard error, with `rich`.

Names and messages from elsewhere pass `printable` here and are never read as markup, so that none
can move the cursor, break a line or end the work. Where standard error is no terminal, there are no
bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from limner.errors import printable

if TYPE_CHECKING:
    from rich.progress import ProgressColumn


class Bars:
    """Bars with a name each; lines go above them."""

    def __init__(self, *columns: ProgressColumn, transient: bool = False) -> None:
        """Show nothing yet; `columns` stand behind the name and the bar, then each bar's words."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn

        self.console, self._number = Console(stderr=True), TaskID
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            *columns,
            TextColumn("{task.fields[words]}", markup=False),
            console=self.console,
            disable=not self.on_terminal,
            transient=transient,
        )

    @property
    def on_terminal(self) -> bool:
        """Whether there is a terminal to show bars on."""
        return self.console.is_terminal

    def add(self, name: str, *, total: int, done: int = 0, words: str = "") -> int:
        """Begin a bar and return its number."""
        shown = printable(words)
        return self._bars.add_task(printable(name), total=total, completed=done, words=shown)

    def update(
        self,
        bar: int,
        *,
        done: int | None = None,
        total: int | None = None,
        words: str | None = None,
    ) -> None:
        """Change what is given of a bar."""
        fields: dict[str, Any] = {} if words is None else {"words": printable(words)}
        self._bars.update(self._number(bar), completed=done, total=total, **fields)

    def advance(self, bar: int) -> None:
        """Move a bar by one."""
        self._bars.advance(self._number(bar))

    def remove(self, bar: int) -> None:
        """Take a bar away."""
        self._bars.remove_task(self._number(bar))

    def say(self, line: str) -> None:
        """Print one line above the bars, or where there are none."""
        self.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)

    def start(self) -> None:
        """Show the bars from here on."""
        self._bars.start()

    def close(self) -> None:
        """Leave what is shown as it stands."""
        self._bars.stop()


@contextmanager
def _shown(bars: Bars) -> Iterator[Bars]:
    bars.start()
    try:
        yield bars
    finally:
        bars.close()


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar while the block runs; call what it gives once an item."""
    with _shown(Bars(transient=True)) as bars:
        bar = bars.add(what, total=total)
        yield lambda: bars.advance(bar)


@contextmanager
def stages(*, left: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar for each stage of some work; call what it gives with done, total and name.

    With `left` a bar tells how long the rest takes at the pace so far.
    """
    with _shown(Bars(transient=True)) as bars:
        known: dict[str, tuple[int, int, float]] = {}

        def show(done: int, total: int, what: str) -> None:
            if what not in known:
                known[what] = bars.add(what, total=total), done, monotonic()
            bar, before, begin = known[what]
            words = None
            if left and done > before:
                words = f"{_span((monotonic() - begin) / (done - before) * (total - done))} left"
            bars.update(bar, done=done, total=total, words=words)

        yield show


def _span(seconds: float) -> str:
    """Return a length of time to the precision that a guess has."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """Show one line that says what is under way; call what it gives with the next one."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(printable(what))) as shown:
        yield lambda line: shown.update(Text(printable(line)))


def duration(seconds: float) -> str:
    """Return a time span as people say it: `48 s`, `3 min 20 s`, `5 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
