"""The command line: exit statuses, one sentence on bad input, JSON, help with examples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.cli import main
from limner.cli.options import print_json
from limner.config import differences, read_config
from limner.data import decode

TINY = [
    *("--set", "data.size=32", "--set", "generator.width=4", "--set", "generator.depth=3"),
    *("--set", "discriminators.0.layers=1", "--set", "discriminators.0.width=4"),
    *("--set", "training.workers=0", "--set", "training.steps=2"),
]
COMMANDS = ["demo", "train", "presets", "translate", "evaluate", "compare", "report", "import"]
COMMANDS += ["experiment", "export", "bench"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def draw(root: Path, split: str, count: int, *, width: int = 80) -> None:
    (root / split).mkdir(parents=True)
    rng = np.random.default_rng(count)
    for index in range(count):
        pixels = rng.integers(0, 256, (40, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / split / f"{index}.png")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    draw(root, "train", 3)
    draw(root, "test", 2)
    return root


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    assert main(["train", str(data), "--out", str(out), "--preset", "pix2pix-small", *TINY]) == 0
    return out


def failing(capsys: pytest.CaptureFixture[str], *words: object, status: int = 2) -> str:
    """Run a command that must fail; return the one sentence it says."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == status
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line.startswith("limner: ")]
    assert len(lines) == 1, said.err
    assert "Traceback" not in said.err
    return lines[0]


def test_the_whole_way(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.yaml", "log.jsonl", "report.html", "checkpoints/00000002/state.pt"):
        assert (run / name).is_file(), name
    assert list(run.glob("events.*"))
    assert list((run / "samples").glob("*.jpg"))
    capsys.readouterr()
    out = tmp_path / "out"
    words = ["translate", str(run), str(data / "test"), "--side", "left", "--out", str(out)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [Path(item["output"]).name for item in told] == ["0.png", "1.png"]
    assert decode(out / "0.png").shape == (3, 32, 32)
    assert "exists" in failing(capsys, *words)
    assert main([*words, "--overwrite"]) == 0

    capsys.readouterr()
    assert main(["evaluate", str(run), str(data), "--metrics", "l1, ssim", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    folder = run / "evaluation" / "test"
    words = ["compare", str(folder / "target"), str(folder / "images"), "--metrics", "l1,ssim"]
    assert main([*words, "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["values"] == evaluated["scores"]["values"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert f"{compared['values']['ssim']:.4f}" in printed
    assert "over 2 images" in printed


def test_a_resumed_run_keeps_its_settings(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--resume" in failing(capsys, "train", data, "--out", run)
    words = ["train", data, "--out", run, "--resume", "--set", "training.steps=3"]
    assert "--allow training.steps" in failing(capsys, *words)
    assert main([str(word) for word in [*words, "--allow", "training.steps", "--json"]]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["step"] == 3


def test_the_everyday_flags_are_settings(data: Path, tmp_path: Path, capsys) -> None:
    odd = data.rename(tmp_path / "pa\\th 'and' \"more\"")
    out = tmp_path / "run"
    tiny = [word for word in TINY if word not in ("--set", "data.size=32", "training.steps=2")]
    words = ["train", odd, "--out", out, "--preset", "pix2pix-small", "--size", "32x64"]
    words += ["--epochs", 1, "--batch-size", 3, "--direction", "BtoA", "--seed", 5, "--lr", "1e-3"]
    words += ["--precision", "64-true", "--device", "cpu"]
    words += [part for setting in tiny for part in ("--set", setting)]
    assert "training.epochs" in failing(capsys, *words, "--set", "training.epochs=2")
    assert "--config" in failing(capsys, *words, "--config", "config.yaml")
    assert not out.exists()
    assert main([str(word) for word in words]) == 0
    config = read_config(out / "config.yaml")
    assert (config.data.root, config.data.size, config.data.direction) == (
        str(odd),
        (32, 64),
        "BtoA",
    )
    assert (config.seed, config.training.epochs, config.training.batch_size) == (5, 1, 3)
    assert (config.training.lr, config.training.precision) == (1e-3, "64-true")
    again = ["train", odd, "--out", tmp_path / "again", "--config", out / "config.yaml"]
    assert main([str(word) for word in (*again, "--seed", 6, "--accelerator", "cpu")]) == 0
    other = read_config(tmp_path / "again" / "config.yaml")
    assert differences(config, other) == {"seed": (5, 6)}


@pytest.mark.parametrize(
    "words",
    [
        ("--device", "cuda"),
        ("--device", "meta"),
        ("--device", "cpu:x"),
        ("--devices", "-1"),
        ("--devices", "0"),
        ("--seed", "-1"),
        ("--seed", "1" + 30 * "0"),
        ("--lr", "inf"),
        ("--lr", "-1"),
        ("--epochs", "0"),
        ("--epochs", "1e400"),
        ("--batch-size", "-3"),
        ("--size", "0"),
        ("--size", "1x1"),
        ("--size", "999999999999"),
        ("--size", "-1"),
        ("--direction", "up"),
        ("--precision", "3-bit"),
        ("--set", "training.lr=.nan"),
        ("--set", "seed=-1"),
        ("--set", "training.lr=1e999"),
        ("--set", "data.size=" + "9" * 5000),
        ("--set", "data.size=" + "[" * 500),
        ("--set", "training.epochs=2024-02-30"),
        ("--config", "/dev/zero"),
    ],
)
def test_values_out_of_bounds_are_refused_at_the_door(
    words: tuple[str, str],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if "cuda" in words:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    tiny = [part for part in TINY if not part.startswith("data.size") or words[0] != "--size"]
    chosen = [] if words[0] == "--config" else ["--preset", "pix2pix-small"]
    settings = {part for part in tiny if "=" in part}
    settings = [part for s in sorted(settings) for part in ("--set", s)]
    failing(capsys, "train", data, "--out", tmp_path / "run", *chosen, *settings, *words)
    assert not (tmp_path / "run").exists()


def test_bad_input_is_answered_in_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    train = ("train", data, "--out", out, "--preset", "pix2pix-small", *TINY)
    assert "no-such" in failing(capsys, "train", "no-such", "--out", out)
    assert "'pix2pix-smal'" in failing(capsys, *train[:4], "--preset", "pix2pix-smal")
    said = failing(capsys, *train, "--set", "training.batchsize=2")
    assert "did you mean training.batch_size?" in said
    assert "data.channels" in failing(capsys, *train, "--set", "data.channels=1")
    assert "--preset" in failing(capsys, "train", data, "--out", out, "--resume")
    assert "--nonsense" in failing(capsys, *train, "--nonsense", "1")
    assert "data" in failing(capsys, "train")
    draw(data, "val", 1, width=81)
    words = (*train, "--set", "validation.every=1")
    assert "even width" in failing(capsys, *words)
    (data / "val" / "0.png").unlink()
    assert "val" in failing(capsys, *words)
    draw(tmp_path / "other", "train", 1)
    truncated = tmp_path / "other" / "train" / "0.png"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    said = failing(capsys, "train", tmp_path / "other", *train[2:])
    assert "0.png" in said
    assert "limner" in failing(capsys, "translate", tmp_path, "x.png", "--out", out)


def test_metrics_that_are_unknown_or_lack_weights_are_named(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failing(capsys, "evaluate", run, data, "--metrics", "lpip")
    assert "did you mean 'lpips'" in said


def test_several_runs_are_compared(
    run: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = tmp_path / "other"
    words = ["train", str(data), "--out", str(other), "--preset", "pix2pix-small", *TINY]
    assert main([*words, "--set", "seed=1"]) == 0
    out = tmp_path / "comparison"
    capsys.readouterr()
    words = ["evaluate", str(run), str(other), str(data), "--metrics", "l1,ssim"]
    assert main([*words, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["runs"]) == ["run", "other"]
    assert told == json.loads((out / "comparison.json").read_text())
    assert (out / "comparison.html").is_file()
    for folder in (run, other):
        assert "Not evaluated" not in (folder / "report.html").read_text()
    monkeypatch.chdir(tmp_path)
    (out / "comparison.html").unlink()
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert (out / "comparison.html").is_file()
    for result in told["runs"].values():
        assert f"{result['scores']['values']['ssim']:.4f}" in printed
    assert printed.count("no difference shown") == 2  # two images can show nothing
    assert "see comparison/comparison.html" in printed


def test_runs_and_data_in_the_wrong_number_or_place_are_one_sentence(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(capsys, "evaluate")
    assert "stands alone: give the runs and then the data" in failing(capsys, "evaluate", run)
    assert "given twice" in failing(capsys, "evaluate", run, run, data)
    assert "has no checkpoint" in failing(capsys, "evaluate", data, run, run)
    assert "--out is for" in failing(capsys, "evaluate", run, data, "--out", tmp_path / "x")
    (tmp_path / "file").write_text("")
    words = ("evaluate", run, run, data, "--out", tmp_path / "file")
    assert "is a file" in failing(capsys, *words)
    assert not (run / "evaluation").exists()


def test_presets_and_keys_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    assert "pix2pix-small" in capsys.readouterr().out
    assert main(["presets", "pix2pix", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objective"]["l1"] == 100
    assert main(["presets", "--keys"]) == 0
    listed = capsys.readouterr().out
    assert "training.batch_size" in listed
    assert "discriminators.N.layers" in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help_with_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples" in shown
    assert f"limner {name}" in shown


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from limner.cli import main; main(['--help']); main(['train', '--help']);"
        "heavy = {'torch', 'numpy', 'lightning_fabric', 'matplotlib', 'scipy', 'PIL'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_json_holds_only_what_json_has_words_for(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": Path("x"), 3: "\udce9"})
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told == {"a": None, "b": [None, 1.5], "c": "x", "3": "\udce9"}


def test_what_is_left_out_is_said_once_by_every_command_that_reads_a_folder(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "more"
    draw(root, "test", 2)
    for name in ("9.heic", "a\nb\x1b[2J.gif"):
        (root / "test" / name).write_bytes(b"no picture")
    words = {
        "evaluate": ["evaluate", run, root, "--metrics", "l1"],
        "translate": ["translate", run, root / "test", "--side", "left", "--out", tmp_path / "o"],
        "compare": ["compare", root / "test", root / "test", "--metrics", "l1,psnr"],
    }
    for command, line in words.items():
        capsys.readouterr()
        assert main([str(word) for word in line]) == 0, command
        (said,) = capsys.readouterr().err.splitlines()
        assert "2 files" in said, command
        assert r"a\nb\x1b[2J.gif" in said, command
