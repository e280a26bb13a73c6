"""Imports point down only, as docs/design.md has it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import limner

# From the ground up; modules of one row do not import each other.
ROWS = [
    {"errors"},
    {"yamltext", "filenames"},
    {"files", "settings", "sheets", "timing", "findings", "terminal"},
    {"networks", "losses", "data", "schedules"},
    {"config"},
    {"run"},
    {"inference", "objective", "presets"},
    {"health", "evaluation", "checks"},
    {"reporting"},
    {"training"},
    {"plan", "transfer"},
    {"validation"},
    {"api", "export"},
    {"experiments", "web"},
    {"cli"},
    {"__main__"},
]
ROOT = Path(limner.__file__).parent


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "limner":
            names = [f"limner.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [node.module or ""]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("limner.")}
    return rooms - {"__version__"}


def test_imports_point_down_only() -> None:
    height = {room: level for level, rooms in enumerate(ROWS) for room in rooms}
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        room = room_of(path)
        if room == "__init__":
            continue  # the public face imports lazily from anywhere
        for other in imported_rooms(path) - {room}:
            if height[other] >= height[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports limner.{other}")
            if room == "training" and other in ("evaluation", "reporting"):
                wrong.append(f"{path.relative_to(ROOT)} reaches {other} without a callable")
    assert wrong == []


def test_every_file_stays_readable() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in ROOT.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert long == {}


def test_the_core_does_without_torchvision() -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if "import torchvision" in path.read_text(encoding="utf-8")
    ]
    assert guilty == []


def test_no_two_modules_or_packages_have_one_name() -> None:
    modules = [path.stem for path in ROOT.rglob("*.py") if path.stem != "__init__"]
    names = modules + [path.parent.stem for path in ROOT.rglob("*/__init__.py")]
    assert sorted(set(names)) == sorted(names)


def test_yaml_is_read_in_one_place() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if re.search(r"yaml\.(safe_)?load", path.read_text(encoding="utf-8"))
    ]
    assert readers == []
