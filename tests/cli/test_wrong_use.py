"""What the commands beside training cannot do is one sentence, said before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import painted
import pytest
import tiny_runs
from PIL import Image
from random_pairs import write_pairs

from limner.cli import main
from limner.errors import ConfigError
from limner.experiments import running, workers

GRID = """
preset: pix2pix-small
set: {data.size: 32, data.load_size: 32, generator.depth: 3, discriminators.0.layers: 1}
cells: {add: {generator.skips: add}}
metrics: [l1]
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data", tiles=8, tile=6, train=4, test=2)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tiny_runs.make_run(tmp_path / "run")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run a command that must fail; it says one sentence and leaves all files as they are."""

    def fail(*words: object) -> str:
        before = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("limner: ")
        assert {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
        return line

    return fail


@pytest.mark.parametrize("command", ["export", "bench", "translate", "evaluate", "experiment"])
def test_an_out_or_a_run_that_is_none(command: str, said, run: Path, data: Path) -> None:
    file = data.parent / "grid.yaml"
    file.write_text(GRID)
    words: dict[str, tuple[object, ...]] = {
        "export": (run, "--out", file / "x.onnx"),
        "bench": (data, "--rounds", 2),
        "translate": (run, data / "test", "--side", "left", "--out", file / "x"),
        "evaluate": (file, data),
        "experiment": (file, data, "--out", file / "x"),
    }
    sentence = said(command, *words[command])
    assert str(data if command == "bench" else file) in sentence


def test_a_device_that_is_not_there(said, run: Path, data: Path) -> None:
    for words in (("translate", run, data / "test", "--out", data / "x"), ("evaluate", run, data)):
        assert "--device meat cannot be used here" in said(*words, "--device", "meat")
        assert "say cpu or auto" in said(*words, "--device", "cuda:99")


@pytest.mark.parametrize("bound", ["-1", "nan", "inf"])
def test_a_bound_that_nothing_meets(bound: str, said, run: Path) -> None:
    assert "--bound" in said("export", run, f"--bound={bound}")


def test_a_broken_picture_is_named_before_the_first_is_translated(said, run: Path) -> None:
    folder = run.parent / "pictures"
    folder.mkdir()
    Image.new("RGB", (32, 32)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"no picture")
    assert "b.png is no image" in said("translate", run, folder, "--out", run.parent / "out")


def test_a_value_of_an_option_that_is_no_yaml(said, tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    file.write_bytes(b"")
    words = ("import", file, "--from", "SPADE", "--out", tmp_path / "x", "--option")
    assert "--option z_dim=[2 cannot be read as YAML" in said(*words, "z_dim=[2")


def test_label_maps_that_cannot_be_scored_are_named_before_anything_is_translated(
    said, run: Path, data: Path
) -> None:
    labels, net = data.parent / "labels", painted.onnx_file(data.parent / "net.onnx")
    mapped = data.parent / "map.yaml"
    mapped.write_text("classes: [a, b]\nlabels: {0: a, 1: b}\n")
    words = ("evaluate", run, data, "--metrics", "seg", "--segmenter", net, "--labels", labels)
    ids = np.zeros((48, 48), np.uint8)
    painted.save(labels / "0.png", ids)
    assert "1 has no label map of its name" in said(*words)
    (labels / "1.png").write_bytes(b"no picture")
    assert "1.png is no image" in said(*words)
    ids[3, 3] = 200
    painted.save(labels / "1.png", ids)
    assert "1.png holds the label 200" in said(*words, "--class-map", mapped)
    assert not (run / "evaluation").exists()


def test_an_experiment_that_cannot_be(
    said, data: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "see_through", lambda *_, **__: pytest.fail("a training began"))
    grid, out = data.parent / "grid.yaml", data.parent / "out"
    grid.write_text(GRID)
    words = ("experiment", grid, data, "--out", out)
    for flag, value in (("--jobs", 0), ("--jobs", -1), ("--seeds", 0)):
        assert flag in said(*words, flag, value)
    assert "experiments do not measure seg" in said(*words, "--metrics", "l1,seg")
    assert "cannot be read as weights" in said(*words, "--metrics", "fid", "--weights", grid)
    assert "cannot be read as weights" in said("experiment", "losses", data, "--weights", grid)
    # Not even a lock is left among other files.
    assert "holds other files" in said(*words[:3], "--out", run)
    assert "holds no experiment" in said("experiment", "--out", grid, "--report-only")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ConfigError, match="say --device cpu"):
        workers.local_workers("cuda", None)


def test_weights_that_serve_no_metric_are_not_passed_over(said, data: Path) -> None:
    (data.parent / "weights").mkdir()
    words = ("experiment", "losses", data, "--out", data.parent / "out")
    assert "holds nothing that fid" in said(*words, "--weights", data.parent / "weights")
