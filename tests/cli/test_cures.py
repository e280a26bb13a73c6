"""Each message's own cure is followed, and works: its words are taken out of the sentence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import flawed
import pytest
import tiny_runs
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from limner.cli import main

TINY = ["--preset", "pix2pix-small", "--device", "cpu"]
TINY += [
    word
    for setting in (
        "training.workers=0",
        "training.steps=1",
        "generator.width=4",
        "generator.depth=3",
        "data.size=32",
        "data.load_size=32",
        "discriminators.0.layers=1",
        "discriminators.0.width=4",
    )
    for word in ("--set", setting)
]
TRAIN = ["train", "two", *TINY, "--out", "new"]
TRANSLATE = ["translate", "run", "two/test/source", "--out", "new"]
EVALUATE = ["evaluate", "run", "two", "--metrics", "l1"]
SPLIT = ["split", "two", "--shares", "2:1", "--out", "new.csv"]
RESUME = ["train", "sides", "--out", "run", "--resume", "--device", "cpu"]

Cure = Callable[[list[str], str], list[str]]


def setting(number: int) -> Cure:
    """Take the sentence's setting of that number as a further `--set`."""

    def cure(words: list[str], line: str) -> list[str]:
        found = re.findall(r"\b([a-z_]+(?:\.[a-z0-9_]+)+=(?:\[[^\]]*\]|[^\s,;?)]+))", line)
        return [*words, "--set", found[number]]

    return cure


def flags(pattern: str) -> Cure:
    """Add the flags that the sentence names, found by a pattern."""
    return lambda words, line: [*words, *" ".join(re.findall(pattern, line)).split()]


def instead(old: str, pattern: str) -> Cure:
    """Put what the sentence names, its first group, in the place of a word."""

    def cure(words: list[str], line: str) -> list[str]:
        match = re.search(pattern, line)
        assert match, line
        return [match[1] if word == old else word for word in words]

    return cure


def removing(pattern: str) -> Cure:
    """Remove the file that the sentence names."""

    def cure(words: list[str], line: str) -> list[str]:
        match = re.search(pattern, line)
        assert match, line
        Path(match[1]).unlink()
        return words

    return cure


def source() -> Path:
    return Path("two/train/source/0.png")


def larger() -> None:
    Image.open(source()).resize((40, 40)).save(source())


def grey() -> None:
    for path in Path("two").glob("*/source/*.png"):
        Image.open(path).convert("L").save(path)


def one_grey() -> None:
    Image.open(source()).convert("L").save(source())


def changed_by_hand() -> None:
    path = Path("run/checkpoints/00000000/generator.safetensors")
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path)


def best(content: object) -> Callable[[], None]:
    return lambda: Path("run/checkpoints/best.json").write_text(json.dumps(content)) and None


def dangling() -> None:
    Path("two/test/source/9.png").symlink_to("nowhere")


def none() -> None:
    pass


CASES: dict[str, tuple[Callable[[], None], list[str], Cure]] = {
    "sizes, sources resized": (larger, TRAIN, setting(0)),
    "sizes, targets resized": (larger, TRAIN, setting(1)),
    "grey sources as such": (grey, TRAIN, setting(0)),
    "grey sources converted": (grey, TRAIN, setting(1)),
    "one grey source": (one_grey, TRAIN, setting(0)),
    "a key as a flag": (
        none,
        [*TRAIN, "--l1=50"],
        lambda words, line: [*words[:-1], *re.findall(r"--set [^\s?]+", line)[0].split()],
    ),
    "an unknown key": (
        none,
        [*TRAIN, "--set", "training.lrr=1e-4"],
        lambda words, line: [*words[:-1], re.findall(r"mean ([^\s?]+)", line)[0] + "=1e-4"],
    ),
    "a device that is not there": (
        none,
        [*TRANSLATE, "--device", "meat"],
        instead("meat", r"say (cpu)"),
    ),
    "a run that exists": (
        none,
        [*TRAIN[:-1], "run"],
        lambda words, _: [*words[:-1], "another"],
    ),
    "another rate at a resume": (
        none,
        [*RESUME, "--set", "training.lr=1e-3", "--set", "training.steps=1"],
        flags(r"--allow \S+"),
    ),
    "a folder of folders": (
        none,
        ["translate", "run", "two/test", "--out", "new"],
        flags(r"--recursive"),
    ),
    "a checkpoint that is not there": (
        none,
        [*TRANSLATE, "--checkpoint", "7"],
        instead("7", r"one of (\d+)"),
    ),
    "a split that is not there": (
        none,
        [*EVALUATE, "--split", "val"],
        instead("val", r"it has \w+, (\w+)"),
    ),
    "a split of new data that is not there": (
        none,
        ["shift", "run", "two", "--split", "val"],
        instead("val", r"it has (\w+)"),
    ),
    "an unknown metric": (
        none,
        ["evaluate", "run", "two", "--metrics", "sim"],
        instead("sim", r"mean '(\w+)'"),
    ),
    "a size that is none": (
        none,
        ["check", "two", "--size", "0"],
        instead("0", r"such as (\d+x\d+)"),
    ),
    "a file for the page": (
        none,
        ["check", "two", "--out", "run/config.yaml"],
        lambda words, _: [*words[:-1], "page"],
    ),
    "no films": (
        none,
        [*SPLIT, "--by", "sequence"],
        instead("sequence", r"--by (\w+)"),
    ),
    "no groups": (
        none,
        [*SPLIT, "--by", "group"],
        lambda words, line: [*words, *re.findall(r"--group-regex", line), r"source|(\d+)\.png"],
    ),
    "too few for three parts": (
        none,
        ["split", "two", "--folds", "4", "--out", "new.csv"],
        lambda words, line: ["3" if word == "4" else word for word in words],
    ),
    "a manifest that nothing would take": (
        none,
        ["split", "two", "--shares", "2:1", "--out", "new"],
        instead("new", r"such as (\S+)"),
    ),
    "a checkpoint that was changed by hand": (
        changed_by_hand,
        TRANSLATE,
        removing(r"remove (\S+)\)"),
    ),
    "a best that is none": (best([]), TRANSLATE, removing(r"^limner: (\S+) names")),
    "a best that is gone": (best({"step": 7}), TRANSLATE, removing(r"^limner: (\S+) names")),
    "a link to nowhere": (dangling, TRANSLATE, removing(r"^limner: (\S+) is a link")),
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    flawed.pictures(folder / "two", side=32, train=2, test=1)
    tiny_runs.draw_data(folder / "sides", test=2)
    tiny_runs.make_run(folder / "run", "training.workers=0", "training.steps=1")
    return folder


@pytest.mark.parametrize("case", CASES)
def test_a_cure_works(
    case: str,
    start: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(start, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spoil, words, cure = CASES[case]
    spoil()
    capsys.readouterr()
    assert main(words) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("limner: ")]
    cured = cure(words, line)
    assert main(cured) == 0, (line, cured, capsys.readouterr().err)
