"""The README and docs/ are true: their commands exist with the options that they give them."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from overriding import with_overrides

from limner.cli import main
from limner.cli.app import build
from limner.config import resolved
from limner.networks import count_parameters
from limner.presets import PRESETS, preset
from limner.training.state import build_discriminators, build_generator

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def lines(text: str) -> list[str]:
    """Return the lines of all blocks of shell commands, less comments; continued ones whole."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    joined = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line.partition("#")[0].strip() for line in joined]


LINES = lines(README)
PAGES = [README, *(page.read_text(encoding="utf-8") for page in sorted(ROOT.glob("docs/*.md")))]
COMMANDS = [line for page in PAGES for line in lines(page) if "limner " in line]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one_that_limner_takes(line: str) -> None:
    words = shlex.split(line.split("limner ", 1)[1])
    build().parse_args(words, exit_on_error=False, print_error=False)
    settings = [value for word, value in pairwise(words) if word == "--set"]
    base = words[words.index("--preset") + 1] if "--preset" in words else "pix2pix"
    with_overrides(preset(base), settings)


def test_every_key_that_is_named_is_one_that_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "--keys"]) == 0
    known = set(capsys.readouterr().out.split())
    sections = "data|training|generator|encoder|objective|validation|inference"
    code = [part for page in PAGES for part in re.findall(r"`([^`\n]+)`", page)]
    keys = re.compile(rf"(?<![\w./])(?:{sections})\.[a-z_.0-9]+")
    named = {key for part in code for key in keys.findall(part)}
    assert len(named) > 20
    assert named <= known


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
