"""Text from elsewhere reaches a terminal as one line that cannot act on it."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console

import limner
from limner import terminal
from limner.cli.options import say
from limner.terminal import Bars, progress, stages

ROOT = Path(limner.__file__).parent
# A break of the line, the erasing of the screen, a byte that is no UTF-8, rich's markup.
FOREIGN = "a\nb\x1b[2J\udcff[/red][bold]"
SHOWN = r"a\nb\x1b[2J\xff[/red][bold]"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal in memory, on which all bars are drawn."""
    file = io.StringIO()

    def console(*, stderr: bool) -> Console:
        assert stderr
        return Console(file=file, force_terminal=True, width=200, color_system=None)

    monkeypatch.setattr("rich.console.Console", console)
    return file


def shows(screen: io.StringIO) -> bool:
    """Say whether the foreign text was shown, as one line, and nothing of it was obeyed."""
    text = screen.getvalue()
    return SHOWN in text and "\x1b[2J" not in text and "\udcff" not in text


def test_bars_show_foreign_names_as_they_are(screen: io.StringIO) -> None:
    with progress(FOREIGN, 2) as advance:
        advance()
    assert shows(screen)


def test_stages_and_the_status_show_foreign_names_as_they_are(screen: io.StringIO) -> None:
    with stages() as show:
        show(1, 2, FOREIGN)
        show(2, 2, FOREIGN)
    assert shows(screen)
    screen.truncate(0)
    with terminal.status("looking") as update:
        update(FOREIGN)
    assert "\x1b[2J" not in screen.getvalue()


def test_words_and_lines_show_foreign_text_as_it_is(screen: io.StringIO) -> None:
    bars = Bars()
    bars.start()
    bars.update(bars.add("training", total=3), words=FOREIGN)
    bars.close()
    assert shows(screen)
    screen.truncate(0)
    bars.say(FOREIGN)
    assert shows(screen)


def test_results_are_said_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    say(FOREIGN, "c")
    assert capsys.readouterr().out == f"{SHOWN}\nc\n"


# Where something is printed: `say` and JSON, the last sentence of a command, that of a cell.
PRINTERS = ("cli/options.py", "cli/__init__.py", "experiments/cell.py")


def test_nothing_is_shown_past_the_one_function() -> None:
    """Only `say` and its like call `print`; only `terminal` makes consoles and bars."""
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == "print" and name not in PRINTERS:
                    wrong.append(f"{place} prints")
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich"):
                columns = all(alias.name.endswith("Column") for alias in node.names)
                if name != "terminal.py" and not columns:
                    wrong.append(f"{place} draws by itself")
            elif isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr"):
                system = isinstance(node.value, ast.Name) and node.value.id == "sys"
                if system and name not in PRINTERS:
                    wrong.append(f"{place} writes to {node.attr}")
    assert wrong == []
