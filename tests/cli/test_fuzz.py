"""Words drawn from the parsers' own types: whatever is typed, no command ends in a fault.

Sixty command lines by themselves; LIMNER_LONG=1 (`scripts/test --long`) draws 2,000.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import typing
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tiny_runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.cli import demo, main
from limner.cli.app import build
from limner.web import server

LONG = bool(os.environ.get("LIMNER_LONG"))
TINY = {
    "data.size": 32,
    "generator.width": 4,
    "generator.depth": 3,
    "discriminators.0.layers": 1,
    "discriminators.0.width": 4,
    "training.workers": 0,
    "training.steps": 1,
    "training.epochs": 1,
}
SETS = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
GRID = (
    f"preset: pix2pix-small\nset: {TINY}\ncells: {{add: {{generator.skips: add}}}}\nmetrics: [l1]\n"
)
# What a command takes long for, kept small whatever is drawn before it.
KEPT_SMALL = {
    "train": SETS,
    "bench": ["--rounds", "2", "--batch", "1", "--backends", "folded"],
    "experiment": ["--jobs", "1"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run, data, and things that are neither."""
    folder = tmp_path_factory.mktemp("fuzz") / "home"
    folder.mkdir()
    tiny_runs.draw_data(folder / "data", test=2)
    tiny_runs.make_run(folder / "run")
    (folder / "grid.yaml").write_text(GRID)
    (folder / "empty").mkdir()
    (folder / "file").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to("nowhere")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "a\nb.png")
    before = Path.cwd()
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        patch.setenv("LIMNER_WEIGHTS", str(folder / "empty"))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(tempfile, "tempdir", str(folder.parent))
        for name in ("TRAIN", "VAL", "TEST"):
            patch.setattr(demo, name, 2)
        patch.setattr(demo, "SETTINGS", TINY)
        patch.setattr(server._Server, "run", lambda *_, **__: None)  # it would not end

        def offline(*_: object, **__: object) -> None:
            raise urllib.error.URLError("no network")

        patch.setattr(urllib.request, "urlopen", offline)
        yield folder
    os.chdir(before)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
ODD = st.sampled_from(["", "..", "../x", "/", "a\udce9", "\x1b[2J", "-", "--", "%s", "x" * 300])
PATHS = st.sampled_from(
    [
        "run",
        "data",
        "data/test",
        "empty",
        "file",
        "pipe",
        "dangling",
        "grid.yaml",
        "/dev/null",
        "out",
    ]
)
INTEGERS = st.sampled_from(["-1", "0", "1", "2", "1e400", "9" * 5000, "0x10", "1.5"]) | st.integers(
    -3, 12
).map(str)
FLOATS = st.floats().map(repr) | INTEGERS
SETTINGS = st.tuples(
    st.sampled_from(
        ["training.lr", "data.size", "seed", "generator.name", "discriminators.9.width"]
    ),
    st.sampled_from(["=", "", "=="]),
    st.sampled_from(["[", "!!int ''", "2024-02-30", ".nan", "&a [*a]", "{}", "-1", "64", "no"])
    | TEXT,
).map("".join)
WORDS = {
    "--run": st.sampled_from(["run", "run", "run", "data", "out/new"]),
    "--data": st.sampled_from(["data", "data", "data", "empty", "file"]),
    "--inputs": st.sampled_from(["data/test", "data/test/0.png", "*.png", "file", "empty"]),
    "--real": st.sampled_from(["data/test", "data/train", "empty"]),
    "--fake": st.sampled_from(["data/test", "data/train", "empty"]),
    "--out": st.sampled_from(["out/a", "out/b", "out/c", "run", "file"]),
    "--set": SETTINGS,
    "--size": st.sampled_from(
        ["trained", "original", "32x32", "1x1", "0x0", "x", "64", "99999x99999"]
    ),
    "--metrics": st.sampled_from(["l1", "l1,ssim", "fid", "seg", ",", "lpips", "psnr,psnr"]),
    "--preset": st.sampled_from(["pix2pix-small", "pix2pix", "study", "spade-small"]),
    "--device": st.sampled_from(["cpu", "auto", "cuda", "meta", "cuda:-1", "mps"]),
    "--checkpoint": st.sampled_from(["best", "newest", "0", "00000000", "7"]),
    "--format": st.sampled_from(["torchscript", "onnx", "tar"]),
    "--backend": st.sampled_from(["eager", "folded", "bf16", "f16", "openvino", "?"]),
    "--backends": st.sampled_from(["eager", "folded,eager", ",", "bf16,nonsense"]),
    "--from": st.sampled_from(["junyanz", "SPADE", "pix2pixHD", "run", "data"]),
    "--split": st.sampled_from(["test", "train", "val", "../x", "."]),
    "--option": st.sampled_from(["netG=unet_256", "netG", "x=[", "ngf=1e999", "=1"]),
    "RUNS_AND_DATA": st.sampled_from(["data", "data", "data", "empty", "run"]),
    "--name": st.sampled_from(["grid.yaml", "file", "nonsense", "pix2pix", "pipe"]),
}
RARELY = st.integers(0, 9).map(lambda drawn: drawn == 0)


def values(argument: Any) -> st.SearchStrategy[list[str]]:
    """Draw the words of one argument's value, by its type; a tenth is any text."""
    hint = argument.hint
    plain = [part for part in typing.get_args(hint) if part is not type(None)] or [hint]
    kind = plain[0] if typing.get_origin(hint) not in (list, tuple) else typing.get_args(hint)[0]
    if typing.get_origin(kind) in (list, tuple):
        kind = typing.get_args(kind)[0]
    if kind is bool:
        return st.just([])
    if (
        typing.get_origin(hint) is Literal
        or typing.get_origin(kind) is Literal
        or isinstance(kind, str)
    ):
        options = typing.get_args(kind) or plain
        fit = st.sampled_from([str(option) for option in options])
    else:
        by_kind = {int: INTEGERS, float: FLOATS, Path: PATHS}
        fit = WORDS.get(argument.names[0], by_kind.get(kind, TEXT | PATHS))
    return st.one_of(*[fit] * 20, PATHS, TEXT, ODD).map(lambda word: [word])


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Draw a command with its positional words and some of its options."""
    app = build()
    name = draw(st.sampled_from([name for name in app if not name.startswith("-")]))
    arguments = [a for a in app[name].assemble_argument_collection() if a.names != ("*",)]
    words = [name]
    for argument in arguments:
        kind = argument.field_info.kind.name
        if kind == "KEYWORD_ONLY":
            if (argument.required and not draw(RARELY)) or draw(st.integers(0, 4)) == 0:
                words += [draw(st.sampled_from(argument.names)), *draw(values(argument))]
        else:
            several = 1 if argument.required and not draw(RARELY) else draw(st.integers(0, 2))
            if argument.names[0] == "RUNS_AND_DATA":
                words += draw(st.lists(st.sampled_from(["run", "run", "out/a"]), max_size=2))
                several = draw(st.sampled_from([1, 1, 0]))
            for _ in range(several):
                words += draw(values(argument))
    if draw(RARELY):
        words.append(draw(st.sampled_from(["--help", "--nonsense", "--l1", "--"])))
    return [*words, *KEPT_SMALL.get(name, [])]


@settings(
    max_examples=2000 if LONG else 60,
    deadline=None,
    derandomize=not LONG,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(words=command_lines())
@pytest.mark.slow
def test_no_command_line_ends_in_a_fault(home: Path, words: list[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    assert status in (0, 1, 2), (words, err.getvalue())
    assert "Traceback" not in err.getvalue(), (words, err.getvalue())
    said = [line for line in err.getvalue().splitlines() if line.startswith("limner: ")]
    assert len(said) == (status != 0), (words, err.getvalue())
    assert not list(home.parent.glob("limner-fault-*")), words
