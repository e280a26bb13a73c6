"""The README is true: its commands exist with the options that it gives them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from limner.cli import build
from limner.networks import count_parameters
from limner.presets import PRESETS, preset
from limner.training.resolving import resolved
from limner.training.state import build_discriminators, build_generator

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
LINES = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [line for line in LINES if "limner " in line]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one_that_limner_takes(line: str) -> None:
    words = shlex.split(line.split("limner ", 1)[1])
    build().parse_args(words, exit_on_error=False, print_error=False)


def test_every_make_target_is_one_that_there_is() -> None:
    targets = {line.split()[1] for line in LINES if line.startswith("make ")}
    makefile = (ROOT / "Makefile").read_text()
    assert targets == {"demo", "test"}
    for target in targets:
        assert f"\n{target}: setup\n" in makefile


def test_every_preset_is_named() -> None:
    for name in PRESETS:
        assert f"| `{name}` |" in README


def test_the_parameters_are_those_that_are_claimed() -> None:
    config = resolved(preset("pix2pix"))
    assert "54,413,955" in README
    assert "2,768,705" in README
    assert count_parameters(build_generator(config)) == 54_413_955
    assert count_parameters(build_discriminators(config)[0]) == 2_768_705
