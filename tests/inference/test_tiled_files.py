"""Large pictures from file to file: the same as whole, gone on with after a stop, or refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiny_runs import make_run

from limner.cli import main
from limner.data import decode
from limner.errors import DataError, LockedError
from limner.files import listed
from limner.inference import Translator, memory_for, tiled_sources, translate_file
from limner.inference import tiled_files as module
from limner.inference.tiled_files import translate_in_tiles

SIDES = (150, 210)


def source_of(folder: Path, name: str = "big.tif", *, seed: int = 0) -> Path:
    """Write a smooth picture in tiles."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (15, 21, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize(SIDES[::-1], Image.Resampling.BICUBIC))
    tifffile.imwrite(folder / name, pixels, tile=(32, 32), photometric="rgb")
    return folder / name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    norm = "generator.norm=batch"
    return make_run(tmp_path_factory.mktemp("tiled") / "run", norm)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no tile be larger than 64 pixels a side, whatever memory there is."""
    monkeypatch.setattr("limner.inference.tiles._LONGEST", 64)


def translated(run: Path, source: Path, result: Path, **how: Any) -> None:
    translator = Translator.load(run)
    _, needs = tiled_sources(
        translator, [source], tiles="exact", size="original", memory=memory_for(None)
    )
    assert needs is not None
    translate_in_tiles(translator, source, result, mode="exact", needs=needs, memory=2**31, **how)


def test_a_file_in_tiles_is_the_file_whole(run: Path, tmp_path: Path, small_tiles: None) -> None:
    source = source_of(tmp_path)
    translated(run, source, tmp_path / "tiled.tif")
    translate_file(Translator.load(run), source, tmp_path / "whole.tif", size="original")
    tiled, whole = (decode(tmp_path / name).int() for name in ("tiled.tif", "whole.tif"))
    assert (tiled - whole).abs().max() <= 1
    with tifffile.TiffFile(tmp_path / "tiled.tif") as file:
        assert file.pages[0].is_tiled
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"big.tif", "tiled.tif", "whole.tif"}


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_what_was_stopped_goes_on_to_the_same_bytes(
    run: Path, tmp_path: Path, small_tiles: None, stop: int
) -> None:
    source = source_of(tmp_path)
    translated(run, source, tmp_path / "at-once.tif")

    def until(what: str, done: int, total: int) -> None:
        if what == "tiles" and done == stop:
            raise KeyboardInterrupt

    result = tmp_path / "stopped.tif"
    with pytest.raises(KeyboardInterrupt):
        translated(run, source, result, progress=until)
    assert not result.exists()
    done: list[int] = []
    translated(run, source, result, progress=lambda what, at, _: done.append(at))
    assert result.read_bytes() == (tmp_path / "at-once.tif").read_bytes()
    whole: list[int] = []
    translated(run, source, tmp_path / "anew.tif", progress=lambda what, at, _: whole.append(at))
    assert len(done) == len(whole) - (stop - 1) // 4 * 4  # four tiles stand in a row


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_stop_between_the_statistics_of_two_norms_loses_none(
    tmp_path: Path, small_tiles: None, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    run, source = make_run(tmp_path / "run", "generator.norm=instance"), source_of(tmp_path)
    translator = Translator.load(run)
    _, needs = tiled_sources(translator, [source], tiles=mode, size="original", memory=2**31)
    assert needs is not None
    how: Any = {"mode": mode, "needs": needs, "memory": 2**31}
    translate_in_tiles(translator, source, tmp_path / "at-once.tif", **how)
    noted = module.Unfinished.note_moments

    def stop(self: Any, moments: Any) -> None:
        noted(self, moments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.Unfinished, "note_moments", stop)
        with pytest.raises(KeyboardInterrupt):
            translate_in_tiles(translator, source, tmp_path / "stopped.tif", **how)
    translate_in_tiles(translator, source, tmp_path / "stopped.tif", **how)
    assert (tmp_path / "stopped.tif").read_bytes() == (tmp_path / "at-once.tif").read_bytes()


def test_what_was_begun_from_another_source_begins_anew(
    run: Path, tmp_path: Path, small_tiles: None
) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    result = tmp_path / "out.tif"
    with pytest.raises(KeyboardInterrupt):
        translated(run, source_of(tmp_path, seed=1), result, progress=stop)
    other = source_of(tmp_path, seed=2)
    translated(run, other, result)
    translated(run, other, tmp_path / "expected.tif")
    assert result.read_bytes() == (tmp_path / "expected.tif").read_bytes()


HOLDING = """
import sys
from pathlib import Path
from limner.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_do_not_write_one_result(run: Path, tmp_path: Path, small_tiles: None) -> None:
    source, result = source_of(tmp_path), tmp_path / "out.tif"
    locks: list[Path] = []

    def note(*_: object) -> None:
        locks.extend(tmp_path.glob(".*.lock"))

    translated(run, source, result, progress=note)
    command = [sys.executable, "-c", HOLDING, str(locks[0])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LockedError):
            translated(run, source, result)
        process.communicate("")


def test_the_command_takes_tiles_for_what_does_not_fit(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch, small_tiles: None
) -> None:
    monkeypatch.setattr(module, "_SMALL", 100)
    monkeypatch.setattr("limner.inference.tiles._READER", 0)
    source = source_of(tmp_path)
    words = ["translate", str(run), str(source), "--size", "original", "--memory", "3MiB"]
    assert main([*words, "--out", str(tmp_path / "auto")]) == 0
    assert "tiles" in capsys.readouterr().err
    assert main([*words[:3], "--tiles", "exact", "--out", str(tmp_path / "exact")]) == 0
    one, other = (decode(tmp_path / name / "big.tif").int() for name in ("auto", "exact"))
    assert one.shape == (3, *SIDES)
    assert (one - other).abs().max() <= 1


def test_the_command_refuses_before_it_writes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = source_of(tmp_path), tmp_path / "out"
    for words in (
        ["--tiles", "exact", "--size", "64x64"],
        ["--tiles", "exact", "--memory", "lots"],
        ["--tiles", "exact", "--memory", "1MiB"],
        ["--tiles", "some"],
    ):
        capsys.readouterr()
        assert main(["translate", str(run), str(source), "--out", str(out), *words]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert "Traceback" not in told.err
        assert not out.exists() or not listed(out)


def test_a_picture_too_large_to_decode_is_told_what_to_give(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["limner.data.decode"], "PIXELS", 1000)
    source = source_of(tmp_path)
    translator = Translator.load(run)
    with pytest.raises(DataError, match="--tiles fast"):
        tiled_sources(translator, [source], tiles="off", size="original", memory=2**30)


@pytest.mark.slow
def test_kill_minus_nine_in_the_middle_loses_nothing(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1500, 700, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "big.tif", pixels, tile=(256, 256), photometric="rgb")
    script = (
        "import sys; from limner.inference import tiles; tiles._LONGEST = 64; "
        "from limner.cli import main; sys.exit(main(sys.argv[1:]))"
    )

    def command(out: str) -> list[str]:
        words = ["translate", str(run), str(tmp_path / "big.tif"), "--tiles", "exact"]
        return [sys.executable, "-c", script, *words, "--out", str(tmp_path / out)]

    with subprocess.Popen(command("killed"), stderr=subprocess.DEVNULL) as process:
        journal = None
        while journal is None or journal.read_text().count('"row"') < 3:
            found = list((tmp_path / "killed").glob(".*.jsonl"))
            journal = found[0] if found else None
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed" / "big.tif").exists()
    for out in ("killed", "whole"):
        subprocess.run(command(out), check=True, stderr=subprocess.DEVNULL)
    killed, whole = (tmp_path / out / "big.tif" for out in ("killed", "whole"))
    assert killed.read_bytes() == whole.read_bytes()
    assert len(list(killed.parent.iterdir())) == 1
