"""The names that Python programs import from `limner` itself."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import limner


@pytest.mark.parametrize("name", limner.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    thing = getattr(limner, name)
    assert name in dir(limner)
    if name != "__version__":
        assert thing.__doc__
    if callable(thing) and not isinstance(thing, type):
        assert "return" in typing.get_type_hints(thing) or thing.__annotations__["return"]


def test_the_version_is_the_packages_own() -> None:
    assert limner.__version__ == importlib.metadata.version("limner")


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(limner.__file__).parent / "py.typed").is_file()


def test_an_unknown_name_is_none() -> None:
    with pytest.raises(AttributeError, match="trane"):
        limner.__getattr__("trane")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("limner", {"torch", "numpy", "PIL"}),
        ("limner.api", {"scipy", "matplotlib", "lightning_fabric", "tensorboard"}),
    ],
)
def test_an_import_loads_nothing_that_it_may_not_need(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; sys.exit(str(sorted({heavy!r} & set(sys.modules)) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
